//! Asking a DNS server: A, AAAA and SRV records of a full name, over UDP, and over TCP when the answer does not fit.
//!
//! A stub: it trusts the recursive servers that the machine (or the operator) names, follows no referral, keeps nothing.
//! Names are full names; `search` of `/etc/resolv.conf` and `/etc/hosts` are not looked at, so that one setting means
//! one name on every node.

use crate::text::one_line;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, ResourceRecord, TYPE, rdata::RData};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// Where the machine's own servers are named.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Servers of it that are used. Source: resolv.conf(5), `MAXNS`.
const MAX_SERVERS: usize = 3;
/// How often each server is asked. Source: resolv.conf(5), `attempts`.
const ROUNDS: usize = 2;
/// Time for one question to one server.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Bytes of the largest answer: what TCP can carry.
const MAX_ANSWER: usize = u16::MAX as usize;
/// Longest name, in its written form. Source: RFC 1035, section 2.3.4.
const MAX_NAME: usize = 253;

/// Why there are no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DnsError {
    /// no such name, or no records of this kind
    Missing,
    /// no server answered
    TimedOut,
    /// not a name
    BadName,
    /// what servers said instead
    Other(String),
}

/// A record of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Service {
    pub(crate) priority: u16,
    pub(crate) target: String,
    pub(crate) port: u16,
    pub(crate) weight: u16,
}

/// The part of an answer that somebody asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) services: Vec<Service>,
    /// addresses that came along, by name
    pub(crate) along: Vec<(String, IpAddr)>,
}

/// The servers to ask: the one that is given, or the machine's.
pub(crate) async fn servers(given: Option<SocketAddr>) -> Result<Vec<SocketAddr>, DnsError> {
    if let Some(server) = given {
        return Ok(vec![server]);
    }
    let reading = tokio::task::spawn_blocking(|| std::fs::read_to_string(Path::new(RESOLV_CONF))).await;
    let text = reading.unwrap_or_else(|error| Err(io::Error::other(error)));
    let text = text.map_err(|error| DnsError::Other(format!("{RESOLV_CONF}: {error}")))?;
    let servers = name_servers(&text);
    if servers.is_empty() {
        return Err(DnsError::Other(format!("{RESOLV_CONF} names no server")));
    }
    Ok(servers)
}

fn name_servers(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        // of a link-local address the interface is not kept
        let address = words.next().filter(|_| is_server)?.split('%').next()?.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(address, 53))
    };
    text.lines().filter_map(address).take(MAX_SERVERS).collect()
}

