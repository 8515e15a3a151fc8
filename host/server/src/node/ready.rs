//! How others learn that the node is ready, and where: a line, and a file that holds it while it is true.

use super::error::StartError;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The file with the ready line. Removed when the node is no longer ready.
#[derive(Debug)]
pub(super) struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Removes what a killed node left.
    pub(super) fn new(path: PathBuf) -> Result<Self, StartError> {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StartError::File { path, source }),
            _ => Ok(Self(path)),
        }
    }

    /// Writes it as a whole: who finds the file finds the line.
    pub(super) fn write(&self, line: &str) -> Result<(), StartError> {
        let new = self.0.with_extension("ready.new");
        let written = fs::write(&new, format!("{line}\n")).and_then(|()| fs::rename(new, &self.0));
        written.map_err(|source| StartError::File { path: self.0.clone(), source })
    }

    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %self.0.display(), %error, "the ready file could not be removed");
        }
    }
}

/// `muster ready http=IP:PORT udp=IP:PORT grpc=IP:PORT`; the last one only where gRPC is on.
pub(super) fn line(http: SocketAddr, udp: SocketAddr, grpc: Option<SocketAddr>) -> String {
    let grpc = grpc.map(|address| format!(" grpc={address}")).unwrap_or_default();
    format!("muster ready http={http} udp={udp}{grpc}")
}
