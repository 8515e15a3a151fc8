//! Asks a running node over its admin API.

use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest wait for an answer.
const MOST: Duration = Duration::from_secs(30);
/// Longest answer, bytes.
const MOST_BYTES: usize = 4 << 20;
/// Where a node has its API unless told otherwise.
const CONTEXT: &str = "/nacos";

/// The node of a command line.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Server {
    /// The node: http://HOST:PORT, with its http.context-path where that is not /nacos
    #[arg(long = "server", value_name = "URL", default_value = "http://127.0.0.1:8848/nacos")]
    pub(super) url: Uri,
}

impl Server {
    /// What the node answers under `data`. `path` begins behind the context path and may have a query.
    ///
    /// # Errors
    /// Why there is no answer, or what the node says is wrong, for people.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Value, String> {
        let asked = tokio::time::timeout(MOST, exchange(&self.url, method, path, body)).await;
        let answer = asked.unwrap_or_else(|_| Err(format!("no answer within {MOST:?}")));
        answer.map_err(|why| format!("{}: {why}", self.url))
    }
}

async fn exchange(server: &Uri, method: Method, path: &str, body: Bytes) -> Result<Value, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    if server.scheme_str() != Some("http") {
        return Err("the address must begin with http://".into());
    }
    let host = server.host().ok_or("there is no host in it")?;
    let port = server.port_u16().unwrap_or(80);
    let context = match server.path().trim_end_matches('/') {
        "" => CONTEXT,
        given => given,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{context}{path}"))
        .header(header::HOST, format!("{host}:{port}"));
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/wasm");
    }
    let request = request.body(Full::new(body)).map_err(|error| text(&error))?;
    let exchange = async move {
        let reply = sender.send_request(request).await.map_err(|error| text(&error))?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), MOST_BYTES).collect().await;
        let body = body.map_err(|error| text(&error))?.to_bytes();
        let answer = serde_json::from_slice::<Value>(&body).ok();
        match answer.as_ref().and_then(|answer| answer.get("data")) {
            Some(data) if status.is_success() => Ok(data.clone()),
            Some(Value::String(why)) if status.is_client_error() => Err(why.clone()),
            _ => Err(format!("it answered {status}: {}", excerpt(&body))),
        }
    };
    // The connection ends when the exchange has dropped its half.
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(300).collect()
}
