//! `fetch`: one HTTP/1.1 exchange, without redirects. A health check talks to its target, and to those URLs in the
//! settings its manifest names whose addresses are granted; a lookup talks to the URLs that its manifest names.
//! Headers may refer to secrets that the guest is not told.

use super::tls;
use crate::{
    bindings::since_v0_1_1::fetch::{FetchError, Host, Request, Response},
    dns::{self, DnsError},
    sealed::{self, Unsealed},
    state::{GuestState, Reach},
    text::one_line,
    trace::Turn,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};

/// Bytes of a body that a health check gets at most.
const CHECK_BODY: usize = 64 << 10;
/// Bytes of a body that a lookup gets at most.
const LOOKUP_BODY: usize = 1 << 20;
/// Bytes of a whole header section.
const HEADER_BYTES: usize = 64 << 10;
/// Lines of a header section.
const HEADER_LINES: usize = 100;
/// Bytes of a path that is asked for.
const PATH_BYTES: usize = 8 << 10;

/// URLs that may be asked, by the setting that holds them; none where it is not set.
pub(crate) type Endpoints = BTreeMap<String, Option<String>>;

/// Where a request goes.
struct Destination {
    tls: Option<String>,
    host: Peer,
    authority: String,
    path: String,
    most: usize,
    /// the guest may say which host it means
    own_host: bool,
}

enum Peer {
    Addresses(Vec<SocketAddr>),
    Name(String, u16),
}

type Answer = Result<Response, FetchError>;

impl Host for GuestState {
    async fn send(&mut self, endpoint: Option<String>, request: Request) -> wasmtime::Result<Answer> {
        let began = Instant::now();
        self.call.elsewhere = endpoint.is_some() && self.call.target().is_some();
        let turn = self.call.turn("fetch.send", |sent| {
            json!({
                "endpoint": endpoint, "method": request.method, "path": sent.value(request.path.as_str()),
                "headers": sent.value(json!(request.headers)), "body": sent.bytes(&request.body),
                "timeout-ms": request.timeout_ms,
            })
        })?;
        let pending = match turn {
            Turn::Played(answer) => {
                self.call.elsewhere = false;
                return Ok(answer);
            }
            Turn::Live(pending) => pending,
        };
        let asked = format!("{} {}", one_line(&request.method, 16), one_line(&request.path, 256));
        let answer = self.exchange(endpoint, request).await;
        self.call.elsewhere = false;
        self.call.note("fetch.send", began, || match &answer {
            Ok(response) => format!("{asked}: {}, {} bytes", response.status, response.body.len()),
            Err(error) => format!("{asked}: {error}"),
        });
        self.call.done(&pending, began, || answer.clone());
        Ok(answer)
    }
}

impl GuestState {
    async fn exchange(&mut self, endpoint: Option<String>, mut request: Request) -> Answer {
        let destination = self.destination(endpoint.as_deref(), &request)?;
        self.fill_in(&mut request)?;
        self.call.take_connection().ok_or(FetchError::Denied)?;
        self.call.take_traffic(request.body.len() as u64).ok_or(FetchError::Denied)?;
        let limit = request.timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        // the end of the call is its time limit
        let ends = limit.filter(|limit| *limit < self.call.remaining()).map(|limit| Instant::now() + limit);
        let outgoing = prepare(&destination, request)?;
        // boxed, here and below: what is seldom needed would otherwise be copied with every exchange
        let destination = match (&self.call.reach, &destination.host) {
            (Reach::Target(..), Peer::Name(..)) => Box::pin(self.within_grants(destination, ends)).await?,
            // the target itself; or a lookup's endpoint, which the operator wrote into the settings of the node
            _ => destination,
        };
        let most = destination.most;
        let longest = self.call.unsealed.as_ref().map_or(0, |unsealed| unsealed.longest());
        // a secret that the bound cuts through is found as well
        let destination = Destination { most: most + longest, ..destination };
        let mut answer = match (destination.tls, destination.host) {
            // what most checks do, hundreds of times a second: without a task of its own
            (None, Peer::Addresses(addresses)) => {
                let exchange = Box::pin(plain(addresses, outgoing, destination.most));
                self.call.wait(within(ends, exchange)).await?
            }
            (tls, host) => {
                self.outside(ends, Box::pin(exchange(tls, host, outgoing, destination.most))).await?
            }
        };
        if let Ok(response) = &mut answer {
            if let Some(unsealed) = &self.call.unsealed {
                strike(unsealed, response, most);
            }
            self.call.traffic = self.call.traffic.saturating_sub(response.body.len() as u64);
        }
        answer
    }