/// A and AAAA records.
pub(crate) async fn addresses(servers: &[SocketAddr], name: &str) -> Result<Vec<IpAddr>, DnsError> {
    let (v4, v6) = tokio::join!(ask(servers, name, TYPE::A), ask(servers, name, TYPE::AAAA));
    let mut all = match (v4, v6) {
        (Ok(v4), Ok(v6)) => [v4.addresses, v6.addresses].concat(),
        (Ok(found), Err(DnsError::Missing)) | (Err(DnsError::Missing), Ok(found)) => found.addresses,
        // half a list would be a wrong list
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// SRV records, and the addresses that came with them.
pub(crate) async fn services(servers: &[SocketAddr], name: &str) -> Result<Records, DnsError> {
    let mut found = ask(servers, name, TYPE::SRV).await?;
    // "." says that there is no such service. Source: RFC 2782.
    found.services.retain(|service| !service.target.is_empty());
    found.services.sort_unstable();
    found.services.dedup();
    if found.services.is_empty() { Err(DnsError::Missing) } else { Ok(found) }
}

/// Asks one server after the other until one answers.
async fn ask(servers: &[SocketAddr], name: &str, kind: TYPE) -> Result<Records, DnsError> {
    let name = checked(name)?;
    let mut last = DnsError::TimedOut;
    for server in (0..ROUNDS).flat_map(|_| servers) {
        let id = rand::random();
        let question = question(id, name, kind)?;
        let asked = async {
            let answer = over_udp(*server, &question).await?;
            match judge(&answer, id, name, kind) {
                Judged::Cut => {
                    let answer = over_tcp(*server, &question).await?;
                    Ok::<_, io::Error>(judge(&answer, id, name, kind))
                }
                judged => Ok(judged),
            }
        };
        last = match timeout(PATIENCE, asked).await {
            Err(_) => DnsError::TimedOut,
            Ok(Err(error)) => DnsError::Other(format!("{server}: {error}")),
            Ok(Ok(Judged::Found(records))) => return Ok(records),
            Ok(Ok(Judged::Missing)) => return Err(DnsError::Missing),
            Ok(Ok(Judged::Cut)) => DnsError::Other(format!("{server}: the answer is cut")),
            Ok(Ok(Judged::Refused(why))) => DnsError::Other(format!("{server}: {why}")),
            Ok(Ok(Judged::Stray)) => DnsError::Other(format!("{server}: no answer to the question")),
        };
    }
    Err(last)
}

/// A full name without the dot at its end.
fn checked(name: &str) -> Result<&str, DnsError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.chars().all(plain);
    if name.len() > MAX_NAME || !name.split('.').all(label) { Err(DnsError::BadName) } else { Ok(name) }
}

fn question(id: u16, name: &str, kind: TYPE) -> Result<Vec<u8>, DnsError> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).map_err(|_| DnsError::BadName)?;
    packet.questions.push(Question::new(name, kind.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec().map_err(|_| DnsError::BadName)
}

/// The socket is connected, so nobody else's datagrams arrive; one that answers something else is waited past.
async fn over_udp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; MAX_ANSWER];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answer[..length].get(..2) == question.get(..2) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], question].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[derive(Debug, PartialEq, Eq)]
enum Judged {
    Found(Records),
    Missing,
    Cut,
    Refused(String),
    Stray,
}

fn judge(answer: &[u8], id: u16, name: &str, kind: TYPE) -> Judged {
    let (Ok(packet), Ok(name)) = (Packet::parse(answer), Name::new(name)) else { return Judged::Stray };
    let ours = |question: &Question<'_>| question.qname == name && question.qtype == kind.into();
    let is_answer = packet.id() == id && packet.has_flags(PacketFlag::RESPONSE);
    if !is_answer || packet.questions.len() != 1 || !packet.questions.iter().all(ours) {
        return Judged::Stray;
    }
    match packet.rcode() {
        _ if packet.has_flags(PacketFlag::TRUNCATION) => Judged::Cut,
        RCODE::NoError => match records(&packet, kind) {
            found if found == Records::default() => Judged::Missing,
            found => Judged::Found(found),
        },
        RCODE::NameError => Judged::Missing,
        other => Judged::Refused(one_line(&format!("{other:?}"), 64)),
    }
}

fn records(packet: &Packet<'_>, kind: TYPE) -> Records {
    let mut found = Records::default();
    for record in packet.answers.iter().filter(|record| record.rdata.type_code() == kind) {
        match &record.rdata {
            RData::SRV(srv) => found.services.push(Service {
                priority: srv.priority,
                target: written(&srv.target),
                port: srv.port,
                weight: srv.weight,
            }),
            _ => found.addresses.extend(address(record)),
        }
    }
    if !found.services.is_empty() {
        let with_name =
            |record: &ResourceRecord<'_>| address(record).map(|address| (written(&record.name), address));
        found.along = packet.additional_records.iter().filter_map(with_name).collect();
    }
    found
}

fn address(record: &ResourceRecord<'_>) -> Option<IpAddr> {
    match &record.rdata {
        RData::A(v4) => Some(Ipv4Addr::from(v4.address).into()),
        RData::AAAA(v6) => Some(Ipv6Addr::from(v6.address).into()),
        _ => None,
    }
}

