//! A file that is read, and whose changes stay in memory.

use crate::error::OpenError;
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes that are copied to memory when one of them changes. A power of two, and no more than redb's own page.
const PAGE: usize = 4_096;
/// Pages that may change: 1 GiB. A repair changes few, and applying the end of the log some more.
const MOST: usize = (1 << 30) / PAGE;

/// See the module. The file is locked against a node for as long as this lives.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    len: u64,
    /// how far the file itself is seen; what was cut off once is gone
    seen: u64,
    /// by number
    changed: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let len = file.metadata().map_err(failed)?.len();
        if len == 0 {
            let reason = "it is empty".to_owned();
            return Err(OpenError::Corrupt { path: path.to_owned(), reason });
        }
        Ok(Self { file, state: Mutex::new(State { len, seen: len, changed: BTreeMap::new() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file has from `offset` on; zeros past its end.
    fn of_file(&self, seen: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(seen.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (there, beyond) = out.split_at_mut(there);
        self.file.read_exact_at(there, offset)?;
        beyond.fill(0);
        Ok(())
    }
}

/// The pieces of `offset..offset + len`, none of which crosses a page: page, place in it, place in the whole, length.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        // less than a page
        let within = usize::try_from(at % PAGE as u64).unwrap_or(0);
        let length = (PAGE - within).min(len - done);
        let piece = (at / PAGE as u64, within, done, length);
        done += length;
        (length > 0).then_some(piece)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > state.len) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.of_file(state.seen, offset, out)?;
        for (page, within, at, length) in pieces(offset, out.len()) {
            if let Some(changed) = state.changed.get(&page) {
                out[at..at + length].copy_from_slice(&changed[within..within + length]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.seen = state.seen.min(len);
        state.changed.split_off(&len.div_ceil(PAGE as u64));
        if let Some(last) = state.changed.get_mut(&(len / PAGE as u64)) {
            let kept = usize::try_from(len % PAGE as u64).unwrap_or(0);
            last[kept..].fill(0);
        }
        state.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        for (page, within, at, length) in pieces(offset, data.len()) {
            if !state.changed.contains_key(&page) {
                if state.changed.len() >= MOST {
                    return Err(io::Error::new(ErrorKind::OutOfMemory, "more changes than fit into memory"));
                }
                let mut bytes = vec![0; PAGE].into_boxed_slice();
                self.of_file(state.seen, page * PAGE as u64, &mut bytes)?;
                state.changed.insert(page, bytes);
            }
            if let Some(changed) = state.changed.get_mut(&page) {
                changed[within..within + length].copy_from_slice(&data[at..at + length]);
            }
        }
        state.len = state.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u16, Vec<u8>),
        SetLen(u16),
        Read(u16, u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..9_000);
        prop_oneof![
            (0..20_000u16, bytes).prop_map(|(at, bytes)| Step::Write(at, bytes)),
            (0..25_000u16).prop_map(Step::SetLen),
            (0..25_000u16, 0..9_000u16).prop_map(|(at, len)| Step::Read(at, len)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_read_as_it_was_written_and_the_file_stays(
            before in proptest::collection::vec(any::<u8>(), 1..20_000),
            steps in proptest::collection::vec(step(), 0..20),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file");
            std::fs::write(&path, &before).unwrap();
            let overlay = Overlay::open(&path).unwrap();
            let mut model = before.clone();
            for step in steps {
                match step {
                    Step::Write(at, bytes) => {
                        let at = usize::from(at).min(model.len());
                        let end = at + bytes.len();
                        model.resize(model.len().max(end), 0);
                        model[at..end].copy_from_slice(&bytes);
                        overlay.write(at as u64, &bytes).unwrap();
                    }
                    Step::SetLen(len) => {
                        model.resize(usize::from(len), 0);
                        overlay.set_len(u64::from(len)).unwrap();
                    }
                    Step::Read(at, len) => {
                        let mut out = vec![0; usize::from(len)];
                        let read = overlay.read(u64::from(at), &mut out);
                        match model.get(usize::from(at)..usize::from(at) + usize::from(len)) {
                            Some(expected) => prop_assert_eq!(&out[..], expected),
                            None => prop_assert!(read.is_err()),
                        }
                    }
                }
                prop_assert_eq!(overlay.len().unwrap(), model.len() as u64);
            }
            let mut all = vec![0; model.len()];
            overlay.read(0, &mut all).unwrap();
            prop_assert_eq!(all, model);
            prop_assert_eq!(std::fs::read(&path).unwrap(), before);
        }
    }
}