    /// Waits for something in a task of its own: TLS and DNS want more stack than a guest's fiber has (trap 9).
    async fn outside<T: Send + 'static>(
        &mut self,
        ends: Option<Instant>,
        what: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, FetchError> {
        #[allow(clippy::disallowed_methods, reason = "ends with the guest's call, which has a deadline")]
        let task = tls::AbortOnDrop(tokio::spawn(what));
        let answer = self.call.wait(within(ends, task.finish())).await?;
        answer.ok_or_else(|| FetchError::Other("broken off".into()))
    }

    /// Where the request goes, as far as the manifest says.
    fn destination(&mut self, endpoint: Option<&str>, request: &Request) -> Result<Destination, FetchError> {
        let (endpoints, most) = match (&self.call.reach, endpoint) {
            (Reach::Target(address, _), None) => return Ok(to_target(*address, &request.path)),
            (Reach::Target(_, endpoints), Some(_)) => (endpoints.clone().unwrap_or_default(), CHECK_BODY),
            (Reach::Lookup(_, endpoints, _), Some(_)) => (Arc::clone(endpoints), LOOKUP_BODY),
            _ => return Err(FetchError::Denied),
        };
        let key = endpoint.unwrap_or_default();
        match endpoints.get(key) {
            Some(Some(url)) => endpoint_of(url, &request.path, most),
            // it may, but there is none
            Some(None) => Err(FetchError::Denied),
            None => {
                self.call.refuse_name("fetch", endpoints.keys().cloned().collect(), key);
                Err(FetchError::Denied)
            }
        }
    }

    /// Puts secrets into the headers that refer to them.
    fn fill_in(&mut self, request: &mut Request) -> Result<(), FetchError> {
        for (_, value) in &mut request.headers {
            match sealed::fill(self.call.unsealed.as_deref(), value) {
                Ok(filled) => *value = filled,
                Err(missing) => {
                    if !missing.is_granted {
                        let granted = self.call.unsealed.as_ref().map(|unsealed| unsealed.keys());
                        let granted = granted.unwrap_or_default();
                        self.call.refuse_name("sealed-secrets", granted, &missing.key);
                    }
                    return Err(FetchError::Denied);
                }
            }
        }
        Ok(())
    }

    /// The addresses that the endpoint of a health check stands for now, without those that are not granted. They are
    /// what is dialled: the name is not looked up again.
    async fn within_grants(
        &mut self,
        destination: Destination,
        ends: Option<Instant>,
    ) -> Result<Destination, FetchError> {
        let Peer::Name(host, port) = &destination.host else { return Ok(destination) };
        let (host, port) = (host.clone(), *port);
        let (name, found) = match host.parse::<IpAddr>() {
            Ok(address) => (None, vec![address]),
            Err(_) => {
                let server = self.reaching.name_server;
                let asked = host.clone();
                let found = self.outside(ends, async move { addresses(server, &asked).await }).await??;
                (Some(host), found)
            }
        };
        let judge = |address: &IpAddr| self.reaching.beyond.allows(name.as_deref(), *address, port);
        let granted: Vec<SocketAddr> = found
            .iter()
            .filter(|address| judge(address).is_ok())
            .map(|address| SocketAddr::new(*address, port))
            .collect();
        let refused = found.iter().find_map(|address| Some((*address, judge(address).err()?)));
        match (granted.is_empty(), refused) {
            (false, _) => Ok(Destination { host: Peer::Addresses(granted), ..destination }),
            (true, Some((address, lacking))) => {
                self.refuse_place(lacking, name.as_deref(), SocketAddr::new(address, port));
                Err(FetchError::Denied)
            }
            (true, None) => Err(FetchError::Unreachable),
        }
    }
}

