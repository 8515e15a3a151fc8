//! A DNS server on loopback, whose records a test changes. Messages are put together by hand (RFC 1035, RFC 2782).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const A: u16 = 1;
const SRV: u16 = 33;
/// Name error: there is no such name.
const NAME_ERROR: u8 = 3;
/// Server failure.
const FAILURE: u8 = 2;

/// Records by name and type, each in its wire form.
type Zone = BTreeMap<(String, u16), Vec<Vec<u8>>>;

/// See the module.
#[derive(Debug)]
pub struct DnsServer {
    /// where it is asked
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    away: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl DnsServer {
    /// Without any record.
    ///
    /// # Panics
    /// When there is no port to be had.
    pub fn open() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let server = Self {
            address: socket.local_addr().expect("bound"),
            zone: Arc::default(),
            away: Arc::default(),
            asked: Arc::default(),
            stop: Arc::default(),
        };
        let (zone, away) = (server.zone.clone(), server.away.clone());
        let (asked, stop) = (server.asked.clone(), server.stop.clone());
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                asked.fetch_add(1, Ordering::SeqCst);
                let zone = zone.lock().map(|zone| zone.clone()).unwrap_or_default();
                let failing = away.load(Ordering::SeqCst);
                if let Some(answer) = answer(&question[..length], &zone, failing) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        server
    }

    /// The addresses of a name, from now on; none means that there is no such name.
    pub fn addresses(&self, name: &str, addresses: &[Ipv4Addr]) {
        self.put(name, A, addresses.iter().map(|address| address.octets().to_vec()).collect());
    }

    /// The services of a name as targets and ports, from now on.
    pub fn services(&self, name: &str, services: &[(&str, u16)]) {
        let record = |(target, port): &(&str, u16)| {
            let (priority, weight) = (0_u16, 1_u16);
            let numbers = [priority, weight, *port].map(u16::to_be_bytes).concat();
            [numbers, labels(target)].concat()
        };
        self.put(name, SRV, services.iter().map(record).collect());
    }

    fn put(&self, name: &str, kind: u16, records: Vec<Vec<u8>>) {
        if let Ok(mut zone) = self.zone.lock() {
            zone.insert((name.to_owned(), kind), records);
        }
    }

    /// Whether every question is answered with "server failure".
    pub fn fail(&self, failing: bool) {
        self.away.store(failing, Ordering::SeqCst);
    }

    /// How many questions came.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            let _ = socket.send_to(&[], self.address);
        }
    }
}

/// A name as labels with their lengths.
fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// The name in a question, its type, and where the question ends.
fn question(message: &[u8]) -> Option<(String, u16, usize)> {
    let (mut name, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            break;
        }
        name.push(String::from_utf8(message.get(at + 1..at + 1 + length)?.to_vec()).ok()?);
        at += 1 + length;
    }
    let kind = message.get(at + 1..at + 3)?;
    Some((name.join("."), u16::from_be_bytes([kind[0], kind[1]]), at + 5))
}

fn answer(message: &[u8], zone: &Zone, failing: bool) -> Option<Vec<u8>> {
    let (name, kind, end) = question(message)?;
    let known = zone.iter().any(|((known, _), records)| *known == name && !records.is_empty());
    let records = zone.get(&(name, kind)).cloned().unwrap_or_default();
    let code = if failing {
        FAILURE
    } else if known {
        0
    } else {
        NAME_ERROR
    };
    let records = if code == 0 { records } else { Vec::new() };
    let mut bytes = message.get(..2)?.to_vec();
    // an answer of a server that recurses
    bytes.extend([0x81, 0x80 | code, 0, 1]);
    bytes.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(message.get(12..end)?);
    for record in records {
        // the name of the question, class IN, five seconds
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 5]);
        bytes.extend(u16::try_from(record.len()).ok()?.to_be_bytes());
        bytes.extend(record);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_with_the_records_of_its_type() {
        let zone = Zone::from([(("a.b".to_owned(), A), vec![vec![127, 0, 0, 1]])]);
        let ask =
            |kind: u8| [&[7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &labels("a.b"), &[0, kind, 0, 1]].concat();
        let good = answer(&ask(1), &zone, false).expect("an answer");
        assert!(good.starts_with(&[7, 7, 0x81, 0x80, 0, 1, 0, 1]) && good.ends_with(&[0, 4, 127, 0, 0, 1]));
        let other = answer(&ask(28), &zone, false).expect("an answer");
        assert_eq!(other[..8], [7, 7, 0x81, 0x80, 0, 1, 0, 0]);
        assert_eq!(answer(&ask(1), &zone, true).expect("an answer")[3], 0x82);
        assert_eq!(answer(&ask(1), &Zone::new(), false).expect("an answer")[3], 0x83);
    }
}
