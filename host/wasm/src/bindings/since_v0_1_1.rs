//! `muster:plugin@0.1.1`: three worlds over one set of shared types. Wasmtime links components of 0.1.0 to it as well.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]

/// The world `health-check`; owns `types`, `host`, `dial` and `fetch`.
pub mod health_check {
    wasmtime::component::bindgen!({
        path: "../../wit/since_v0.1.1",
        world: "muster:plugin/health-check",
        imports: { "muster:plugin/host": trappable, default: async | trappable },
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
        with: { "muster:plugin/dial.connection": crate::imports::dial::Connection },
    });
}

/// The world `member-lookup`; owns `files` and `names`.
pub mod member_lookup {
    wasmtime::component::bindgen!({
        path: "../../wit/since_v0.1.1",
        world: "muster:plugin/member-lookup",
        imports: { default: async | trappable },
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "muster:plugin/types": super::health_check::muster::plugin::types,
            "muster:plugin/host": super::health_check::muster::plugin::host,
            "muster:plugin/fetch": super::health_check::muster::plugin::fetch,
        },
    });
}

/// The world `push-filter`; owns `candidates`.
pub mod push_filter {
    wasmtime::component::bindgen!({
        path: "../../wit/since_v0.1.1",
        world: "muster:plugin/push-filter",
        imports: { default: trappable },
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "muster:plugin/types": super::health_check::muster::plugin::types,
            "muster:plugin/host": super::health_check::muster::plugin::host,
            "muster:plugin/candidates.view": crate::imports::candidates::View,
            "muster:plugin/candidates.subscriber": crate::imports::candidates::Subscriber,
        },
    });
}

pub use health_check::muster::plugin::{dial, fetch, host, types};
pub use member_lookup::muster::plugin::{files, names};
pub use push_filter::muster::plugin::candidates;