/// Case does not matter in names; one form of each is enough.
fn written(name: &Name<'_>) -> String {
    name.to_string().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::rdata::{A, SRV};

    fn reply(id: u16, name: &str, kind: TYPE, answers: Vec<RData<'static>>) -> Packet<'static> {
        let name = Name::new(name).unwrap().into_owned();
        let mut packet = Packet::new_reply(id);
        packet.questions.push(Question::new(name.clone(), kind.into(), CLASS::IN.into(), false));
        let record = |data| ResourceRecord::new(name.clone(), CLASS::IN, 5, data);
        packet.answers = answers.into_iter().map(record).collect();
        packet
    }

    fn judged(packet: &Packet<'_>, name: &str, kind: TYPE) -> Judged {
        judge(&packet.build_bytes_vec_compressed().unwrap(), 7, name, kind)
    }

    #[test]
    fn an_answer_is_one_to_the_question() {
        let local = RData::A(A { address: Ipv4Addr::LOCALHOST.into() });
        let found = Records { addresses: vec![Ipv4Addr::LOCALHOST.into()], ..Records::default() };
        let good = reply(7, "a.example", TYPE::A, vec![local.clone()]);
        assert_eq!(judged(&good, "A.Example", TYPE::A), Judged::Found(found));
        assert_eq!(judged(&good, "b.example", TYPE::A), Judged::Stray);
        assert_eq!(judged(&good, "a.example", TYPE::AAAA), Judged::Stray);
        assert_eq!(judged(&reply(8, "a.example", TYPE::A, vec![local]), "a.example", TYPE::A), Judged::Stray);
        assert_eq!(judged(&reply(7, "a.example", TYPE::A, vec![]), "a.example", TYPE::A), Judged::Missing);
        let mut cut = good.clone();
        cut.set_flags(PacketFlag::TRUNCATION);
        assert_eq!(judged(&cut, "a.example", TYPE::A), Judged::Cut);
        let mut refused = good.clone();
        *refused.rcode_mut() = RCODE::ServerFailure;
        assert_eq!(judged(&refused, "a.example", TYPE::A), Judged::Refused("ServerFailure".into()));
    }

    #[test]
    fn addresses_that_come_along_are_kept_by_name() {
        let target = Name::new("One.example").unwrap().into_owned();
        let srv = RData::SRV(SRV { priority: 1, weight: 2, port: 3, target: target.clone() });
        let mut packet = reply(7, "_m._tcp.example", TYPE::SRV, vec![srv]);
        let data = RData::A(A { address: Ipv4Addr::LOCALHOST.into() });
        packet.additional_records.push(ResourceRecord::new(target, CLASS::IN, 5, data));
        let Judged::Found(found) = judged(&packet, "_m._tcp.example", TYPE::SRV) else {
            panic!("no records")
        };
        let service = Service { priority: 1, target: "one.example".into(), port: 3, weight: 2 };
        assert_eq!(found.services, [service]);
        assert_eq!(found.along, [("one.example".to_owned(), IpAddr::from(Ipv4Addr::LOCALHOST))]);
    }

    #[test]
    fn whatever_arrives_is_judged() {
        let local = RData::A(A { address: Ipv4Addr::LOCALHOST.into() });
        let good = reply(7, "a.example", TYPE::A, vec![local]).build_bytes_vec_compressed().unwrap();
        for at in 0..good.len() {
            for value in 0..=u8::MAX {
                let mut bytes = good.clone();
                bytes[at] = value;
                judge(&bytes, 7, "a.example", TYPE::A);
            }
            judge(&good[..at], 7, "a.example", TYPE::A);
        }
    }

    #[test]
    fn a_name_is_a_full_name() {
        assert_eq!(checked("_muster._tcp.svc.cluster.local."), Ok("_muster._tcp.svc.cluster.local"));
        for bad in ["", ".", "a..b", "a b", "ä", "a/b", &"a".repeat(64), &"a.".repeat(128)] {
            assert_eq!(checked(bad), Err(DnsError::BadName), "{bad}");
        }
    }

    #[test]
    fn the_machines_servers_are_the_first_three() {
        let text = "# none\nsearch a.b\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver x\n\
                    nameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        let wanted = ["10.0.0.1:53", "[fe80::1]:53", "10.0.0.2:53"];
        assert_eq!(name_servers(text).iter().map(ToString::to_string).collect::<Vec<_>>(), wanted);
    }
}
