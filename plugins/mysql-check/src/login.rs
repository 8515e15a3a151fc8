//! From a TCP connection to a server that takes statements.

use crate::auth::{Login, Method, NONCE};
use crate::options::{Mode, Options, Tls};
use crate::query::error_of;
use crate::trouble::Trouble;
use crate::wire::{Cursor, Wire, line};
use muster_sdk::health_check::{Connection, Duration, Net};
use mysql_common::constants::CapabilityFlags;
use mysql_common::packets::{AuthPlugin, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;

/// The largest packet that is announced to the server, in bytes.
const MAX_PACKET: u32 = 1 << 20;
/// utf8mb4_general_ci, which every supported server knows.
const CHARACTER_SET: u8 = 45;
/// Packets after which a login that does not end is given up.
const MAX_ROUNDS: usize = 8;

/// A server that takes statements.
pub(crate) struct Session<C> {
    pub(crate) wire: Wire<C>,
    /// what the server calls itself
    pub(crate) version: String,
}

/// Connects and logs in. Where TLS is only preferred and fails - old servers know no version of it that is still
/// used - a second connection does without.
pub(crate) fn open<N: Net>(options: &Options<'_>, net: &N) -> Result<Session<N::Connection>, Trouble> {
    match attempt(options, net) {
        Err(trouble) if trouble.is_tls() && options.tls == Tls::Preferred => {
            attempt(&Options { tls: Tls::Disabled, ..*options }, net)
        }
        result => result,
    }
}

fn attempt<N: Net>(options: &Options<'_>, net: &N) -> Result<Session<N::Connection>, Trouble> {
    let mut wire = Wire::new(net.connect(connect_timeout(options, net))?);
    let greeting = wire.receive()?;
    let greeting = Greeting::parse(&greeting)?;
    let capabilities = capabilities(&greeting, options)?;
    let encrypted = capabilities.contains(CapabilityFlags::CLIENT_SSL);
    if encrypted {
        let mut request = Vec::new();
        SslRequest::new(capabilities, MAX_PACKET, CHARACTER_SET).serialize(&mut request);
        wire.send(&request)?;
        wire.start_tls(options.verify)?;
    }
    let mut login = Login::new(*options, encrypted, greeting.method, greeting.nonce);
    let answer = login.first()?;
    wire.send(&response(options.user, capabilities, &login, answer))?;
    finish(&mut wire, &mut login)?;
    Ok(Session { wire, version: greeting.version })
}

/// Nacos's driver gives up by itself, which makes a silent host unhealthy at once; so this has to end a little
/// before the host ends the check. Source: Nacos `MysqlHealthCheckProcessor.CONNECT_TIMEOUT_MS`.
fn connect_timeout(options: &Options<'_>, net: &impl Net) -> Option<Duration> {
    const NACOS: Duration = Duration::from_millis(500);
    const BEFORE_THE_END: Duration = Duration::from_millis(20);
    match (options.connect_timeout, options.mode) {
        (Some(time), _) => Some(time),
        (None, Mode::Master) => None,
        (None, Mode::Nacos) => Some(NACOS.min(net.remaining().saturating_sub(BEFORE_THE_END))),
    }
}

/// What is wanted of what the server can do.
fn capabilities(greeting: &Greeting, options: &Options<'_>) -> Result<CapabilityFlags, Trouble> {
    let needed = CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_SECURE_CONNECTION;
    if !greeting.capabilities.contains(needed) {
        return Err(Trouble::Protocol("the server is older than 4.1"));
    }
    let wanted = needed
        | CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA;
    let tls = match (options.tls, greeting.capabilities.contains(CapabilityFlags::CLIENT_SSL)) {
        (Tls::Required, false) => return Err(Trouble::NoTls),
        (Tls::Preferred | Tls::Required, true) => CapabilityFlags::CLIENT_SSL,
        (Tls::Disabled, _) | (Tls::Preferred, false) => CapabilityFlags::empty(),
    };
    Ok((wanted & greeting.capabilities) | tls)
}

fn response(user: &str, capabilities: CapabilityFlags, login: &Login<'_>, answer: Vec<u8>) -> Vec<u8> {
    let plugin = capabilities
        .contains(CapabilityFlags::CLIENT_PLUGIN_AUTH)
        .then(|| AuthPlugin::from_bytes(login.method().name()));
    let packet = HandshakeResponse::new(
        Some(answer),
        (5, 7, 0), // only chooses utf8mb4
        Some(user.as_bytes()),
        None::<Vec<u8>>,
        plugin,
        capabilities,
        None,
        MAX_PACKET,
    );
    let mut payload = Vec::new();
    packet.serialize(&mut payload);
    payload
}

/// Answers until the server says yes or no.
fn finish<C: Connection>(wire: &mut Wire<C>, login: &mut Login<'_>) -> Result<(), Trouble> {
    for _ in 0..MAX_ROUNDS {
        let packet = wire.receive()?;
        match packet.split_first() {
            Some((0x00, _)) => return Ok(()),
            Some((0xff, _)) => return Err(error_of(&packet)),
            Some((0xfe, [])) => return Err(Trouble::UnknownAuth("mysql_old_password".to_owned())),
            Some((0xfe, rest)) => {
                let mut cursor = Cursor::new(rest);
                let name = cursor.until_zero().ok_or(Trouble::Protocol("a switch without a name"))?;
                let answer = login.switch(Method::named(name), cursor.rest())?;
                wire.send(&answer)?;
            }
            Some((0x01, rest)) => {
                if let Some(answer) = login.more(rest)? {
                    wire.send(&answer)?;
                }
            }
            _ => return Err(Trouble::Protocol("a packet within the login that has no meaning")),
        }
    }
    Err(Trouble::Protocol("the login does not end"))
}

/// The server's first packet.
struct Greeting {
    version: String,
    capabilities: CapabilityFlags,
    nonce: [u8; NONCE],
    method: Method,
}

impl Greeting {
    fn parse(packet: &[u8]) -> Result<Self, Trouble> {
        match packet.first() {
            Some(0xff) => Err(error_of(packet)),
            Some(10) => Self::version_10(&packet[1..]).ok_or(Trouble::Protocol("the greeting is too short")),
            _ => Err(Trouble::Protocol("no greeting of a MySQL server")),
        }
    }

    /// Source: "Protocol::HandshakeV10" of MySQL's internals documentation.
    fn version_10(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let version = line(cursor.until_zero()?, 64);
        cursor.take(4)?; // connection id
        let first = cursor.take(8)?;
        cursor.take(1)?; // filler
        let low = cursor.u16()?;
        cursor.take(3)?; // character set and status
        let high = cursor.u16()?;
        let challenge = usize::from(cursor.byte()?);
        cursor.take(10)?;
        let second = cursor.take(challenge.saturating_sub(8).max(13))?;
        let bits = u32::from(high) << 16 | u32::from(low);
        let name = cursor.until_zero().unwrap_or_else(|| cursor.rest()); // some servers send no zero
        Some(Self {
            version,
            capabilities: CapabilityFlags::from_bits_truncate(bits),
            nonce: [first, second.get(..NONCE - 8)?].concat().try_into().ok()?,
            method: if name.is_empty() { Method::Native } else { Method::named(name) },
        })
    }
}
