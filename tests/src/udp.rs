//! A subscriber of the UDP push of Nacos 1.x.

use crate::wait::Clock;
use flate2::read::GzDecoder;
use serde_json::Value;
use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// One pushed datagram.
#[derive(Clone, Debug)]
pub struct Packet {
    /// as received
    pub raw: Vec<u8>,
    /// length of the JSON text
    pub length: usize,
    /// whether it was compressed
    pub gzip: bool,
    /// the packet
    pub json: Value,
    /// its `data`, which is JSON in a string
    pub data: Value,
    /// where it came from, and acknowledgements go to
    pub from: SocketAddr,
}

impl Packet {
    /// The acknowledgement key.
    pub fn key(&self) -> u64 {
        self.json["lastRefTime"].as_u64().unwrap_or_default()
    }

    /// `ip:port=healthy` of each host, in order of the text.
    pub fn hosts(&self) -> Vec<String> {
        hosts(&self.data)
    }

    fn parse(raw: &[u8], from: SocketAddr) -> Self {
        let gzip = raw.starts_with(&[0x1f, 0x8b]);
        let mut text = String::new();
        if gzip {
            GzDecoder::new(raw).read_to_string(&mut text).expect("gzip");
        } else {
            text = String::from_utf8(raw.to_vec()).expect("UTF-8");
        }
        let json: Value = serde_json::from_str(&text).expect("a packet is JSON");
        let data = json["data"].as_str().expect("data is text");
        let data = serde_json::from_str(data).expect("data is JSON in a string");
        Self { raw: raw.to_vec(), length: text.len(), gzip, json, data, from }
    }
}

/// `ip:port=healthy` of each host of a ServiceInfo, sorted.
pub fn hosts(info: &Value) -> Vec<String> {
    let one = |h: &Value| format!("{}:{}={}", h["ip"].as_str().unwrap_or("?"), h["port"], h["healthy"]);
    let mut hosts: Vec<_> = info["hosts"].as_array().map(|a| a.iter().map(one).collect()).unwrap_or_default();
    hosts.sort();
    hosts
}

/// A socket that pushes are sent to.
#[derive(Debug)]
pub struct Subscriber {
    socket: UdpSocket,
}

impl Default for Subscriber {
    fn default() -> Self {
        Self::new()
    }
}

impl Subscriber {
    /// Binds a free loopback port.
    pub fn new() -> Self {
        Self { socket: UdpSocket::bind("127.0.0.1:0").expect("a free port") }
    }

    /// The port to name in `udpPort`.
    pub fn port(&self) -> u16 {
        self.socket.local_addr().expect("bound").port()
    }

    /// Waits for the next packet; nothing is acknowledged.
    pub fn receive(&self, deadline: Duration) -> Option<Packet> {
        let clock = Clock::start();
        let mut buffer = vec![0; 65536];
        loop {
            let left = deadline.checked_sub(clock.elapsed())?;
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).expect("timeout set");
            if let Ok((n, from)) = self.socket.recv_from(&mut buffer) {
                return Some(Packet::parse(&buffer[..n], from));
            }
        }
    }

    /// Receives and acknowledges until a packet satisfies the closure.
    ///
    /// # Panics
    /// When none does before the deadline.
    #[track_caller]
    pub fn wait_for(&self, deadline: Duration, mut wanted: impl FnMut(&Packet) -> bool) -> Packet {
        let clock = Clock::start();
        let mut seen = Vec::new();
        while let Some(packet) = self.receive(deadline.saturating_sub(clock.elapsed())) {
            self.acknowledge(&packet);
            if wanted(&packet) {
                return packet;
            }
            seen.push(packet.data.to_string());
        }
        assert!(clock.elapsed().is_zero(), "no such push in {deadline:?}; seen: {seen:#?}");
        unreachable!("asserted above")
    }

    /// Receives and acknowledges until nothing comes for this long; gives how many came.
    pub fn drain(&self, quiet: Duration) -> usize {
        let mut count = 0;
        while let Some(packet) = self.receive(quiet) {
            self.acknowledge(&packet);
            count += 1;
        }
        count
    }

    /// Acknowledges as Java and Go do: the key as text.
    pub fn acknowledge(&self, packet: &Packet) {
        self.reply(packet, &format!(r#"{{"type":"push-ack","lastRefTime":"{}","data":""}}"#, packet.key()));
    }

    /// Acknowledges as Node does: the key as a number.
    pub fn acknowledge_with_number(&self, packet: &Packet) {
        self.reply(packet, &format!(r#"{{"type":"push-ack","lastRefTime":{},"data":""}}"#, packet.key()));
    }

    /// Sends any text to where the packet came from.
    pub fn reply(&self, packet: &Packet, text: &str) {
        self.socket.send_to(text.as_bytes(), packet.from).expect("acknowledgement sent");
    }
}
