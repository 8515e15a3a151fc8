//! A password sealed under the public key that a server shows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mysql_common::crypto::rsa::{GetRandom, Pkcs1OaepPadding, PublicKey};
use mysql_common::num_bigint::BigUint;

/// Smallest and largest modulus in bytes: 1024 to 8192 bits. Below it a password is not safe, above it one check
/// would take too long.
const MODULUS: std::ops::RangeInclusive<usize> = 128..=1024;
/// Bytes that OAEP with SHA-1 needs of the modulus.
const OAEP: usize = 42;

/// The password with its zero, covered with the challenge and encrypted as MySQL 8.0.5 and later want it.
pub(crate) fn seal(password: &[u8], nonce: &[u8], pem: &[u8]) -> Option<Vec<u8>> {
    let key = public_key(pem)?;
    let covered: Vec<u8> =
        password.iter().chain([&0]).zip(nonce.iter().cycle()).map(|(byte, cover)| byte ^ cover).collect();
    if covered.len() + OAEP > key.num_octets() {
        return None;
    }
    key.encrypt_block(covered, Pkcs1OaepPadding::new(GetRandom)).ok()
}

/// Reads `-----BEGIN PUBLIC KEY-----` (PKCS #8) and `-----BEGIN RSA PUBLIC KEY-----` (PKCS #1).
fn public_key(pem: &[u8]) -> Option<PublicKey> {
    let text = std::str::from_utf8(pem).ok()?.trim_matches(['\0', ' ', '\r', '\n', '\t']);
    let (wrapped, body) = match between(text, "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----") {
        Some(body) => (true, body),
        None => (false, between(text, "-----BEGIN RSA PUBLIC KEY-----", "-----END RSA PUBLIC KEY-----")?),
    };
    let base64: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(base64).ok()?;
    if wrapped { unwrap_key(&der) } else { rsa_key(&der) }
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    text.split_once(begin)?.1.split_once(end).map(|(body, _)| body)
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// `SEQUENCE { algorithm, BIT STRING { key } }`
fn unwrap_key(der: &[u8]) -> Option<PublicKey> {
    let (outer, _) = element(der, SEQUENCE)?;
    let (_algorithm, rest) = element(outer, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    rsa_key(bits.strip_prefix(&[0])?)
}

/// `SEQUENCE { modulus, exponent }`
fn rsa_key(der: &[u8]) -> Option<PublicKey> {
    let (fields, _) = element(der, SEQUENCE)?;
    let (modulus, rest) = element(fields, INTEGER)?;
    let (exponent, _) = element(rest, INTEGER)?;
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let odd = modulus.last().is_some_and(|last| last & 1 == 1);
    let full = modulus.first().is_some_and(|first| *first >= 0x80);
    let fits = MODULUS.contains(&modulus.len()) && odd && full && (1..=8).contains(&exponent.len());
    fits.then(|| PublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent)))
}

/// The content of an element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81..=0x82 => {
            let (wide, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (wide.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    (found == tag).then_some(())?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &[u8] = include_bytes!("../tests/server.pub");

    #[test]
    fn a_real_key_seals_a_password_into_one_block() {
        let sealed = seal(b"secret", &[7; 20], PEM).unwrap();
        assert_eq!(sealed.len(), 256);
        assert_ne!(seal(b"secret", &[7; 20], PEM).unwrap(), sealed, "the padding is random");
    }

    #[test]
    fn a_password_too_long_for_the_key_is_refused() {
        assert!(seal(&[b'x'; 213], &[7; 20], PEM).is_some());
        assert!(seal(&[b'x'; 214], &[7; 20], PEM).is_none());
    }

    #[test]
    fn no_key_however_broken_traps() {
        for length in 0..PEM.len() {
            assert!(seal(b"secret", &[7; 20], &PEM[..length]).is_none() || length + 2 > PEM.len());
        }
        let der = STANDARD.decode(
            between(std::str::from_utf8(PEM).unwrap(), "-----BEGIN PUBLIC KEY-----", "-----END")
                .unwrap()
                .replace('\n', ""),
        );
        let der = der.unwrap();
        for place in 0..der.len() {
            for value in [0, 1, 0x7f, 0x80, 0x82, 0xff] {
                let mut broken = der.clone();
                broken[place] = value;
                let text = STANDARD.encode(&broken);
                let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
                let _ = seal(b"secret", &[7; 20], pem.as_bytes()); // either is right; a panic is not
            }
        }
    }
}
