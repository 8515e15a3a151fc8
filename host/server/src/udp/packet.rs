//! One datagram.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// Length from which packets are compressed, in bytes. Source: Nacos `UdpPushService.compressIfNecessary`.
const COMPRESS: usize = 1_024;

/// A packet as it is sent, and the key that acknowledges it. The same for all who get the same list.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) key: u64,
    pub(super) bytes: Vec<u8>,
}

impl Packet {
    /// `{"type":"dom","data":"…","lastRefTime":key}` with the ServiceInfo `data` as text, compressed when it
    /// is long.
    pub(super) fn new(key: u64, data: &[u8]) -> Self {
        let plain = plain(key, data);
        let bytes = if plain.len() < COMPRESS { plain } else { compressed(&plain).unwrap_or(plain) };
        Self { key, bytes }
    }
}

fn plain(key: u64, data: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(data.len() + data.len() / 4 + 64);
    text.extend_from_slice(b"{\"type\":\"dom\",\"data\":\"");
    for byte in data {
        // The data are JSON already: nothing but quotes and backslashes needs an escape.
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text.extend_from_slice(b"\",\"lastRefTime\":");
    text.extend_from_slice(key.to_string().as_bytes());
    text.push(b'}');
    text
}

/// None when the compressor fails, which it cannot when it writes to memory.
fn compressed(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::io::Read;

    #[test]
    fn n194_n197_a_packet_holds_the_list_as_text_and_its_key_as_a_number() {
        let data = r#"{"name":"G@@s","hosts":[{"metadata":{"a\"b":"c\\d\n"}}]}"#;
        let packet = Packet::new(81_234_567_890_123, data.as_bytes());
        let json: Value = serde_json::from_slice(&packet.bytes).unwrap();
        assert_eq!((&json["type"], &json["lastRefTime"]), (&"dom".into(), &81_234_567_890_123_u64.into()));
        assert_eq!(json["data"].as_str(), Some(data));
    }

    #[test]
    fn n196_packets_from_1024_bytes_are_gzip() {
        let overhead = Packet::new(1, b"").bytes.len();
        let short = Packet::new(1, &vec![b'x'; 1_023 - overhead]);
        assert_eq!((short.bytes.len(), short.bytes[0]), (1_023, b'{'));
        let long = Packet::new(1, &vec![b'x'; 1_024 - overhead]);
        assert_eq!(long.bytes[..2], [0x1f, 0x8b]);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*long.bytes).read_to_string(&mut text).unwrap();
        assert_eq!(text.len(), 1_024);
    }
}
