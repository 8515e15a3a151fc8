//! What every generation of the API does the same way. The versions differ in how they ask and how they say it.

pub(crate) mod catalog;
pub(crate) mod checker;
pub(crate) mod client;
pub(crate) mod health;
pub(crate) mod instance;
pub(crate) mod operator;
pub(crate) mod service;
