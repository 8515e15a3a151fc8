//! A registry, as a client of the OCI distribution protocol 1.1: enough of it to push and pull one artifact.
//!
//! Each exchange has a connection of its own: there are five or six of them, by hand, and nothing has to be kept.

use super::artifact::{Artifact, MANIFEST_TYPE, MAX_IMAGE_MANIFEST, Named, Shipped};
use super::challenge::Challenge;
use super::error::{RegistryError, refused};
use super::reference::{Digest, Reference};
use super::transport::{Answer, Stream, connector, send};
use crate::secrets::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, WWW_AUTHENTICATE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use rustls::pki_types::ServerName;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest wait for a connection.
const CONNECT_MOST: Duration = Duration::from_secs(15);
/// Longest exchange: 64 MiB over a slow line.
const EXCHANGE_MOST: Duration = Duration::from_secs(300);
/// Bytes of an answer that is no blob.
const MOST_BYTES: usize = MAX_IMAGE_MANIFEST;
/// Times that a blob may be said to be elsewhere.
const MOST_REDIRECTS: usize = 5;
/// Who asks.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// a name, or what the registry wants instead
    pub user: String,
    /// a password or token
    pub password: Secret,
}

/// How a registry is reached.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// without TLS
    pub plain_http: bool,
    /// certificates of authorities beside the public ones, in PEM
    pub authorities: Option<PathBuf>,
    /// who asks
    pub credentials: Option<Credentials>,
}

/// One repository of a registry.
pub struct Registry {
    scheme: Scheme,
    authority: Authority,
    repository: String,
    tls: Option<TlsConnector>,
    credentials: Option<Credentials>,
    /// what the registry takes for the credentials, once it has been asked
    authorization: Option<String>,
}

/// What is asked.
struct Ask {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    most: usize,
}

impl Ask {
    fn new(method: Method, uri: Uri) -> Self {
        Self { method, uri, headers: HeaderMap::new(), body: Bytes::new(), most: MOST_BYTES }
    }

    fn with(mut self, content_type: &'static str, body: &Bytes) -> Self {
        self.headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
        self.body = body.clone();
        self
    }
}

impl Registry {
    /// The repository that `reference` names.
    ///
    /// # Errors
    /// [`RegistryError::Authorities`].
    pub fn new(reference: &Reference, options: RegistryOptions) -> Result<Self, RegistryError> {
        let RegistryOptions { plain_http, authorities, credentials } = options;
        let why = |_| RegistryError::Unreachable {
            host: reference.registry.clone(),
            why: "is no host with an optional port".into(),
        };
        Ok(Self {
            scheme: if plain_http { Scheme::HTTP } else { Scheme::HTTPS },
            authority: reference.registry.parse().map_err(why)?,
            repository: reference.repository.clone(),
            tls: if plain_http { None } else { Some(connector(authorities.as_deref())?) },
            credentials,
            authorization: None,
        })
    }

