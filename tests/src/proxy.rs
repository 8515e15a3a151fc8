//! A way to a node that can be cut: a TCP proxy in front of its HTTP port and the gRPC port beside it.

use crate::ports::free_port;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The distance of the gRPC port, fixed in all SDKs.
const GRPC_OFFSET: u16 = 1000;

#[derive(Debug, Default)]
struct State {
    closed: AtomicBool,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Starts one in front of the node whose HTTP port this is.
    ///
    /// # Panics
    /// When no ports are free.
    pub fn before(node: u16) -> Self {
        let port = free_port();
        let state = Arc::<State>::default();
        for offset in [0, GRPC_OFFSET] {
            let listener = TcpListener::bind(("127.0.0.1", port + offset)).expect("just found free");
            let to = SocketAddr::from(([127, 0, 0, 1], node + offset));
            let state = state.clone();
            thread::spawn(move || accept(&listener, to, &state));
        }
        Self { port, state }
    }

    /// The port to use instead of the node's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection, and every new one at once, until [`Proxy::mend`]. Gives how many ends of connections that were.
    pub fn cut(&self) -> usize {
        self.state.closed.store(true, Ordering::SeqCst);
        self.state.end_all()
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.state.closed.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.cut();
        for offset in [0, GRPC_OFFSET] {
            // wakes the listener, which sees the end
            let _ = TcpStream::connect(("127.0.0.1", self.port + offset));
        }
    }
}

impl State {
    fn end_all(&self) -> usize {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = open.drain(..).filter(|stream| stream.shutdown(Shutdown::Both).is_ok());
        ended.count()
    }

    /// Keeps a connection to cut it later; false when it is to be ended at once.
    fn keep(&self, streams: [&TcpStream; 2]) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams {
            open.extend(stream.try_clone());
        }
        // under the lock, so that a cut that comes now ends these too
        !self.closed.load(Ordering::SeqCst)
    }
}

fn accept(listener: &TcpListener, to: SocketAddr, state: &Arc<State>) {
    for near in listener.incoming().flatten() {
        if state.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(far) = TcpStream::connect(to) else { continue };
        if !state.keep([&near, &far]) {
            state.end_all();
            continue;
        }
        if let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) {
            thread::spawn(move || copy(near, far));
            thread::spawn(move || copy(far_too, near_too));
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 || to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // half-closed connections are of no use to the protocols here
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo_once(listener: TcpListener) {
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut byte = [0];
                while matches!(stream.read(&mut byte), Ok(1)) && stream.write_all(&byte).is_ok() {}
            }
        });
    }

    #[test]
    fn a_cut_ends_connections_until_it_is_mended() {
        let node = free_port();
        echo_once(TcpListener::bind(("127.0.0.1", node)).expect("free"));
        let proxy = Proxy::before(node);
        let says = |stream: &mut TcpStream| {
            let mut byte = [7];
            stream.write_all(&byte).and_then(|()| stream.read_exact(&mut byte)).is_ok()
        };
        let mut first = TcpStream::connect(("127.0.0.1", proxy.port())).expect("listens");
        assert!(says(&mut first), "passes");
        // its other end may be gone already when its turn comes
        assert!(proxy.cut() > 0, "one connection");
        assert!(!says(&mut first), "cut");
        let mut second = TcpStream::connect(("127.0.0.1", proxy.port())).expect("listens");
        assert!(!says(&mut second), "still cut");
        proxy.mend();
        let mut third = TcpStream::connect(("127.0.0.1", proxy.port())).expect("listens");
        assert!(says(&mut third), "passes again");
    }
}