/// The guest may want to wait for less than the rest of its call.
async fn within<T>(ends: Option<Instant>, what: impl Future<Output = T>) -> Result<T, FetchError> {
    match ends {
        None => Ok(what.await),
        Some(ends) => tokio::time::timeout_at(ends, what).await.map_err(|_| FetchError::TimedOut),
    }
}

/// What a name stands for.
async fn addresses(server: Option<SocketAddr>, name: &str) -> Result<Vec<IpAddr>, FetchError> {
    let said = |error| match error {
        DnsError::Missing => FetchError::Unreachable,
        DnsError::TimedOut => FetchError::TimedOut,
        DnsError::BadName => FetchError::Other("the endpoint's URL has no name that can be looked up".into()),
        DnsError::Other(text) => FetchError::Other(one_line(&text, 256)),
    };
    let servers = dns::servers(server).await.map_err(said)?;
    dns::addresses(&servers, name).await.map_err(said)
}

/// Takes the secrets that were sent out of what came back.
fn strike(unsealed: &Unsealed, response: &mut Response, most: usize) {
    for (name, value) in &mut response.headers {
        (*name, *value) = (unsealed.strike_text(name), unsealed.strike_text(value));
    }
    response.body = unsealed.strike(&response.body);
    response.cut |= response.body.len() > most;
    response.body.truncate(most);
}

fn to_target(address: SocketAddr, path: &str) -> Destination {
    Destination {
        tls: None,
        host: Peer::Addresses(vec![address]),
        authority: address.to_string(),
        path: path.to_owned(),
        most: CHECK_BODY,
        own_host: true,
    }
}

/// An empty path asks for the URL as it stands; another one replaces the URL's path, never its host.
fn endpoint_of(url: &str, path: &str, most: usize) -> Result<Destination, FetchError> {
    let wrong = |what: &str| FetchError::Other(format!("the endpoint's URL {what}"));
    let uri: Uri = url.parse().map_err(|_| wrong("cannot be read"))?;
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong("must begin with http:// or https://")),
    };
    let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("must not hold a user"));
    }
    let name = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    if port == 0 {
        return Err(wrong("names port 0"));
    }
    let own = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(Destination {
        tls: secure.then(|| name.clone()),
        host: Peer::Name(name, port),
        authority: authority.as_str().to_owned(),
        path: if path.is_empty() { own } else { path }.to_owned(),
        most,
        own_host: false,
    })
}

type Outgoing = http::Request<Full<bytes::Bytes>>;

fn prepare(destination: &Destination, request: Request) -> Result<Outgoing, FetchError> {
    let other = |text: &str| FetchError::Other(text.to_owned());
    let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| other("not a method"))?;
    if method == Method::CONNECT {
        return Err(FetchError::Denied);
    }
    let path = &destination.path;
    if !path.starts_with('/') || path.len() > PATH_BYTES {
        return Err(other("the path must begin with / and have at most 8 KiB"));
    }
    let uri: Uri = path.parse().map_err(|_| other("the path cannot be read"))?;
    let mut outgoing = http::Request::new(Full::new(bytes::Bytes::from(request.body)));
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = headers(destination, &request.headers)?;
    Ok(outgoing)
}

