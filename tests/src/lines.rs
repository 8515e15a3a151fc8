//! A server that speaks lines as its script says: for probes that send one and expect another.

use crate::wait::pause;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens on each connection.
#[derive(Clone, Debug)]
pub enum Script {
    /// reads a line, then sends these pieces and closes
    Answer(Vec<Vec<u8>>),
    /// sends this before it was asked, then closes when the other side does
    Greet(Vec<u8>),
    /// reads a line and closes
    Close,
    /// closes with the line unread, which the system tells the other side as a reset
    Reset,
    /// says nothing until the other side closes
    Hang,
}

impl Script {
    /// One answer, in one piece.
    pub fn answer(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Answer(vec![bytes.into()])
    }
}

/// The server.
#[derive(Debug)]
pub struct LineTarget {
    /// its port on 127.0.0.1
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    script: Mutex<Script>,
    heard: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl LineTarget {
    /// Serves on a free port.
    pub fn open(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            heard: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                if serving.stop.load(Ordering::SeqCst) {
                    return;
                }
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        Self { port, shared }
    }

    /// Does this from the next connection on.
    pub fn change(&self, script: Script) {
        *self.shared.script.lock().expect("no one panics with it") = script;
    }

    /// The lines that came, with their ends.
    pub fn heard(&self) -> Vec<String> {
        self.shared.heard.lock().expect("no one panics with it").clone()
    }
}

impl Drop for LineTarget {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    /// The other side may be gone at any time, which is no failure.
    fn serve(&self, mut stream: TcpStream) {
        let script = self.script.lock().expect("no one panics with it").clone();
        let _ = stream.set_nodelay(true);
        match script {
            Script::Answer(pieces) => {
                self.hear(&stream);
                for (nth, piece) in pieces.iter().enumerate() {
                    if nth > 0 {
                        // or the system may send both at once; the answer is the same either way
                        pause(Duration::from_millis(10));
                    }
                    let _ = stream.write_all(piece);
                }
            }
            Script::Greet(bytes) => {
                let _ = stream.write_all(&bytes);
                let _ = stream.read(&mut [0]);
            }
            Script::Close => self.hear(&stream),
            Script::Reset => {
                let _ = stream.peek(&mut [0]);
            }
            Script::Hang => {
                let _ = stream.read_to_end(&mut Vec::new());
            }
        }
    }

    fn hear(&self, stream: &TcpStream) {
        let mut line = String::new();
        if BufReader::new(stream).read_line(&mut line).is_ok() {
            self.heard.lock().expect("no one panics with it").push(line);
        }
    }
}
