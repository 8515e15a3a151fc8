//! The packets of a server, written out by hand so that they share no mistake with the client.

/// With [`NONCE`], the pair that MySQL's own client gives [`NATIVE_PROOF`] and [`SHA2_PROOF`] for.
pub(super) const PASSWORD: &str = "G!ider27";
pub(super) const NONCE: &[u8] = b"NR3HP:qIYa_9=db?Sd{`";
pub(super) const NATIVE_PROOF: &[u8] =
    b"\x09\xcf\xf8\x85\x5e\x9e\x70\x53\x40\xff\x22\x70\xd8\xfb\x9f\xad\xba\x90\x6b\x70";
pub(super) const SHA2_PROOF: &[u8] = b"\x4f\x97\xbb\xfd\x20\x24\x01\xc4\x2a\x69\xde\xaa\xe5\x3b\xda\x07\
    \x7e\xd7\x57\x85\x63\xc1\xa8\x0e\xb8\x16\xc8\x21\x19\xb6\x8d\x2e";

pub(super) const SSL: u32 = 0x0800;
/// Long password, long flag, 4.1, transactions, secure connection, multi results, plugin auth, length-encoded.
pub(super) const CAPABILITIES: u32 = 0x1 | 0x4 | 0x200 | 0x2000 | 0x8000 | 0x2_0000 | 0x8_0000 | 0x20_0000;

/// The goodbye, a whole packet.
pub(super) const QUIT: [u8; 5] = [1, 0, 0, 0, 1];

pub(super) fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&length[..3], &[sequence], payload].concat()
}

pub(super) fn greeting(version: &str, plugin: &str, capabilities: u32) -> Vec<u8> {
    greeting_with(NONCE, version, plugin, capabilities)
}

/// With a challenge that must not be used, since another follows.
pub(super) fn other_greeting(version: &str, plugin: &str, capabilities: u32) -> Vec<u8> {
    greeting_with(&[b'z'; 20], version, plugin, capabilities)
}

fn greeting_with(nonce: &[u8], version: &str, plugin: &str, capabilities: u32) -> Vec<u8> {
    let bits = capabilities.to_le_bytes();
    let payload = [
        &[10],
        version.as_bytes(),
        &[0],
        &[7, 0, 0, 0], // connection
        &nonce[..8],
        &[0],
        &bits[..2],
        &[45, 2, 0], // character set and status
        &bits[2..],
        &[21],
        &[0; 10],
        &nonce[8..],
        &[0],
        plugin.as_bytes(),
        &[0],
    ];
    packet(0, &payload.concat())
}

pub(super) fn ok(sequence: u8) -> Vec<u8> {
    packet(sequence, &[0, 0, 0, 2, 0, 0, 0])
}

pub(super) fn error(sequence: u8, code: u16, message: &str) -> Vec<u8> {
    packet(sequence, &[&[0xff], &code.to_le_bytes()[..], b"#28000", message.as_bytes()].concat())
}

/// Two columns and these rows.
pub(super) fn result(rows: &[[&str; 2]]) -> Vec<u8> {
    let end = [0xfe, 0, 0, 2, 0];
    let mut payloads = vec![vec![2], column("Variable_name"), column("Value"), end.to_vec()];
    payloads.extend(rows.iter().map(|row| row.iter().flat_map(|field| text(field)).collect()));
    payloads.push(end.to_vec());
    (1_u8..).zip(&payloads).flat_map(|(sequence, payload)| packet(sequence, payload)).collect()
}

fn column(name: &str) -> Vec<u8> {
    let rest = [0x0c, 45, 0, 0, 1, 0, 0, 0xfd, 0, 0, 0, 0, 0];
    [text("def"), text(""), text(""), text(""), text(name), text(""), rest.to_vec()].concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    match length {
        0..=250 => [&[u8::try_from(length).unwrap()], text.as_bytes()].concat(),
        _ => [&[0xfc], &length.to_le_bytes()[..], text.as_bytes()].concat(),
    }
}

/// What asks for TLS, a whole packet.
pub(super) fn ssl_request(capabilities: u32) -> Vec<u8> {
    let head = [&capabilities.to_le_bytes()[..], &(1_u32 << 20).to_le_bytes(), &[45], &[0; 23]];
    packet(1, &head.concat())
}

/// The client's login packet, taken apart.
pub(super) struct Login {
    pub(super) capabilities: u32,
    pub(super) character_set: u8,
    pub(super) user: String,
    pub(super) proof: Vec<u8>,
    pub(super) plugin: String,
}

impl Login {
    pub(super) fn packet_length(bytes: &[u8]) -> usize {
        4 + usize::from(bytes[0]) + 256 * usize::from(bytes[1])
    }

    pub(super) fn parse(bytes: &[u8], sequence: u8) -> Self {
        assert_eq!(bytes[3], sequence);
        let payload = &bytes[4..Self::packet_length(bytes)];
        let (head, rest) = payload.split_at(32);
        assert_eq!(head[9..], [0; 23]);
        let zero = rest.iter().position(|&byte| byte == 0).unwrap();
        let (user, rest) = (&rest[..zero], &rest[zero + 1..]);
        let (proof, plugin) = rest[1..].split_at(usize::from(rest[0]));
        assert_eq!(plugin.last(), Some(&0));
        Self {
            capabilities: u32::from_le_bytes(head[..4].try_into().unwrap()),
            character_set: head[8],
            user: String::from_utf8(user.to_vec()).unwrap(),
            proof: proof.to_vec(),
            plugin: String::from_utf8(plugin[..plugin.len() - 1].to_vec()).unwrap(),
        }
    }
}