/// The guest's headers without those that are the host's business.
fn headers(destination: &Destination, given: &[(String, String)]) -> Result<HeaderMap, FetchError> {
    let other = |text: String| FetchError::Other(one_line(&text, 256));
    if given.len() > HEADER_LINES
        || given.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() > HEADER_BYTES
    {
        return Err(other("too many headers".into()));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| other(format!("header {name:?}")))?;
        // the value may be a password: it is not repeated
        let value = HeaderValue::from_str(value).map_err(|_| other(format!("value of header {name}")))?;
        let framing = [
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONNECTION,
            header::UPGRADE,
            header::TE,
            header::TRAILER,
        ];
        if framing.contains(&name) {
            return Err(FetchError::Denied);
        }
        headers.append(name, value);
    }
    if !destination.own_host || !headers.contains_key(header::HOST) {
        let value = HeaderValue::from_str(&destination.authority).map_err(|e| other(e.to_string()))?;
        headers.insert(header::HOST, value);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(headers)
}

async fn plain(addresses: Vec<SocketAddr>, request: Outgoing, most: usize) -> Answer {
    talk(TcpStream::connect(addresses.as_slice()).await.map_err(connect_error)?, request, most).await
}

async fn exchange(tls: Option<String>, host: Peer, request: Outgoing, most: usize) -> Answer {
    let stream = match &host {
        Peer::Addresses(addresses) => TcpStream::connect(addresses.as_slice()).await,
        Peer::Name(name, port) => TcpStream::connect((name.as_str(), *port)).await,
    }
    .map_err(connect_error)?;
    let address = stream.peer_addr().map_err(connect_error)?.ip();
    match tls {
        None => talk(stream, request, most).await,
        Some(name) => {
            let stream = tls::handshake(stream, Some(name), address, true)
                .await
                .map_err(|text| FetchError::Tls(one_line(&text, 256)))?;
            talk(stream, request, most).await
        }
    }
}

async fn talk<S>(stream: S, request: Outgoing, most: usize) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let bad = |error: hyper::Error| FetchError::BadResponse(one_line(&error.to_string(), 256));
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADER_LINES)
        .handshake::<_, Full<bytes::Bytes>>(TokioIo::new(stream))
        .await
        .map_err(bad)?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(async move {
        let response = sender.send_request(request).await.map_err(bad)?;
        collect(response, most).await
    });
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // what is left of the answer is in memory by now, or the connection broke
        _ = &mut connection => answer.await,
    }
}

async fn collect(response: http::Response<Incoming>, most: usize) -> Answer {
    let (head, mut incoming) = response.into_parts();
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = head.headers.iter().map(pair).collect();
    let (mut body, mut cut) = (Vec::new(), false);
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| FetchError::BadResponse(one_line(&error.to_string(), 256)))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = most - body.len();
        body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            cut = true;
            break;
        }
    }
    Ok(Response { status: head.status.as_u16(), headers, body, cut })
}

fn connect_error(error: io::Error) -> FetchError {
    use crate::bindings::since_v0_1_1::dial::DialError;
    match super::dial::dial_error(error) {
        DialError::Refused => FetchError::Refused,
        DialError::TimedOut => FetchError::TimedOut,
        DialError::Unreachable => FetchError::Unreachable,
        DialError::Denied => FetchError::Denied,
        DialError::Closed => FetchError::BadResponse("the connection was closed".into()),
        DialError::Tls(text) => FetchError::Tls(text),
        DialError::Other(text) => FetchError::Other(text),
    }
}

/// The endpoints: settings that the manifest and the caller both name.
pub(crate) fn endpoints(
    granted: &[String],
    asked: &[String],
    settings: &muster_core::plugin::Settings,
) -> Arc<Endpoints> {
    let both = granted.iter().filter(|key| asked.contains(key));
    let url = |key| settings.get(key).filter(|url| !url.is_empty()).cloned();
    Arc::new(both.map(|key| (key.clone(), url(key))).collect())
}

#[cfg(test)]
mod tests;
