//! Names and addresses that no other test of the process uses: the tests of one area share a node.

use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(1);

fn next() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A service name, group or namespace of its own, starting with `stem`.
pub fn name(stem: &str) -> String {
    format!("{stem}-{}", next())
}

/// A loopback address of its own. Clients of the HTTP API are told apart by ip and port, so tests
/// that share addresses would renew each other's clients. Loopback, because persistent instances
/// are really dialled by the node's health checks. Later addresses sort after earlier ones as text.
pub fn addr() -> String {
    let n = next();
    let part = |n: u32| 100 + n % 150;
    format!("127.{}.{}.{}", part(n / 150 / 150), part(n / 150), part(n))
}
