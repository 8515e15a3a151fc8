//! J: TLS and mutual TLS, with certificates made here.

use crate::common::{grpc_register, secs};
use muster_tests::grpc::{SETUP, wait};
use muster_tests::process::Process;
use muster_tests::tls::{Files, issue, issuer};
use muster_tests::wait::hold;
use muster_tests::{Config, Grpc, Node, addr, eventually, name};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// Connects over TLS and asks; a refused certificate is only noticed with the first answer.
fn try_tls(to: SocketAddr, config: ClientConfig) -> io::Result<Grpc> {
    let connector = TlsConnector::from(Arc::new(config));
    let client = wait(async move {
        let stream = tokio::net::TcpStream::connect(to).await?;
        let local = stream.local_addr()?;
        let name = ServerName::try_from("localhost").expect("a name");
        Grpc::over(connector.connect(name, stream).await?, local).await
    })?;
    client.try_ask("ServerCheckRequest", "{}").map_err(|refused| io::Error::other(refused.message))?;
    Ok(client)
}

fn is_open_to_plaintext(node: &Node) -> bool {
    Grpc::try_connect(node.grpc()).is_ok_and(|client| client.try_ask("ServerCheckRequest", "{}").is_ok())
}

#[test]
fn n232_one_port_serves_tls_and_plaintext() {
    let files = Files::new();
    let node = Node::with(files.config(true));
    let encrypted = try_tls(node.grpc(), files.client(None, &[b"h2"])).expect("over TLS").set_up(SETUP);
    let plain = Grpc::connect(node.grpc()).set_up(SETUP);
    let (s, ip) = (name("orders"), addr());
    grpc_register(&encrypted, &s, &ip);
    assert_eq!(crate::common::grpc_list(&plain, &s, ""), [format!("{ip}:8080=true")]);
    let shown = node.get("/nacos/v2/core/loader/current").json();
    let mut protected: Vec<_> = shown
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, one)| one["metaInfo"]["tlsProtected"] == true)
        .collect();
    protected.sort_unstable();
    assert_eq!(protected, [false, true]);
    // a client that names no protocol, and one that wants another
    try_tls(node.grpc(), files.client(None, &[])).expect("without ALPN");
    try_tls(node.grpc(), files.client(None, &[b"http/1.1"])).expect_err("another protocol");
    assert!(node.metric("muster_grpc_handshakes_failed_total") >= 1.0);
}

#[test]
fn n233_without_compatibility_plaintext_is_refused() {
    let files = Files::new();
    let node = Node::with(files.config(false));
    try_tls(node.grpc(), files.client(None, &[b"h2"])).expect("over TLS");
    assert!(!is_open_to_plaintext(&node));
    // nobody else's server is trusted, whatever it says
    try_tls(node.grpc(), Files::new().client(None, &[b"h2"])).expect_err("an issuer that nobody trusts");
    try_tls(node.grpc(), files.client(None, &[b"h2"])).expect("still over TLS");
}

#[test]
fn n234_mutual_tls_refuses_clients_without_a_certificate_of_the_issuer() {
    let files = Files::new();
    let node = Node::with(files.mutual());
    let known = issue(&files.issuer);
    let client = try_tls(node.grpc(), files.client(Some(known), &[b"h2"])).expect("with a certificate");
    let client = client.set_up(SETUP);
    grpc_register(&client, &name("orders"), &addr());
    try_tls(node.grpc(), files.client(None, &[b"h2"])).expect_err("no certificate");
    let stranger = issue(&issuer());
    try_tls(node.grpc(), files.client(Some(stranger), &[b"h2"])).expect_err("a certificate of somebody else");
    assert!(!is_open_to_plaintext(&node));
}

#[test]
fn a_client_that_says_nothing_does_not_keep_its_place() {
    let files = Files::new();
    let node = Node::with(files.config(true));
    let silent = std::net::TcpStream::connect(node.grpc()).expect("a transport");
    eventually(secs(5.0), || {
        let now = node.metric("muster_grpc_connections");
        hold(now > 0.5, || format!("{now}"))
    });
    eventually(secs(30.0), || {
        let now = node.metric("muster_grpc_connections");
        hold(now < 0.5, || format!("{now}"))
    });
    drop(silent);
}

fn check(folder: &Path, config: &Config) -> (bool, String) {
    let file = folder.join("muster.toml");
    std::fs::write(&file, config.render(&folder.join("data"), &folder.join("cache"))).expect("written");
    let mut process =
        Process::start(Command::new(muster_tests::node::binary()).arg("check-config").arg(&file), None);
    let status = process.wait(secs(60.0));
    let said = eventually(secs(5.0), || {
        let text = process.log.text();
        if text.ends_with('\n') { Ok(text) } else { Err(text) }
    });
    (status.success(), said)
}

#[test]
fn files_that_cannot_serve_are_named_with_the_way_out() {
    let files = Files::new();
    let folder = files.folder();
    let (good, said) = check(folder, &files.mutual());
    assert!(good, "{said}");
    let (_, other_key) = issue(&files.issuer);
    files.write("other.key", &other_key.serialize_pem());
    files.write("empty.pem", "nothing\n");
    files.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    files.write(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let with = |key: &str, file: &str| files.mutual().text("grpc.tls", key, file);
    for (config, words) in [
        (with("certificate", "missing.pem"), &["grpc.tls.certificate: cannot read", "missing.pem"][..]),
        (
            with("certificate", "empty.pem"),
            &["grpc.tls.certificate", "empty.pem holds no certificate", "PEM"],
        ),
        (with("certificate", "broken.pem"), &["grpc.tls", "broken.pem"]),
        (with("key", "empty.pem"), &["grpc.tls.key", "holds no private key", "BEGIN PRIVATE KEY"]),
        (with("key", "locked.key"), &["grpc.tls.key", "encrypted", "openssl pkey -in"]),
        (
            with("key", "other.key"),
            &["the key in", "other.key does not serve the certificate in", "server.pem"],
        ),
        (with("client-ca", "broken.pem"), &["grpc.tls.client-ca", "broken.pem"]),
        (files.mutual().set("grpc.tls", "plaintext", "true"), &["grpc.tls.mutual", "plaintext = false"]),
        (
            Config::new().set("grpc.tls", "enabled", "true"),
            &["grpc.tls.certificate", "grpc.tls.key", "is required"],
        ),
        (with("min-version", "1.1"), &["grpc.tls.min-version", "\"1.2\", \"1.3\""]),
        (Config::new().set("nacos.remote.server.rpc.tls", "enableTls", "true"), &["nacos"]),
    ] {
        let (good, said) = check(folder, &config);
        assert!(!good, "accepted: {config:?}");
        for word in words {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
        assert!(!said.contains("panicked") && !said.contains("BEGIN ENCRYPTED"), "{said}");
    }
}
