//! What the end-to-end tests share: a real node in its own process, a client that sends literal
//! HTTP, one that speaks gRPC, a UDP subscriber, targets for health checks, MariaDB servers, real SDKs,
//! and waiting with a deadline.
//!
//! Nothing here knows Muster's own types. Requests and answers in the tests are literal text, so
//! that a mistake in the server cannot be repeated, and hidden, by its tests.

pub mod client;
pub mod cluster;
pub mod config;
pub mod dns;
pub mod grpc;
pub mod http;
pub mod linear;
pub mod lines;
pub mod maria;
pub mod node;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod seen;
pub mod target;
pub mod tls;
pub mod udp;
pub mod unique;
pub mod wait;

pub use client::Client;
pub use cluster::Cluster;
pub use config::Config;
pub use grpc::Grpc;
pub use http::{Http, Reply, Request, encode};
pub use node::Node;
pub use proxy::Proxy;
pub use unique::{addr, name};
pub use wait::{Clock, eventually, never};
