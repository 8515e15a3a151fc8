//! Generated from `wit/`, one module per released folder. The newest is the implementation; an older one maps
//! what did not change onto it and converts the rest.

pub(crate) mod since_v0_1_0;
