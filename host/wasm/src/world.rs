//! The three worlds behind one trait, so that loading, pooling and limiting are written once.

use crate::{
    bindings::since_v0_1_1::{health_check, member_lookup, push_filter, types},
    state::GuestState,
};
use muster_core::plugin::PluginKind;
use wasmtime::{Store, component::InstancePre};

/// One kind of plugin, as wasmtime sees it.
pub(crate) trait World: Sized + Send + Sync + 'static {
    const KIND: PluginKind;
    /// linked and type-checked, ready to instantiate
    type Pre: Send + Sync + 'static;
    /// the exports of one instance
    type Exports: Send + Sync + 'static;

    fn prepare(pre: InstancePre<GuestState>) -> wasmtime::Result<Self::Pre>;

    fn instantiate(
        pre: &Self::Pre,
        store: &mut Store<GuestState>,
    ) -> impl Future<Output = wasmtime::Result<Self::Exports>> + Send;

    fn describe(
        exports: &Self::Exports,
        store: &mut Store<GuestState>,
    ) -> impl Future<Output = wasmtime::Result<types::Descriptor>> + Send;

    fn validate(
        exports: &Self::Exports,
        store: &mut Store<GuestState>,
        settings: &[(&str, &str)],
    ) -> impl Future<Output = wasmtime::Result<Vec<types::Problem>>> + Send;
}

macro_rules! world {
    ($(#[$doc:meta])* $name:ident, $kind:ident, $bindings:ident :: $exports:ident, $pre:ident) => {
        $(#[$doc])*
        pub(crate) enum $name {}

        impl World for $name {
            const KIND: PluginKind = PluginKind::$kind;
            type Pre = $bindings::$pre<GuestState>;
            type Exports = $bindings::$exports;

            fn prepare(pre: InstancePre<GuestState>) -> wasmtime::Result<Self::Pre> {
                $bindings::$pre::new(pre)
            }

            async fn instantiate(
                pre: &Self::Pre,
                store: &mut Store<GuestState>,
            ) -> wasmtime::Result<Self::Exports> {
                pre.instantiate_async(store).await
            }

            async fn describe(
                exports: &Self::Exports,
                store: &mut Store<GuestState>,
            ) -> wasmtime::Result<types::Descriptor> {
                exports.muster_plugin_about().call_describe(store).await
            }

            async fn validate(
                exports: &Self::Exports,
                store: &mut Store<GuestState>,
                settings: &[(&str, &str)],
            ) -> wasmtime::Result<Vec<types::Problem>> {
                exports.muster_plugin_about().call_validate(store, settings).await
            }
        }
    };
}

world! {
    /// looks at one instance
    CheckWorld, HealthCheck, health_check::HealthCheck, HealthCheckPre
}
world! {
    /// finds the servers
    LookupWorld, MemberLookup, member_lookup::MemberLookup, MemberLookupPre
}
world! {
    /// narrows a list
    FilterWorld, PushFilter, push_filter::PushFilter, PushFilterPre
}
