//! What wit-bindgen makes of `wit/since_v0.1.0`: the plugin's side of the contract. The rest of the crate
//! gives it a shape that is pleasant to write against.

/// `describe`, `validate`, the shared words and what the host offers to every plugin.
pub mod about {
    wit_bindgen::generate!({
        path: ["../wit/since_v0.1.0", "wit"],
        world: "muster:sdk/about-part",
        pub_export_macro: true,
        default_bindings_module: "muster_sdk::bindings::about",
        additional_derives: [PartialEq],
        generate_all,
    });
}

/// Health checks.
pub mod checker {
    wit_bindgen::generate!({
        path: ["../wit/since_v0.1.0", "wit"],
        world: "muster:sdk/checker-part",
        pub_export_macro: true,
        default_bindings_module: "muster_sdk::bindings::checker",
        additional_derives: [PartialEq],
        generate_all,
        with: {
            "muster:plugin/types@0.1.0": crate::bindings::about::muster::plugin::types,
        },
    });
}

/// Member lookups.
pub mod lookup {
    wit_bindgen::generate!({
        path: ["../wit/since_v0.1.0", "wit"],
        world: "muster:sdk/lookup-part",
        pub_export_macro: true,
        default_bindings_module: "muster_sdk::bindings::lookup",
        additional_derives: [PartialEq],
        generate_all,
        with: {
            "muster:plugin/types@0.1.0": crate::bindings::about::muster::plugin::types,
            "muster:plugin/fetch@0.1.0": crate::bindings::checker::muster::plugin::fetch,
        },
    });
}

/// Push filters.
pub mod filter {
    wit_bindgen::generate!({
        path: ["../wit/since_v0.1.0", "wit"],
        world: "muster:sdk/filter-part",
        pub_export_macro: true,
        default_bindings_module: "muster_sdk::bindings::filter",
        additional_derives: [PartialEq],
        generate_all,
        with: {
            "muster:plugin/types@0.1.0": crate::bindings::about::muster::plugin::types,
        },
    });
}
