//! Ports that stay free while nobody listens on them.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port below the range from which the system gives ports of its own accord, so that nobody takes
/// it while a node restarts; the gRPC ports beside it (+1000, +1001) are free as well. Every call
/// gives another.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    // runs of tests at the same time start at different places
    let start = std::process::id() * 97;
    let ports = (0..4000).map(|_| 10_000 + (start + NEXT.fetch_add(3, Ordering::Relaxed)) % 20_000);
    let mut ports = ports.filter_map(|port| u16::try_from(port).ok());
    ports.find(|port| [0, 1000, 1001].iter().all(|offset| is_free(port + offset))).expect("a free port")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
