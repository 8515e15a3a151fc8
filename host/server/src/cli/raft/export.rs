//! `muster raft export`.

use super::super::{Failure, eprint_line, exit};
use super::Place;
use muster_raft::offline::{self, ExportError, Exported};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Export {
    #[command(flatten)]
    place: Place,
    /// Where to write; must not exist yet. Standard output without it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(export: &Export) -> Result<u8, Failure> {
    let held = export.place.hold()?;
    let written = match &export.out {
        None => offline::export(&held.file, &mut BufWriter::new(io::stdout().lock())),
        Some(path) => {
            let refused =
                |error: io::Error| Failure::new(exit::USAGE, format!("{}: {error}", path.display()));
            let mut out = BufWriter::new(File::create_new(path).map_err(refused)?);
            let written = offline::export(&held.file, &mut out);
            written.and_then(|written| {
                out.flush()?;
                out.get_ref().sync_all()?;
                Ok(written)
            })
        }
    };
    match written {
        Ok(Exported { rows, last, unconfirmed }) => {
            eprint_line(&format!("{rows} rows, with log entries up to {}", super::shown(last)));
            if unconfirmed > 0 {
                eprint_line(&format!(
                    "{unconfirmed} entries at the end of the log are not among them: this node never heard whether a \
                     majority has them"
                ));
            }
            Ok(exit::OK)
        }
        // as `muster … | head` wants it
        Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit::OK),
        Err(error) => Err(Failure::new(exit::FAILED, error)),
    }
}
