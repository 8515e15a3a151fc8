//! A way to a node that can be cut or go silent: a TCP proxy in front of some of its ports.

use crate::ports::free_port;
use crate::wait::{eventually, pause};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What clients use: HTTP, and gRPC at a distance that is fixed in all SDKs.
const CLIENT_OFFSETS: &[u16] = &[0, 1_000];
/// What other members use.
const MEMBER_OFFSETS: &[u16] = &[1_001];
/// Longest wait for a port that is free.
const FREE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct State {
    closed: AtomicBool,
    silent: AtomicBool,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    offsets: &'static [u16],
    state: Arc<State>,
}

impl Proxy {
    /// Starts one in front of the node whose HTTP port this is.
    ///
    /// # Panics
    /// When no ports are free.
    pub fn before(node: u16) -> Self {
        Self::on(node, CLIENT_OFFSETS)
    }

    /// Starts one in front of the port that other members use.
    ///
    /// # Panics
    /// When no ports are free.
    pub fn before_member(node: u16) -> Self {
        Self::on(node, MEMBER_OFFSETS)
    }

    fn on(node: u16, offsets: &'static [u16]) -> Self {
        let port = free_port();
        let state = Arc::<State>::default();
        for &offset in offsets {
            // It was just found free. A process that another thread is starting holds the sockets of this one for a moment.
            let listener = eventually(FREE, || {
                TcpListener::bind(("127.0.0.1", port + offset)).map_err(|error| error.to_string())
            });
            let to = SocketAddr::from(([127, 0, 0, 1], node + offset));
            let state = state.clone();
            thread::spawn(move || accept(&listener, to, &state));
        }
        Self { port, offsets, state }
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

    /// Passes nothing on any more and ends nothing, as a network does that loses every packet, until
    /// [`Proxy::mend`]. Even the end of a connection is not passed on.
    pub fn silence(&self) {
        self.state.silent.store(true, Ordering::SeqCst);
    }

    /// Lets connections, and what was held back, through again.
    pub fn mend(&self) {
        self.state.silent.store(false, Ordering::SeqCst);
        self.state.closed.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.mend();
        self.cut();
        for offset in self.offsets {
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
            let (there, back) = (state.clone(), state.clone());
            thread::spawn(move || copy(near, far, &there));
            thread::spawn(move || copy(far_too, near_too, &back));
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n) = from.read(&mut buffer) {
        while state.silent.load(Ordering::SeqCst) {
            pause(Duration::from_millis(10));
        }
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
    fn a_cut_ends_connections_and_silence_holds_them_until_mended() {
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
        proxy.silence();
        third.set_read_timeout(Some(Duration::from_millis(300))).expect("set");
        assert!(!says(&mut third), "silent");
        proxy.mend();
        third.set_read_timeout(None).expect("set");
        assert!(third.read_exact(&mut [0]).is_ok(), "what was held back");
    }
}
