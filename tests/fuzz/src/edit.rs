//! Edits of a literal message. Random bytes are hardly ever JSON, let alone a request; an edited request is still
//! nearly one, and reaches what comes after the decoder.

use bolero::TypeGenerator;

/// One change of some bytes. Positions wrap around, so that every edit changes something.
#[derive(Clone, Debug, TypeGenerator)]
pub enum Edit {
    /// another byte
    Byte(u16, u8),
    /// a piece left out
    Cut(u16, u8),
    /// a piece twice
    Twice(u16, u8),
    /// a token put in
    Token(u16, u8),
    /// a JSON value replaced by a token
    Value(u8, u8),
    /// a JSON value replaced by a text of that many characters
    Long(u8, u16),
    /// arrays or objects in each other
    Deep(u8, u16),
    /// everything from here is lost
    End(u16),
}

/// What means something to one of the parsers, or is at a limit of one.
const TOKENS: [&str; 40] = [
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "\"\"",
    "0",
    "-0",
    "-1",
    "1.5",
    "1e999",
    "-1e-400",
    "65535",
    "65536",
    "99999999999999999999",
    "9223372036854775807",
    "NaN",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\u{e9}\"",
    "\"a@@b\"",
    "\"@@\"",
    "\"*\"",
    "\"**\"",
    "\"public>>*>>*\"",
    "\">>>>\"",
    "\"a,b,,c\"",
    "\"../..\"",
    "\" \"",
    "\"10.0.0.1\"",
    "\"::1\"",
    "\"registerInstance\"",
    "\"deregisterInstance\"",
    "[null]",
    "[{}]",
    "{\"a\":null}",
    ",",
    "{",
    "\"",
];

/// Applies edits one after the other.
pub fn apply(message: &[u8], edits: &[Edit]) -> Vec<u8> {
    edits.iter().fold(message.to_vec(), one)
}

fn one(mut message: Vec<u8>, edit: &Edit) -> Vec<u8> {
    let place = |at: u16| usize::from(at) % (message.len() + 1);
    let piece = |at: u16, length: u8| {
        let from = place(at);
        from..(from + usize::from(length) + 1).min(message.len())
    };
    match *edit {
        Edit::Byte(at, byte) => {
            let at = place(at);
            if let Some(old) = message.get_mut(at) {
                *old = byte;
            }
        }
        Edit::Cut(at, length) => drop(message.drain(piece(at, length))),
        Edit::Twice(at, length) => {
            let range = piece(at, length);
            let copy = message[range.clone()].to_vec();
            message.splice(range.end..range.end, copy);
        }
        Edit::Token(at, token) => {
            let at = place(at);
            message.splice(at..at, token_of(token).bytes());
        }
        Edit::Value(value, token) => replace(&mut message, value, token_of(token).as_bytes()),
        Edit::Long(value, length) => {
            let text = format!("\"{}\"", "x".repeat(usize::from(length)));
            replace(&mut message, value, text.as_bytes());
        }
        Edit::Deep(value, depth) => {
            let (open, close) = if depth % 2 == 0 { ("[", "]") } else { ("{\"a\":", "}") };
            let depth = usize::from(depth % 4_096);
            let text = format!("{}0{}", open.repeat(depth), close.repeat(depth));
            replace(&mut message, value, text.as_bytes());
        }
        Edit::End(at) => {
            let at = place(at);
            message.truncate(at);
        }
    }
    message
}

fn token_of(token: u8) -> &'static str {
    TOKENS[usize::from(token) % TOKENS.len()]
}

/// Replaces what stands after the `value`th colon, up to the next comma or bracket.
fn replace(message: &mut Vec<u8>, value: u8, text: &[u8]) {
    let colons: Vec<usize> =
        message.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at).collect();
    let Some(&colon) = colons.get(usize::from(value) % colons.len().max(1)) else { return };
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']');
    // An object or a list is replaced as a whole when it is empty, else its first part is.
    let from = colon + 1;
    let end = match &message[from..] {
        [b'{', b'}', ..] | [b'[', b']', ..] => from + 2,
        rest => from + rest.iter().position(ends).unwrap_or(rest.len()),
    };
    message.splice(from..end, text.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_do_what_they_say() {
        let text = br#"{"a":1,"b":{},"c":"x"}"#;
        let edited = |edit| String::from_utf8(apply(text, &[edit])).unwrap();
        assert_eq!(edited(Edit::Value(0, 0)), r#"{"a":null,"b":{},"c":"x"}"#);
        assert_eq!(edited(Edit::Value(1, 4)), r#"{"a":1,"b":[],"c":"x"}"#);
        assert_eq!(edited(Edit::Long(2, 3)), r#"{"a":1,"b":{},"c":"xxx"}"#);
        assert_eq!(edited(Edit::Deep(0, 2)), r#"{"a":[[0]],"b":{},"c":"x"}"#);
        assert_eq!(edited(Edit::Deep(0, 1)), r#"{"a":{"a":0},"b":{},"c":"x"}"#);
        assert_eq!(edited(Edit::End(3)), "{\"a");
        assert_eq!(edited(Edit::Cut(1, 5)), r#"{"b":{},"c":"x"}"#);
        assert_eq!(edited(Edit::Twice(21, 0)), r#"{"a":1,"b":{},"c":"x"}}"#);
        assert_eq!(apply(b"", &[Edit::Byte(9, 1), Edit::Cut(9, 9), Edit::Value(1, 1)]), b"");
    }
}
