//! Bare hyper servers, each in a process of its own: what Muster's HTTP front end is compared with.
//!
//! The runtime and the connection settings are those of the node; there is no router, no state, no limit.

use crate::report::say;
use anyhow::Context;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What the bare server answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// these bytes
    Constant(Bytes),
    /// `ok`, once all parameters were read as values
    Ok,
}

impl Answer {
    /// The bytes in a file, or `ok` without one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn of(file: Option<&Path>) -> anyhow::Result<Self> {
        Ok(match file {
            Some(path) => Self::Constant(std::fs::read(path)?.into()),
            None => Self::Ok,
        })
    }
}

/// Serves until the input of this process ends.
///
/// # Errors
/// No port, no threads.
pub(crate) fn serve(file: Option<PathBuf>) -> anyhow::Result<()> {
    let answer = Answer::of(file.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        say(&format!("bare server ready http={}", listener.local_addr()?));
        tokio::select! {
            result = accept(listener, answer) => result,
            () = until_input_ends() => Ok(()),
        }
    })
}

/// Waits for the end of standard input, which comes with that of the process that started this one.
pub(crate) async fn until_input_ends() {
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        // However the input ends, it has ended.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(ended);
    });
    // The other end never sends, it is only dropped.
    let _ = end.await;
}

async fn accept(listener: TcpListener, answer: Answer) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(connection(stream, answer.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, answer: Answer) {
    let service = service_fn(move |request| {
        let answer = answer.clone();
        async move {
            match answer {
                Answer::Constant(bytes) => Ok(reply(StatusCode::OK, "application/json;charset=UTF-8", bytes)),
                Answer::Ok => parsed(request).await,
            }
        }
    });
    // The load generator closes its connections as it likes.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// Reads the parameters of a registration or a beat, and answers `ok`.
async fn parsed(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let form = body.collect().await?.to_bytes();
    let read = Registration::read(head.uri.query().unwrap_or_default(), &form);
    let (status, text) = match &read {
        Ok(read) => (StatusCode::OK, std::hint::black_box(read).answer()),
        Err(_) => (StatusCode::BAD_REQUEST, "bad"),
    };
    Ok(reply(status, "text/plain;charset=UTF-8", Bytes::from_static(text.as_bytes())))
}

/// What Muster, too, has to read before it can do anything.
#[derive(Debug)]
struct Registration {
    service: String,
    ip: IpAddr,
    port: u16,
    weight: f64,
    ephemeral: bool,
    metadata: BTreeMap<String, String>,
}

impl Registration {
    fn read(query: &str, form: &[u8]) -> anyhow::Result<Self> {
        let pairs = form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(form));
        let pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = pairs.collect();
        let get = |name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        let metadata = get("metadata").map(serde_json::from_str).transpose()?;
        Ok(Self {
            service: get("serviceName").context("serviceName")?.to_owned(),
            ip: get("ip").context("ip")?.parse()?,
            port: get("port").context("port")?.parse()?,
            weight: get("weight").map(str::parse).transpose()?.unwrap_or(1.0),
            ephemeral: get("ephemeral").is_none_or(|text| text == "true"),
            metadata: metadata.unwrap_or_default(),
        })
    }

    fn answer(&self) -> &'static str {
        let Self { service, ip, port, weight, ephemeral, metadata } = self;
        std::hint::black_box((service, ip, port, weight, ephemeral, metadata));
        "ok"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_read_from_query_and_form() {
        let read = Registration::read(
            "serviceName=G%40%40s&ip=10.0.0.1",
            b"port=80&metadata=%7B%22a%22%3A%22b%22%7D",
        );
        let read = read.unwrap();
        assert_eq!((read.service.as_str(), read.port, read.metadata["a"].as_str()), ("G@@s", 80, "b"));
        assert!(Registration::read("serviceName=s&ip=10.0.0.1&port=x", b"").is_err());
    }
}