    /// Sends an artifact: what it points at, then itself, under `tag` if there is one, else under its digest.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn push(&mut self, artifact: &Artifact, tag: Option<&str>) -> Result<Digest, RegistryError> {
        for blob in artifact.blobs() {
            self.push_blob(blob).await?;
        }
        let digest = artifact.digest();
        let name = tag.map_or_else(|| digest.to_string(), str::to_owned);
        let ask = Ask::new(Method::PUT, self.uri(&format!("manifests/{name}"))?);
        self.expect(ask.with(MANIFEST_TYPE, &artifact.manifest), &[StatusCode::CREATED]).await?;
        Ok(digest)
    }

    async fn push_blob(&mut self, blob: &Bytes) -> Result<(), RegistryError> {
        let digest = Digest::of(blob);
        let there = Ask::new(Method::HEAD, self.uri(&format!("blobs/{digest}"))?);
        if self.ask(there).await?.status == StatusCode::OK {
            return Ok(());
        }
        let begin = Ask::new(Method::POST, self.uri("blobs/uploads/")?);
        let begin = begin.with("application/octet-stream", &Bytes::new());
        let begun = self.expect(begin, &[StatusCode::ACCEPTED]).await?;
        let place = self.location(&begun)?;
        let join = if place.query().is_some() { '&' } else { '?' };
        let place = self.parse(&format!("{place}{join}digest={digest}"))?;
        let put = Ask::new(Method::PUT, place).with("application/octet-stream", blob);
        self.expect(put, &[StatusCode::CREATED]).await.map(drop)
    }

    /// Fetches the plugin with this digest, which everything that comes is compared with.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn pull(&mut self, digest: &Digest) -> Result<Named, RegistryError> {
        let mut ask = Ask::new(Method::GET, self.uri(&format!("manifests/{digest}"))?);
        ask.headers.insert(ACCEPT, http::HeaderValue::from_static(MANIFEST_TYPE));
        let manifest = self.expect(ask, &[StatusCode::OK]).await?.body;
        digest.check(&manifest)?;
        let shipped = Shipped::read(&manifest)?;
        let component = self.blob(shipped.component(), shipped.size()).await?;
        Ok(shipped.with(component)?)
    }

    /// A blob, wherever the registry says it is.
    async fn blob(&mut self, digest: &Digest, size: usize) -> Result<Bytes, RegistryError> {
        let mut place = self.uri(&format!("blobs/{digest}"))?;
        for _ in 0..=MOST_REDIRECTS {
            let mut ask = Ask::new(Method::GET, place);
            ask.most = size.max(MOST_BYTES);
            let (method, uri) = (ask.method.clone(), ask.uri.clone());
            let answer = self.ask(ask).await?;
            match answer.status {
                StatusCode::OK => return Ok(answer.body),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => place = self.location(&answer)?,
                _ => return Err(refused(method, &uri, &answer)),
            }
        }
        Err(self.nonsense("it sends from one place to the next"))
    }

    fn uri(&self, rest: &str) -> Result<Uri, RegistryError> {
        let (scheme, authority, repository) = (&self.scheme, &self.authority, &self.repository);
        self.parse(&format!("{scheme}://{authority}/v2/{repository}/{rest}"))
    }

    fn parse(&self, text: &str) -> Result<Uri, RegistryError> {
        text.parse().map_err(|_| self.nonsense(&format!("{text:?} is no address")))
    }

    fn nonsense(&self, why: &str) -> RegistryError {
        RegistryError::Answer { host: self.authority.to_string(), why: why.to_owned() }
    }

    /// Where an answer says that something is: a whole address, or a path at the registry.
    fn location(&self, answer: &Answer) -> Result<Uri, RegistryError> {
        let said = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let said = said.ok_or_else(|| self.nonsense("it does not say where"))?;
        if !said.starts_with('/') {
            return self.parse(said);
        }
        let path: PathAndQuery = said.parse().map_err(|_| self.nonsense("it gives no address"))?;
        self.parse(&format!("{}://{}{path}", self.scheme, self.authority))
    }

    async fn expect(&mut self, ask: Ask, good: &[StatusCode]) -> Result<Answer, RegistryError> {
        let (method, uri) = (ask.method.clone(), ask.uri.clone());
        let answer = self.ask(ask).await?;
        if good.contains(&answer.status) { Ok(answer) } else { Err(refused(method, &uri, &answer)) }
    }

    /// Asks; once more with what the registry wants to know, when it says what that is.
    async fn ask(&mut self, ask: Ask) -> Result<Answer, RegistryError> {
        let answer = self.exchange(&ask).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !self.is_registry(&ask.uri) {
            return Ok(answer);
        }
        let mut challenges = answer.headers.get_all(WWW_AUTHENTICATE).iter();
        let challenge = challenges.find_map(|value| Challenge::parse(value.to_str().ok()?));
        self.authorization = Some(match challenge {
            Some(Challenge::Basic) => self.basic()?,
            Some(Challenge::Bearer { realm, service, scope }) => self.token(&realm, service, scope).await?,
            None => return Ok(answer),
        });
        let again = self.exchange(&ask).await?;
        if again.status == StatusCode::UNAUTHORIZED && self.credentials.is_none() {
            return Err(RegistryError::Unauthorized { host: self.authority.to_string() });
        }
        Ok(again)
    }

    fn basic(&self) -> Result<String, RegistryError> {
        let unknown = || RegistryError::Unauthorized { host: self.authority.to_string() };
        let Credentials { user, password } = self.credentials.as_ref().ok_or_else(unknown)?;
        Ok(format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.reveal()))))
    }

    /// Source: the distribution project's "Token Authentication Specification".
    async fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<String, RegistryError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in [("service", service), ("scope", scope)] {
            if let Some(value) = value {
                query.append_pair(key, &value);
            }
        }
        let join = if realm.contains('?') { '&' } else { '?' };
        let uri = self.parse(&format!("{realm}{join}{}", query.finish()))?;
        let mut ask = Ask::new(Method::GET, uri);
        if self.credentials.is_some() {
            ask.headers.insert(AUTHORIZATION, self.header(&self.basic()?)?);
        }
        let answer = self.exchange(&ask).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(RegistryError::Unauthorized { host: self.authority.to_string() });
        }
        if answer.status != StatusCode::OK {
            return Err(refused(ask.method, &ask.uri, &answer));
        }
        let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = said["token"].as_str().or_else(|| said["access_token"].as_str());
        let token = token.ok_or_else(|| self.nonsense("who gives tokens out gave none"))?;
        Ok(format!("Bearer {token}"))
    }

    fn header(&self, text: &str) -> Result<http::HeaderValue, RegistryError> {
        let value = http::HeaderValue::from_str(text);
        let mut value = value.map_err(|_| self.nonsense("a token or password does not fit into a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Only the registry itself is told who asks: a blob may lie with somebody else.
    fn is_registry(&self, uri: &Uri) -> bool {
        uri.scheme() == Some(&self.scheme) && uri.authority() == Some(&self.authority)
    }

    async fn exchange(&self, ask: &Ask) -> Result<Answer, RegistryError> {
        let host = ask.uri.host().unwrap_or_default().to_owned();
        let unreachable = |why: String| RegistryError::Unreachable { host: host.clone(), why };
        if ask.uri.scheme() != Some(&self.scheme) {
            return Err(unreachable(format!("{} is not {}", ask.uri, self.scheme)));
        }
        let request = self.request(ask)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = ask.uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let connecting = async {
            let stream = TcpStream::connect((bare.as_str(), port)).await?;
            match &self.tls {
                None => Ok(Stream::Plain(stream)),
                Some(tls) => {
                    let name = ServerName::try_from(bare.clone()).map_err(std::io::Error::other)?;
                    tls.connect(name, stream).await.map(|stream| Stream::Tls(Box::new(stream)))
                }
            }
        };
        let connected = tokio::time::timeout(CONNECT_MOST, connecting).await;
        let connected =
            connected.map_err(|_| unreachable(format!("no connection within {CONNECT_MOST:?}")))?;
        let exchange = async {
            match connected.map_err(|error| error.to_string())? {
                Stream::Plain(stream) => send(stream, request, ask.most).await,
                Stream::Tls(stream) => send(stream, request, ask.most).await,
            }
        };
        let answered = tokio::time::timeout(EXCHANGE_MOST, exchange).await;
        answered.map_err(|_| unreachable(format!("no answer within {EXCHANGE_MOST:?}")))?.map_err(unreachable)
    }

    fn request(&self, ask: &Ask) -> Result<Request<Full<Bytes>>, RegistryError> {
        let path = ask.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let authority = ask.uri.authority().map(Authority::as_str).unwrap_or_default();
        let mut request = Request::new(Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = self.parse(path)?;
        *request.headers_mut() = ask.headers.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.header(authority)?);
        if ask.method == Method::POST || ask.method == Method::PUT {
            headers.insert(CONTENT_LENGTH, ask.body.len().into());
        }
        let told = self.authorization.as_ref().filter(|_| self.is_registry(&ask.uri));
        if let Some(text) = told.filter(|_| !headers.contains_key(AUTHORIZATION)) {
            headers.insert(AUTHORIZATION, self.header(text)?);
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_for_the_registry_itself_and_nobody_else() {
        let reference: Reference = "registry.host:5000/a/b".parse().unwrap();
        let credentials = Credentials { user: "me".into(), password: Secret::new("hush") };
        let options = RegistryOptions { plain_http: true, authorities: None, credentials: Some(credentials) };
        let mut registry = Registry::new(&reference, options).unwrap();
        registry.authorization = Some(registry.basic().unwrap());
        let told = |text: &str| {
            let ask = Ask::new(Method::GET, text.parse().unwrap());
            let headers = registry.request(&ask).unwrap().headers().clone();
            assert!(!format!("{headers:?}").contains("bWU6aHVzaA"), "shown");
            headers.contains_key(AUTHORIZATION)
        };
        assert!(told("http://registry.host:5000/v2/"));
        for other in
            ["http://registry.host/v2/", "https://registry.host:5000/v2/", "http://elsewhere.host:5000/v2/"]
        {
            assert!(!told(other), "{other}");
        }
    }
}
