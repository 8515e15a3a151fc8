//! Nacos's property names, for people who bring their settings along: each leads to its place in Muster.

use super::tree::{Entry, Node, Place};

/// What to write instead of the Nacos property `name`; none when it is not one.
pub(super) fn hint(name: &str) -> Option<String> {
    let exact = RENAMED.iter().find(|(nacos, _)| *nacos == name).map(|(_, hint)| (*hint).to_owned());
    exact.or_else(|| {
        let foreign = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        foreign.then(|| "there is no such setting; remove it".to_owned())
    })
}

/// Properties that have a counterpart. Source: Nacos `application.properties` and the docker image's variables.
const RENAMED: &[(&str, &str)] = &[
    ("server.port", "write http.bind = \"IP:PORT\""),
    ("nacos.server.main.port", "write http.bind = \"IP:PORT\""),
    ("server.servlet.context-path", "write http.context-path"),
    ("server.servlet.contextPath", "write http.context-path"),
    ("nacos.server.contextPath", "write http.context-path"),
    ("server.address", "write http.bind = \"IP:PORT\""),
    ("nacos.inetutils.ip-address", "write node.address"),
    ("nacos.server.ip", "write node.address"),
    ("nacos.home", "write node.data-dir"),
    ("nacos.standalone", "write lookup.type = \"standalone\""),
    ("nacos.core.member.lookup.type", "write lookup.type"),
    ("nacos.member.list", "write lookup.type = \"file\" and list the members in that file"),
    (
        "nacos.core.address-server.retry",
        "there is no such number: a failing source is asked again; see [lookup]",
    ),
    (
        "address.server.domain",
        "write lookup.type = \"address-server\" and its address into [lookup.settings]",
    ),
    ("address.server.port", "write lookup.type = \"address-server\" and its address into [lookup.settings]"),
    ("address.server.url", "write lookup.type = \"address-server\" and its address into [lookup.settings]"),
    ("nacos.remote.server.rpc.tls.enableTls", "write grpc.tls.enabled"),
    ("nacos.remote.server.rpc.tls.compatibility", "write grpc.tls.plaintext"),
    ("nacos.remote.server.rpc.tls.mutualAuthEnable", "write grpc.tls.mutual and grpc.tls.client-ca"),
    ("nacos.remote.server.rpc.tls.certChainFile", "write grpc.tls.certificate"),
    ("nacos.remote.server.rpc.tls.certPrivateKey", "write grpc.tls.key"),
    (
        "nacos.remote.server.rpc.tls.certPrivateKeyPassword",
        "the key must not have one: write grpc.tls.key and take it off",
    ),
    ("nacos.remote.server.rpc.tls.trustCollectionCertFile", "write grpc.tls.client-ca"),
    ("nacos.remote.server.rpc.tls.protocols", "write grpc.tls.min-version"),
    ("nacos.remote.server.grpc.sdk.max-inbound-message-size", "write grpc.max-message = \"10MiB\""),
    ("nacos.core.param.check.enabled", "write naming.param-check"),
    ("nacos.naming.service.metadata.length", "write naming.metadata-limit"),
    ("nacos.naming.push.pushTaskDelay", "write naming.push-delay = \"500ms\""),
    ("nacos.naming.expireInstance", "write naming.expire-instance"),
    ("nacos.naming.clean.empty-service.interval", "write naming.empty-service-interval = \"60s\""),
    ("nacos.naming.clean.empty-service.expired-time", "write naming.empty-service-expiry = \"60s\""),
    ("nacos.naming.clean.expired-metadata.expired-time", "write naming.metadata-expiry = \"60s\""),
    ("nacos.naming.clean.expired-metadata.interval", "it is fixed; see naming.metadata-expiry"),
    ("nacos.core.api.compatibility.client.enabled", "write compat.client"),
    ("nacos.core.api.compatibility.admin.enabled", "write compat.admin"),
    ("nacos.core.api.compatibility.console.enabled", "write compat.console"),
    (
        "nacos.core.protocol.raft.data.snapshot_interval_secs",
        "write raft.snapshot-after, which counts entries",
    ),
    ("spring.datasource.platform", "there is no outside database: data live in node.data-dir"),
    ("spring.sql.init.platform", "there is no outside database: data live in node.data-dir"),
    ("logging.level.root", "write log.level"),
];

/// Names that start so belong to Nacos or its framework.
const PREFIXES: &[&str] = &["nacos.", "server.", "spring.", "management.", "db.", "logging."];

/// Calls `found` with every value below `entry` and its dotted name.
pub(super) fn leaves(path: &str, entry: &Entry, found: &mut dyn FnMut(&str, &Place)) {
    match &entry.node {
        Node::Table(table) => {
            for (key, inner) in table {
                leaves(&format!("{path}.{key}"), inner, found);
            }
        }
        _ => found(path, &entry.place),
    }
}
