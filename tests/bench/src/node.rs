//! The node under test: the `muster` binary with settings and data of its own.

use crate::load::request;
use crate::process::Server;
use anyhow::Context;
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A folder of settings and data, over which nodes are started one after the other.
#[derive(Debug)]
pub(crate) struct Site {
    binary: PathBuf,
    folder: TempDir,
}

impl Site {
    /// An empty one for nodes of `binary`.
    ///
    /// # Errors
    /// No temporary folder.
    pub(crate) fn new(binary: &Path) -> anyhow::Result<Self> {
        Self::with(binary, "")
    }

    /// The same with more settings.
    ///
    /// # Errors
    /// No temporary folder.
    pub(crate) fn with(binary: &Path, more: &str) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("muster-bench-")?;
        let settings = "[node]\naddress = \"127.0.0.1\"\n\n[http]\nbind = \"127.0.0.1:0\"\n\n\
            [grpc]\nbind = \"127.0.0.1:0\"\nmax-connections-per-client = 50000\n\n";
        std::fs::write(folder.path().join("muster.toml"), format!("{settings}{more}"))?;
        Ok(Self { binary: binary.to_owned(), folder })
    }

    /// Starts a node and waits until it is ready. One at a time.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start(&self) -> anyhow::Result<Server> {
        let settings = self.folder.path().join("muster.toml");
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--config").arg(settings).env("MUSTER_LOG", "error");
        Server::start(&mut command)
    }
}

/// Where the binary is: the given one, or the one that belongs to this build, built now if need be.
///
/// # Errors
/// It cannot be built.
pub(crate) fn binary(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let Some(given) = given else { return build() };
    anyhow::ensure!(given.is_file(), "there is no {}", given.display());
    Ok(given)
}

fn build() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet", "-p", "muster", "--bin", "muster", "--manifest-path"]);
    let status = command.arg(manifest).status().context("cannot run cargo; use --muster PATH")?;
    anyhow::ensure!(status.success(), "the node does not build; use --muster PATH for one that is there");
    Ok(crate::process::build_folder()?.join("muster"))
}

/// Path of the naming API.
const API: &str = "/nacos/v1/ns/instance";

/// The `index`th address.
pub(crate) fn address(index: usize) -> String {
    let [_, _, c, d] = u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes();
    format!("10.{}.{c}.{d}", (index >> 16) & 0xff)
}

/// A service, as Java clients name it.
pub(crate) fn service(name: impl std::fmt::Display) -> String {
    format!("DEFAULT_GROUP%40%40orders-{name}")
}

/// A registration as Java clients send it. `weight` tells one from the next of the same instance.
pub(crate) fn register(service: &str, index: usize, weight: usize, metadata: &str) -> Bytes {
    let metadata: String = form_urlencoded::byte_serialize(metadata.as_bytes()).collect();
    let ip = address(index);
    let query = format!(
        "app=unknown&namespaceId=public&serviceName={service}&groupName=DEFAULT_GROUP&clusterName=DEFAULT\
         &ip={ip}&port=8080&weight={weight}.0&enable=true&healthy=true&ephemeral=true&metadata={metadata}"
    );
    request("POST", &format!("{API}?{query}"))
}

/// A light beat as Java clients send it.
pub(crate) fn beat(service: &str, index: usize) -> Bytes {
    let ip = address(index);
    let query = format!("namespaceId=public&serviceName={service}&clusterName=DEFAULT&ip={ip}&port=8080");
    request("PUT", &format!("{API}/beat?{query}"))
}

/// A query as Java clients send it.
pub(crate) fn list(service: &str) -> Bytes {
    let query = format!(
        "namespaceId=public&serviceName={service}&clusters=&udpPort=0&clientIP=127.0.0.1&healthyOnly=false"
    );
    request("GET", &format!("{API}/list?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_distinct() {
        let all: std::collections::BTreeSet<_> = (0..70_000).map(address).collect();
        assert_eq!(all.len(), 70_000);
        assert_eq!(address(65_793), "10.1.1.1");
    }

    #[test]
    fn requests_are_those_of_java_clients() {
        let text = register(&service(2), 250, 1, r#"{"zone":"a"}"#);
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.starts_with("POST /nacos/v1/ns/instance?app=unknown&namespaceId=public&"), "{text}");
        assert!(text.contains("serviceName=DEFAULT_GROUP%40%40orders-2&"), "{text}");
        assert!(text.contains("&metadata=%7B%22zone%22%3A%22a%22%7D HTTP/1.1\r\n"), "{text}");
    }
}
