//! Unmodified Nacos SDKs against the real binary: what they do, and when they hear of it. A test
//! for each SDK and feature; what an SDK lacks it says itself, and the compatibility matrix
//! (`clients/COMPATIBILITY.md`) holds it to that.

mod basics;
mod changes;
mod common;
mod drills;
mod everyone;
mod fuzzy;
mod lasting;
mod life;
mod redo;

mod tls;

/// The tests of one SDK.
macro_rules! tests_of {
    ($($module:ident: $sdk:ident;)*) => {$(
        mod $module {
            use muster_tests::client::{$sdk as SDK, Feature, prove};

            tests_of! {
                register: Register, crate::basics::register;
                batch_register: BatchRegister, crate::basics::batch_register;
                deregister: Deregister, crate::basics::deregister;
                cluster_filter: ClusterFilter, crate::basics::cluster_filter;
                health_filter: HealthFilter, crate::basics::health_filter;
                paging: Paging, crate::basics::paging;
                subscribe: Subscribe, crate::changes::subscribe;
                unsubscribe: Unsubscribe, crate::changes::unsubscribe;
                metadata: Metadata, crate::changes::metadata;
                persistent: Persistent, crate::lasting::persistent;
                namespaces: Namespaces, crate::lasting::namespaces;
                keeps: Keeps, crate::life::keeps;
                dies: Dies, crate::life::dies;
                restart: Restart, crate::redo::restart;
                cut: Cut, crate::redo::cut;
                is_seen_by_all: SeenByAll, crate::everyone::is_seen_by_all;
                hears_all: HearsAll, crate::everyone::hears_all;
            }
        }
    )*};
    ($($name:ident: $feature:ident, $scenario:path;)*) => {$(
        #[test]
        fn $name() {
            prove(&SDK, Feature::$feature, $scenario);
        }
    )*};
}

tests_of! {
    java_http: JAVA_HTTP;
    java_2: JAVA_2;
    java_3: JAVA_3;
    go_grpc: GO_GRPC;
    rust_grpc: RUST_GRPC;
    python_http: PYTHON_HTTP;
    python_2: PYTHON_2;
    python_3: PYTHON_3;
    node_http: NODE_HTTP;
}
