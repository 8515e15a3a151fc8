//! Real processes that form a cluster: they find each other, hold the same data, and get over the loss of one.

mod checks;
mod durable;
mod ephemeral;
mod linear;
mod lookup;
mod members;
mod names;
mod operators;
mod plugins;
