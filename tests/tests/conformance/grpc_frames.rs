//! What is no proper HTTP/2 on the port for gRPC, written frame by frame: the node ends such a transport or such a
//! stream, serves everybody else, and its memory stays where it was. Source of what is expected: RFC 9113.

use muster_tests::wait::{Clock, eventually, hold};
use muster_tests::{Config, Node};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long the node may take to end a transport on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// Memory that all that is sent here may make the node hold beyond what it had, in bytes. What is announced is many
/// times as much.
const ROOM: u64 = 96 << 20;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Types and flags. Source: RFC 9113, section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// POST `/Request/request`, as literals. Source: RFC 7541, appendix A.
const REQUEST: &[u8] =
    b"\x83\x86\x04\x10/Request/request\x01\x09127.0.0.1\x0f\x10\x10application/grpc\0\x02te\x08trailers";

/// A frame whose length is what it has.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    announced(kind, flags, stream, payload.len(), payload)
}

/// A frame that says it is of some length.
fn announced(kind: u8, flags: u8, stream: u32, length: usize, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(length).expect("a frame is shorter").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn node() -> Node {
    Node::with(Config::new().set("grpc", "max-connections-per-client", "2000"))
}

/// A transport; what the node sends is read only when it is asked for.
struct Raw(TcpStream);

impl Raw {
    fn open(node: &Node) -> Self {
        let stream = TcpStream::connect(node.grpc()).expect("somebody listens");
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        Self(stream)
    }

    /// A transport that has begun properly.
    fn begun(node: &Node) -> Self {
        let mut raw = Self::open(node);
        assert!(raw.send(PREFACE));
        raw
    }

    /// Whether all of it could be sent: not to a node that has closed, or takes nothing at the moment.
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Reads frames until one satisfies, or the node closes (which is `None`).
    fn until(&mut self, wanted: impl Fn(u8, u8, u32) -> bool) -> Option<(u8, Vec<u8>)> {
        let (clock, mut received) = (Clock::start(), Vec::new());
        let mut piece = [0; 4_096];
        while clock.elapsed() < DEADLINE {
            while let Some(head) = received.first_chunk::<9>().copied() {
                let [a, b, c, kind, flags, stream @ ..] = head;
                let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
                if received.len() < end {
                    break;
                }
                let payload: Vec<u8> = received.drain(..end).skip(9).collect();
                if wanted(kind, flags, u32::from_be_bytes(stream)) {
                    return Some((kind, payload));
                }
            }
            match self.0.read(&mut piece) {
                Ok(0) => return None,
                Ok(read) => received.extend_from_slice(&piece[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return None,
            }
        }
        unreachable!("the node neither answered nor closed in {DEADLINE:?}")
    }

    /// The node ends the transport; answers the code of its GOAWAY, if it sent one.
    fn ended(&mut self) -> Option<u32> {
        let (_, payload) = self.until(|kind, _, _| kind == GOAWAY)?;
        assert!(self.until(|_, _, _| false).is_none(), "closed after it");
        payload.get(4..8)?.try_into().ok().map(u32::from_be_bytes)
    }
}

/// The front end answers, on a transport of its own.
fn serves(node: &Node) {
    let mut raw = Raw::begun(node);
    // ServerCheckRequest, the worked example of the specification
    let message = b"\0\0\0\0\x3c\x12\x14\x1a\x12ServerCheckRequest\x1a\x24\x12\x22{\"headers\":{},\"module\":\"internal\"}";
    assert!(raw.send(&frame(HEADERS, END_HEADERS, 1, REQUEST)));
    assert!(raw.send(&frame(DATA, END_STREAM, 1, message)));
    let (_, answer) = raw.until(|kind, _, stream| kind == DATA && stream == 1).expect("an answer");
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("ServerCheckResponse") && text.contains("\"success\":true"), "{text}");
}

/// Memory has come back to near `before`, or never left it.
fn bounded(node: &Node, before: u64) {
    eventually(DEADLINE, || {
        let now = node.resident();
        hold(now < before + ROOM, || format!("{} MiB more than before", (now - before) >> 20))
    });
}

#[test]
fn what_is_no_http2_is_closed() {
    let node = node();
    for bytes in [
        &b"GET /nacos/v1/ns/instance/list HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        &[0xff; 64],
        &[0; 64],
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ] {
        let mut raw = Raw::open(&node);
        assert!(raw.send(bytes));
        raw.ended();
    }
    serves(&node);
}

#[test]
fn malformed_frames_end_their_transport_and_no_other() {
    let node = node();
    let large = announced(DATA, 0, 1, 1 << 20, &[0; 1_000]);
    let cases = [
        ("a frame larger than allowed", [frame(HEADERS, END_HEADERS, 1, REQUEST), large].concat()),
        ("data on no stream", frame(DATA, 0, 0, b"x")),
        ("data on a stream that was not begun", frame(DATA, 0, 5, b"x")),
        ("a stream of the server's", frame(HEADERS, END_HEADERS, 2, REQUEST)),
        ("headers that cannot be decoded", frame(HEADERS, END_HEADERS, 1, &[0xff; 40])),
        ("a ping of five bytes", frame(PING, 0, 0, b"12345")),
        ("settings that are no settings", frame(4, 0, 0, b"1234")),
        ("a window opened by nothing", frame(8, 0, 0, &[0; 4])),
        ("something between headers", [frame(HEADERS, 0, 1, REQUEST), frame(PING, 0, 0, &[0; 8])].concat()),
    ];
    for (what, bytes) in cases {
        let mut raw = Raw::begun(&node);
        raw.send(&bytes);
        let code = raw.ended();
        assert_ne!(code, Some(0), "{what}: no error was said");
    }
    serves(&node);
}

#[test]
fn headers_without_end_are_cut_off() {
    let node = node();
    let before = node.resident();
    let mut raw = Raw::begun(&node);
    raw.send(&frame(HEADERS, 0, 1, REQUEST));
    // a header that the table does not keep, again and again
    let more = frame(CONTINUATION, 0, 1, &[&b"\0\x01a\x7f\x01"[..], &[b'v'; 128]].concat());
    let sent = (0..200_000).take_while(|_| raw.send(&more)).count();
    assert!(sent < 200_000, "{} MiB of headers were taken", (sent * more.len()) >> 20);
    assert_ne!(raw.ended(), Some(0));
    bounded(&node, before);
    serves(&node);
}

#[test]
fn announced_bodies_take_no_memory() {
    let node = node();
    let before = node.resident();
    let mut all: Vec<Raw> = (0..500)
        .map(|_| {
            let mut raw = Raw::begun(&node);
            raw.send(&frame(HEADERS, END_HEADERS, 1, REQUEST));
            // a message of 9 MiB, of which no more than this comes
            raw.send(&frame(DATA, 0, 1, &[&[0, 0, 0x90, 0, 0][..], &[b'x'; 1_000]].concat()));
            raw
        })
        .collect();
    serves(&node);
    bounded(&node, before);
    // More than the limit is refused as soon as it is announced, with nothing of it there.
    let mut raw = Raw::begun(&node);
    raw.send(&frame(HEADERS, END_HEADERS, 1, REQUEST));
    raw.send(&frame(DATA, 0, 1, &[0, 0xff, 0xff, 0xff, 0xff]));
    let refused = raw.until(|kind, flags, stream| kind == HEADERS && flags & END_STREAM != 0 && stream == 1);
    assert!(refused.is_some(), "a status without a message");
    // The others still have their connections.
    let answered = all.iter_mut().filter_map(|raw| {
        raw.send(&frame(PING, 0, 0, b"whatever"));
        raw.until(|kind, flags, _| kind == PING && flags == 1)
    });
    assert_eq!(answered.count(), 500);
}

#[test]
fn calls_that_never_get_a_body_take_little() {
    let node = node();
    let before = node.resident();
    let waiting: Vec<Raw> = (0..40)
        .map(|_| {
            let mut raw = Raw::begun(&node);
            for call in 0..200 {
                raw.send(&frame(HEADERS, END_HEADERS, 1 + 2 * call, REQUEST));
            }
            raw
        })
        .collect();
    serves(&node);
    bounded(&node, before);
    drop(waiting);
    serves(&node);
}

#[test]
fn calls_that_are_taken_back_at_once_do_not_pile_up() {
    let node = node();
    let before = node.resident();
    let mut raw = Raw::begun(&node);
    for call in 0..50_000 {
        let stream = 1 + 2 * call;
        let both = [frame(HEADERS, END_HEADERS, stream, REQUEST), frame(RESET, 0, stream, &[0, 0, 0, 8])];
        if !raw.send(&both.concat()) {
            break;
        }
    }
    bounded(&node, before);
    serves(&node);
}

#[test]
fn pings_whose_answers_nobody_reads_do_not_pile_up() {
    let node = node();
    let before = node.resident();
    let mut raw = Raw::begun(&node);
    let pings = frame(PING, 0, 0, b"whatever").repeat(1_000);
    // 64 MiB of answers, if the node kept them
    let sent = (0..4_000).take_while(|_| raw.send(&pings)).count();
    assert!(sent > 0);
    bounded(&node, before);
    serves(&node);
}
