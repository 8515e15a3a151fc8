//! What Nacos clients may rely on: literal requests and literal answers, against the real binary.
//!
//! A test is named after the statements of the Nacos behaviour list that it shows (`n055_…`);
//! `tests/statements` tells which statements have no test. Tests of an area share one node and
//! keep apart by their own service names, addresses and namespaces; a test that turns a switch
//! or needs other settings starts its own node. Most of the time is waiting that the statements
//! prescribe (15, 30, 60, 180 s), so everything is one program whose tests run at the same time:
//! `tests/run` gives it as many threads as it has tests.

mod beats;
mod common;
mod grants;
mod grpc_frames;
mod grpc_fuzzy;
mod grpc_life;
mod grpc_naming;
mod grpc_push;
mod grpc_restart;
mod grpc_tls;
mod grpc_transport;
mod health;
mod identity;
mod instance_v1;
mod operator;
mod persistence;
mod query;
mod service;
mod swap;
mod udp;
mod v2_v3;
mod validation;
