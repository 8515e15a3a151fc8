//! Files, endpoints and names that a test wrote.

use crate::member_lookup::{Content, FetchError, FileError, NameError, Request, Response, Service, Sources};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Files by name, HTTP exchanges in order, and records of names by their settings.
#[derive(Debug, Default)]
pub struct FakeSources {
    files: BTreeMap<String, Result<Content, FileError>>,
    fetches: RefCell<VecDeque<Result<Response, FetchError>>>,
    requests: RefCell<Vec<(String, Request)>>,
    addresses: BTreeMap<String, Result<Vec<String>, NameError>>,
    services: BTreeMap<String, Result<Vec<Service>, NameError>>,
}

impl FakeSources {
    /// No file and no endpoint.
    pub fn new() -> Self {
        Self::default()
    }

    /// There is a file; `stamp` changes with its content.
    #[must_use]
    pub fn file(mut self, name: &str, text: &str, stamp: &str) -> Self {
        let content = Content { bytes: text.as_bytes().to_vec(), stamp: stamp.to_owned() };
        self.files.insert(name.to_owned(), Ok(content));
        self
    }

    /// Reading that file fails.
    #[must_use]
    pub fn broken_file(mut self, name: &str, error: FileError) -> Self {
        self.files.insert(name.to_owned(), Err(error));
        self
    }

    /// The next HTTP exchange has this status and body.
    #[must_use]
    pub fn responds(self, status: u16, body: &str) -> Self {
        self.exchange(Ok(Response {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
            cut: false,
        }))
    }

    /// The next HTTP exchange ends like this.
    #[must_use]
    pub fn exchange(self, result: Result<Response, FetchError>) -> Self {
        self.fetches.borrow_mut().push_back(result);
        self
    }

    /// The name in the setting `key` has these addresses.
    #[must_use]
    pub fn resolves(mut self, key: &str, found: Result<Vec<String>, NameError>) -> Self {
        self.addresses.insert(key.to_owned(), found);
        self
    }

    /// The name in the setting `key` has these services.
    #[must_use]
    pub fn serves(mut self, key: &str, found: Result<Vec<Service>, NameError>) -> Self {
        self.services.insert(key.to_owned(), found);
        self
    }

    /// The HTTP requests so far, with the setting that held the endpoint.
    pub fn requests(&self) -> Vec<(String, Request)> {
        self.requests.borrow().clone()
    }
}

impl Sources for FakeSources {
    fn fetch(&self, endpoint: &str, request: &Request) -> Result<Response, FetchError> {
        self.requests.borrow_mut().push((endpoint.to_owned(), request.clone()));
        self.fetches.borrow_mut().pop_front().unwrap_or(Err(FetchError::Denied))
    }

    fn read(&self, name: &str) -> Result<Content, FileError> {
        self.files.get(name).cloned().unwrap_or(Err(FileError::Missing))
    }

    fn addresses(&self, key: &str) -> Result<Vec<String>, NameError> {
        self.addresses.get(key).cloned().unwrap_or(Err(NameError::Denied))
    }

    fn services(&self, key: &str) -> Result<Vec<Service>, NameError> {
        self.services.get(key).cloned().unwrap_or(Err(NameError::Denied))
    }

    fn remaining(&self) -> Duration {
        Duration::from_secs(10)
    }
}
