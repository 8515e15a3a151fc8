//! Payloads, encoded and taken apart by hand, so that a mistake of the node's codec is not repeated here.

/// A payload of type `kind` with the body `json`.
/// Source: Nacos `nacos_grpc_service.proto`; metadata is field 2 (type: 3), body is field 3 (value: 2).
pub fn encode(kind: &[u8], json: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    field(&mut message, 0x12, &[&[0x1a][..], &length(kind), kind].concat());
    field(&mut message, 0x1a, &[&[0x12][..], &length(json), json].concat());
    message
}

fn field(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&length(content));
    out.extend_from_slice(content);
}

fn length(content: &[u8]) -> Vec<u8> {
    let mut left = content.len();
    let mut out = Vec::new();
    while left >= 0x80 {
        out.push(u8::try_from(left & 0x7f).unwrap_or_default() | 0x80);
        left >>= 7;
    }
    out.push(u8::try_from(left).unwrap_or_default());
    out
}

/// The type and the body of a payload of the server, which has nothing else; none when it is no such payload.
pub fn decode(message: &[u8]) -> Option<(String, Vec<u8>)> {
    let (metadata, rest) = content(message, 0x12)?;
    let (body, rest) = content(rest, 0x1a)?;
    let (kind, nothing) = content(metadata, 0x1a)?;
    let (json, no_more) = content(body, 0x12)?;
    let whole = rest.is_empty() && nothing.is_empty() && no_more.is_empty();
    whole.then(|| Some((String::from_utf8(kind.to_vec()).ok()?, json.to_vec())))?
}

fn content(message: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let mut rest = message.strip_prefix(&[tag])?;
    let mut length = 0;
    for shift in (0..35).step_by(7) {
        let (byte, after) = rest.split_first()?;
        rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return rest.split_at_checked(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n203_n205_the_worked_example_is_encoded_and_decoded() {
        let json = br#"{"headers":{},"module":"internal"}"#;
        let message = encode(b"ServerCheckRequest", json);
        assert_eq!(&message[..6], b"\x12\x14\x1a\x12Se");
        assert_eq!(&message[20..26], b"st\x1a\x24\x12\x22");
        assert_eq!(message.len(), 60);
        assert_eq!(decode(&message), Some(("ServerCheckRequest".to_owned(), json.to_vec())));
        assert_eq!(decode(&message[..59]), None);
        let long = encode(b"T", &[b'a'; 70_000]);
        assert_eq!(decode(&long).unwrap().1.len(), 70_000);
    }
}
