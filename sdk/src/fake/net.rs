//! A network that does what the test said.

use super::connection::{FakeConnection, Script, Seen};
use crate::net::{DialError, FetchError, Net, Request, Response};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// Scripted connections and HTTP exchanges, each used once, in order. More than were scripted is
/// [`DialError::Denied`], as when a check uses more connections than it may.
#[derive(Debug)]
pub struct FakeNet {
    connects: RefCell<VecDeque<Result<Script, DialError>>>,
    fetches: RefCell<VecDeque<Result<Response, FetchError>>>,
    requests: RefCell<Vec<Request>>,
    seen: RefCell<Vec<Rc<RefCell<Seen>>>>,
    remaining: Rc<Cell<Duration>>,
}

impl Default for FakeNet {
    fn default() -> Self {
        Self {
            connects: RefCell::default(),
            fetches: RefCell::default(),
            requests: RefCell::default(),
            seen: RefCell::default(),
            remaining: Rc::new(Cell::new(Duration::from_millis(500))),
        }
    }
}

impl FakeNet {
    /// Nothing scripted, and 500 ms of time.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next connection succeeds and follows `script`.
    #[must_use]
    pub fn accepts(self, script: Script) -> Self {
        self.connects.borrow_mut().push_back(Ok(script));
        self
    }

    /// The next connection fails.
    #[must_use]
    pub fn fails(self, error: DialError) -> Self {
        self.connects.borrow_mut().push_back(Err(error));
        self
    }

    /// The next HTTP exchange has this status and no body.
    #[must_use]
    pub fn responds(self, status: u16) -> Self {
        self.exchange(Ok(Response { status, headers: Vec::new(), body: Vec::new(), cut: false }))
    }

    /// The next HTTP exchange ends like this.
    #[must_use]
    pub fn exchange(self, result: Result<Response, FetchError>) -> Self {
        self.fetches.borrow_mut().push_back(result);
        self
    }

    /// The call ends after `time`.
    #[must_use]
    pub fn ends_after(self, time: Duration) -> Self {
        self.remaining.set(time);
        self
    }

    /// The HTTP requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.borrow().clone()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.seen.borrow().len()
    }

    /// What was written to connection `index`; empty when there was none.
    pub fn written(&self, index: usize) -> Vec<u8> {
        self.seen.borrow().get(index).map_or_else(Vec::new, |seen| seen.borrow().written.clone())
    }

    /// Whether connection `index` went on with TLS.
    pub fn encrypted(&self, index: usize) -> bool {
        self.seen.borrow().get(index).is_some_and(|seen| seen.borrow().tls)
    }

    /// How many steps of their scripts the closed connections never came to.
    pub fn unplayed(&self) -> usize {
        self.seen.borrow().iter().map(|seen| seen.borrow().left).sum()
    }
}

impl Net for FakeNet {
    type Connection = FakeConnection;

    fn connect(&self, timeout: Option<Duration>) -> Result<FakeConnection, DialError> {
        let next = self.connects.borrow_mut().pop_front().unwrap_or(Err(DialError::Denied));
        if matches!(next, Err(DialError::TimedOut)) {
            let wait = timeout.unwrap_or(Duration::MAX);
            self.remaining.set(self.remaining.get().saturating_sub(wait));
        }
        let seen = Rc::new(RefCell::new(Seen::default()));
        self.seen.borrow_mut().push(Rc::clone(&seen));
        Ok(FakeConnection::new(next?, seen, Rc::clone(&self.remaining)))
    }

    fn fetch(&self, request: &Request) -> Result<Response, FetchError> {
        self.requests.borrow_mut().push(request.clone());
        self.fetches.borrow_mut().pop_front().unwrap_or(Err(FetchError::Denied))
    }

    /// Takes the next scripted exchange, too.
    fn fetch_from(&self, _endpoint: &str, request: &Request) -> Result<Response, FetchError> {
        self.fetch(request)
    }

    fn remaining(&self) -> Duration {
        self.remaining.get()
    }
}
