//! A connection whose other end follows a script.

use crate::net::{Connection, DialError};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::Duration;

/// What the other end does, in order.
#[derive(Default)]
pub struct Script {
    steps: VecDeque<Step>,
}

enum Step {
    Send(Vec<u8>),
    Expect(Vec<u8>),
    Answer(Answer),
    Tls(Result<(), String>),
    Wait(Duration),
    Fail(DialError),
    Close,
}

/// Given what was written since the last read, what comes back.
type Answer = Box<dyn FnOnce(&[u8]) -> Vec<u8>>;

impl Script {
    /// An end that does nothing and then closes.
    pub fn new() -> Self {
        Self::default()
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }

    /// These bytes come.
    #[must_use]
    pub fn send(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.then(Step::Send(bytes.into()))
    }

    /// Exactly these bytes must have been written by now.
    #[must_use]
    pub fn expect(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.then(Step::Expect(bytes.into()))
    }

    /// What was written since the last read decides what comes.
    #[must_use]
    pub fn answer(self, answer: impl FnOnce(&[u8]) -> Vec<u8> + 'static) -> Self {
        self.then(Step::Answer(Box::new(answer)))
    }

    /// TLS must start now, and does.
    #[must_use]
    pub fn tls(self) -> Self {
        self.then(Step::Tls(Ok(())))
    }

    /// TLS must start now, and fails.
    #[must_use]
    pub fn tls_fails(self, reason: &str) -> Self {
        self.then(Step::Tls(Err(reason.to_owned())))
    }

    /// Nothing happens for this long; past the end of the call, a read times out.
    #[must_use]
    pub fn wait(self, time: Duration) -> Self {
        self.then(Step::Wait(time))
    }

    /// The connection breaks.
    #[must_use]
    pub fn fail(self, error: DialError) -> Self {
        self.then(Step::Fail(error))
    }

    /// The stream ends.
    #[must_use]
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("steps", &self.steps.len()).finish()
    }
}

/// What a test can look at after the connection is gone.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) written: Vec<u8>,
    pub(super) tls: bool,
    /// what the script still held, when the connection was dropped
    pub(super) left: usize,
}

/// The plugin's end.
pub struct FakeConnection {
    steps: VecDeque<Step>,
    /// written, and not yet looked at by the script
    unseen: Vec<u8>,
    pub(super) seen: Rc<RefCell<Seen>>,
    remaining: Rc<Cell<Duration>>,
}

impl FakeConnection {
    pub(super) fn new(script: Script, seen: Rc<RefCell<Seen>>, remaining: Rc<Cell<Duration>>) -> Self {
        Self { steps: script.steps, unseen: Vec::new(), seen, remaining }
    }

    /// Takes the steps that want something of the plugin; leaves the first that gives something.
    fn settle(&mut self) -> Result<(), DialError> {
        loop {
            match self.steps.pop_front() {
                Some(Step::Expect(bytes)) if self.unseen.starts_with(&bytes) => {
                    self.unseen.drain(..bytes.len());
                }
                Some(Step::Expect(bytes)) => {
                    return Err(off_script(format!("expected {bytes:02x?}, got {:02x?}", self.unseen)));
                }
                Some(Step::Answer(answer)) => {
                    let bytes = answer(&std::mem::take(&mut self.unseen));
                    self.steps.push_front(Step::Send(bytes));
                }
                Some(Step::Wait(time)) => self.pass(time)?,
                Some(Step::Fail(error)) => return Err(error),
                Some(Step::Send(bytes)) if bytes.is_empty() => {}
                Some(step) => {
                    self.steps.push_front(step);
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    }

    fn pass(&self, time: Duration) -> Result<(), DialError> {
        let left = self.remaining.get().saturating_sub(time);
        self.remaining.set(left);
        if left.is_zero() { Err(DialError::TimedOut) } else { Ok(()) }
    }
}

fn off_script(message: String) -> DialError {
    DialError::Other(format!("off the script: {message}"))
}

impl Read for FakeConnection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.settle()?;
        match self.steps.front_mut() {
            Some(Step::Send(bytes)) => {
                let length = bytes.len().min(buffer.len());
                for (place, byte) in buffer.iter_mut().zip(bytes.drain(..length)) {
                    *place = byte;
                }
                if bytes.is_empty() {
                    self.steps.pop_front();
                }
                Ok(length)
            }
            Some(Step::Tls(_)) => Err(off_script("a read where TLS should start".to_owned()).into()),
            _ => Ok(0),
        }
    }
}

impl Write for FakeConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.seen.borrow_mut().written.extend_from_slice(bytes);
        self.unseen.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection for FakeConnection {
    fn start_tls(&mut self, _server_name: Option<&str>, _verify: bool) -> Result<(), DialError> {
        self.settle()?;
        match self.steps.pop_front() {
            Some(Step::Tls(Ok(()))) => {
                self.seen.borrow_mut().tls = true;
                Ok(())
            }
            Some(Step::Tls(Err(reason))) => Err(DialError::Tls(reason)),
            _ => Err(off_script("TLS was started where the script has none".to_owned())),
        }
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        // What was written last is not followed by a read, so nothing has looked at it yet.
        while let Some(Step::Expect(bytes)) = self.steps.front()
            && self.unseen.starts_with(bytes)
        {
            self.unseen.drain(..bytes.len());
            self.steps.pop_front();
        }
        if matches!(self.steps.front(), Some(Step::Close)) {
            self.steps.pop_front();
        }
        self.seen.borrow_mut().left = self.steps.len();
    }
}

impl fmt::Debug for FakeConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeConnection").field("steps", &self.steps.len()).finish()
    }
}
