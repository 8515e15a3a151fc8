//! The gRPC front end against bare tonic servers: calls, pushes, connections, and what happens after a restart.

mod bare;
mod connections;
mod crowd;
mod fanout;
mod payload;
mod storm;
mod subscriber;
mod unary;
mod wire;

pub(crate) use bare::serve;
pub(crate) use connections::{NAME as CONNECTIONS, run as connections};
pub(crate) use crowd::{Manner, run as crowd};
pub(crate) use fanout::{NAME as FANOUT, run as fanout};
pub(crate) use storm::{NAME as STORM, clients, run as storm};
pub(crate) use unary::{NAME as UNARY, run as unary};
