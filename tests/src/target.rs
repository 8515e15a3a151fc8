//! Things to health-check on loopback: a TCP listener, an HTTP server with a scripted status, and
//! an address that swallows connections.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpSocket;

/// A listener that can be closed and opened again on the same port.
#[derive(Debug)]
pub struct TcpTarget {
    /// its port on 127.0.0.1
    pub port: u16,
    accepted: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    worker: Option<std::thread::JoinHandle<()>>,
}

impl TcpTarget {
    /// Listens on a free port.
    pub fn open() -> Self {
        Self::listen("127.0.0.1:0".parse().expect("an address"))
    }

    /// Listens on this port again after [`TcpTarget::close`].
    pub fn open_at(port: u16) -> Self {
        Self::listen(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn listen(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).expect("the port is free");
        let port = listener.local_addr().expect("bound").port();
        let (accepted, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (accepted.clone(), stop.clone());
        let worker = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                drop(stream);
            }
        });
        Self { port, accepted, stop, worker: Some(worker) }
    }

    /// How many connections came.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Closes the port: from now on connections are refused.
    pub fn close(mut self) -> u16 {
        self.shut();
        self.port
    }

    fn shut(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

impl Drop for TcpTarget {
    fn drop(&mut self) {
        self.shut();
    }
}

/// A port of 127.0.0.1 on which nobody listens.
pub fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// What an HTTP target was asked: request line and headers in order.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// such as `GET /health HTTP/1.1`
    pub line: String,
    /// headers, names in lower case
    pub headers: Vec<(String, String)>,
}

/// An HTTP server that answers one status and body, changeable at any time.
#[derive(Debug)]
pub struct HttpTarget {
    /// its port on 127.0.0.1
    pub port: u16,
    status: Arc<AtomicU16>,
    script: Arc<Mutex<Vec<u16>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    location: Arc<Mutex<String>>,
    body: Arc<Mutex<String>>,
    stop: Arc<AtomicBool>,
}

impl HttpTarget {
    /// Serves on a free port.
    pub fn open(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let target = Self {
            port: listener.local_addr().expect("bound").port(),
            status: Arc::new(AtomicU16::new(status)),
            script: Arc::default(),
            asked: Arc::default(),
            location: Arc::default(),
            body: Arc::new(Mutex::new("x".into())),
            stop: Arc::default(),
        };
        let (status, script, asked) = (target.status.clone(), target.script.clone(), target.asked.clone());
        let (location, stop) = (target.location.clone(), target.stop.clone());
        let body = target.body.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let scripted =
                    script.lock().ok().and_then(|mut s| if s.is_empty() { None } else { Some(s.remove(0)) });
                let status = scripted.unwrap_or(status.load(Ordering::SeqCst));
                let location = location.lock().map(|l| l.clone()).unwrap_or_default();
                let body = body.lock().map(|b| b.clone()).unwrap_or_default();
                if let Some(request) = answer(stream, status, &location, &body)
                    && let Ok(mut asked) = asked.lock()
                {
                    asked.push(request);
                }
            }
        });
        target
    }

    /// Answers this from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Answers these first, one a request, then the standing answer.
    pub fn answer_first(&self, statuses: &[u16]) {
        if let Ok(mut script) = self.script.lock() {
            *script = statuses.to_vec();
        }
    }

    /// Whether the script of [`HttpTarget::answer_first`] has been used up.
    pub fn script_done(&self) -> bool {
        self.script.lock().is_ok_and(|script| script.is_empty())
    }

    /// Answers with this text from now on.
    pub fn say(&self, text: &str) {
        if let Ok(mut body) = self.body.lock() {
            *body = text.into();
        }
    }

    /// Where redirects lead.
    pub fn redirect_to(&self, location: &str) {
        if let Ok(mut place) = self.location.lock() {
            *place = location.into();
        }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().map(|asked| asked.clone()).unwrap_or_default()
    }
}

impl Drop for HttpTarget {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn answer(mut stream: TcpStream, status: u16, location: &str, body: &str) -> Option<Asked> {
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let mut asked = Asked { line: lines.next()?.ok()?, headers: Vec::new() };
    while let Some(Ok(line)) = lines.next() {
        match line.split_once(':') {
            Some((name, value)) => asked.headers.push((name.to_ascii_lowercase(), value.trim().into())),
            None => break,
        }
    }
    let location = if location.is_empty() { String::new() } else { format!("Location: {location}\r\n") };
    let body = if status == 204 { "" } else { body };
    let length = if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("HTTP/1.1 {status} Scripted\r\n{location}{length}Connection: close\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).ok()?;
    Some(asked)
}

/// A port whose connections are neither accepted nor refused: its accept queue is full, so the
/// system drops what comes. The nearest thing to a black hole that loopback has.
#[derive(Debug)]
pub struct BlackHole {
    /// its port on 127.0.0.1
    pub port: u16,
    listener: Option<tokio::net::TcpListener>,
    runtime: tokio::runtime::Runtime,
}

impl BlackHole {
    /// Opens the hole; checked by a connection that must time out.
    ///
    /// # Panics
    /// When connections still come through.
    #[allow(clippy::disallowed_methods, reason = "the runtime is this target's own")]
    pub fn open() -> Self {
        let builder = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = builder.expect("a runtime");
        let listener = runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
            socket.listen(1).expect("listening")
        });
        let addr = listener.local_addr().expect("bound");
        for _ in 0..4 {
            runtime.spawn(async move {
                let stream = tokio::net::TcpStream::connect(addr).await;
                std::future::pending::<()>().await;
                drop(stream);
            });
        }
        crate::eventually(Duration::from_secs(10), || {
            match TcpStream::connect_timeout(&addr, Duration::from_millis(300)) {
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Ok(()),
                other => Err(format!("not black: {other:?}")),
            }
        });
        Self { port: addr.port(), listener: Some(listener), runtime }
    }

    /// Turns it into an ordinary listener: whatever comes is accepted.
    pub fn lighten(&mut self) {
        if let Some(listener) = self.listener.take() {
            self.runtime.spawn(async move { while listener.accept().await.is_ok() {} });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Http, Request};

    #[test]
    fn a_target_refuses_when_closed_and_answers_what_it_was_told() {
        let tcp = TcpTarget::open();
        assert!(TcpStream::connect(("127.0.0.1", tcp.port)).is_ok());
        let port = tcp.close();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        let http = HttpTarget::open(503);
        let client = Http { addr: SocketAddr::from(([127, 0, 0, 1], http.port)) };
        assert_eq!(client.send(&Request::new("GET", "/x").header("A", "b")).status, 503);
        http.say("a text");
        client.get("/y").is(503, "a text");
        assert_eq!(http.asked()[0].line, "GET /x HTTP/1.1");
        assert!(http.asked()[0].headers.contains(&("a".into(), "b".into())));
    }

    #[test]
    fn a_black_hole_swallows_connections_until_it_is_lightened() {
        let mut hole = BlackHole::open();
        let addr = SocketAddr::from(([127, 0, 0, 1], hole.port));
        hole.lighten();
        crate::eventually(Duration::from_secs(10), || {
            TcpStream::connect_timeout(&addr, Duration::from_secs(1)).map_err(|e| e.to_string())
        });
    }
}
