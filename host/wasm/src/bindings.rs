//! Generated from `wit/`, the newest released folder. Components of an older one with the same minor
//! version link to it as they are; an incompatible one gets a module of its own, which maps
//! what did not change onto it and converts the rest.

pub(crate) mod since_v0_1_1;
