//! The file: a line that says what it is, then a line of JSON for each change of a list. The last line of a service
//! counts. Lines are appended; when half of the file is outdated it is written anew and put in its place as a whole.
//! A line that was cut off by the end of the process, or damaged, costs that list alone.

use crate::naming::PublishedService;
use muster_core::{Instance, Millis, ServiceKey};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// The first line.
const HEAD: &str = r#"{"muster":"instances last seen","version":1}"#;
/// Bytes of lists that are kept; lists beyond are left out.
const MOST: u64 = 128 << 20;
/// A file that is longer than any that is written here is not read.
const LONGEST: u64 = 3 * MOST;
/// A file up to this size is not written anew, however much of it is outdated.
const SMALL: u64 = 1 << 20;

/// Why the file was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// it cannot be opened or read
    #[error(transparent)]
    Io(#[from] io::Error),
    /// it does not begin as such a file does
    #[error("it is no file of lists, or one of another version of this program")]
    Foreign,
    /// it is longer than any that is written
    #[error("it has {0} bytes, which is more than is ever written")]
    TooLong(u64),
}

/// What was in the file.
#[derive(Debug)]
pub(super) struct Read {
    /// every service that had instances
    pub lists: Vec<(ServiceKey, Vec<Instance>)>,
    /// when something was last written
    pub written: Millis,
    /// lines that could not be read
    pub damaged: usize,
}

#[derive(Serialize)]
struct Written<'a> {
    service: &'a ServiceKey,
    instances: &'a [Arc<Instance>],
}

#[derive(Deserialize)]
struct Line {
    service: ServiceKey,
    instances: Vec<Instance>,
}

/// Reads the file; none when there is none.
pub(super) fn read(path: &Path) -> Result<Option<Read>, ReadError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let about = file.metadata()?;
    if about.len() > LONGEST {
        return Err(ReadError::TooLong(about.len()));
    }
    let since_epoch = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let written = Millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
    let mut lines = BufReader::new(file.take(LONGEST)).split(b'\n');
    if lines.next().transpose()?.is_none_or(|head| head != HEAD.as_bytes()) {
        return Err(ReadError::Foreign);
    }
    let (mut lists, mut damaged) = (HashMap::new(), 0);
    for line in lines {
        match serde_json::from_slice(&line?) {
            Ok(Line { service, instances }) => drop(lists.insert(service, instances)),
            Err(_) => damaged += 1,
        }
    }
    lists.retain(|_, instances| !instances.is_empty());
    Ok(Some(Read { lists: lists.into_iter().collect(), written, damaged }))
}

/// What is in the file of a service.
#[derive(Clone, Copy, Debug)]
struct Kept {
    revision: u64,
    bytes: u64,
    /// the last round in which it was there
    round: u64,
}

/// The file, as it is written.
#[derive(Debug)]
pub(super) struct ListFile {
    path: PathBuf,
    /// none: it has to be written anew
    file: Option<File>,
    kept: HashMap<ServiceKey, Kept>,
    /// bytes of the file, and of the lines in it that count
    bytes: u64,
    current: u64,
    round: u64,
    full: bool,
}

impl ListFile {
    /// Nothing is opened yet; the first write makes the file anew.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, kept: HashMap::new(), bytes: 0, current: 0, round: 0, full: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what is not yet in the file. After an error the next write makes the file anew.
    pub(super) fn write(&mut self, all: &[Arc<PublishedService>]) -> io::Result<()> {
        let written = match self.file.take() {
            Some(file) if self.bytes <= SMALL.max(2 * self.current) => self.append(file, all),
            _ => self.make(all),
        };
        self.file = Some(written?);
        Ok(())
    }

    /// Says that the node still runs.
    pub(super) fn sign(&self, now: Millis) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.set_modified(UNIX_EPOCH + Duration::from_millis(now.0))
    }

    fn make(&mut self, all: &[Arc<PublishedService>]) -> io::Result<File> {
        (self.bytes, self.current) = (0, 0);
        self.kept.clear();
        let new = self.path.with_extension("new");
        let mut out = BufWriter::new(File::create(&new)?);
        out.write_all(HEAD.as_bytes())?;
        out.write_all(b"\n")?;
        self.lines(&mut out, all)?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        std::fs::rename(new, &self.path)?;
        Ok(file)
    }

    fn append(&mut self, file: File, all: &[Arc<PublishedService>]) -> io::Result<File> {
        let before = self.bytes;
        let mut out = BufWriter::new(file);
        self.lines(&mut out, all)?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        if self.bytes > before {
            file.sync_data()?;
        }
        Ok(file)
    }

    /// Writes the lists that changed since the last round, and an empty one for each that has gone.
    fn lines(&mut self, out: &mut impl Write, all: &[Arc<PublishedService>]) -> io::Result<()> {
        self.round += 1;
        let round = self.round;
        for snapshot in all.iter().map(|service| &service.snapshot) {
            if !snapshot.ephemeral || snapshot.instances.is_empty() {
                continue;
            }
            let known = self.kept.get_mut(&snapshot.key);
            let former = known.as_ref().map_or(0, |kept| kept.bytes);
            if let Some(kept) = known {
                kept.round = round;
                if kept.revision == snapshot.revision {
                    continue;
                }
            }
            let line = encode(&snapshot.key, &snapshot.instances)?;
            let (bytes, revision) = (line.len() as u64, snapshot.revision);
            if self.current - former + bytes > MOST {
                self.too_much(&snapshot.key);
                continue;
            }
            out.write_all(&line)?;
            self.bytes += bytes;
            self.current = self.current - former + bytes;
            self.kept.insert(snapshot.key.clone(), Kept { revision, bytes, round });
        }
        let gone: Vec<_> = self.kept.extract_if(|_, kept| kept.round != round).collect();
        for (service, kept) in gone {
            let line = encode(&service, &[])?;
            out.write_all(&line)?;
            self.bytes += line.len() as u64;
            self.current -= kept.bytes;
        }
        Ok(())
    }

    /// A list that does not fit is not kept; what the file has of it is outdated and goes in the same round.
    fn too_much(&mut self, service: &ServiceKey) {
        if let Some(kept) = self.kept.get_mut(service) {
            kept.round = 0;
        }
        if !self.full {
            self.full = true;
            tracing::warn!(most = MOST, %service, "more lists than are remembered: a restart would leave a gap in some");
        }
    }
}

fn encode(service: &ServiceKey, instances: &[Arc<Instance>]) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Written { service, instances })?;
    line.push(b'\n');
    Ok(line)
}
