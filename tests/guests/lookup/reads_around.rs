//! Reads files and asks URLs, granted or not, and tells what it got.

#![cfg(target_family = "wasm")]
#[path = "../base/lookup.rs"]
mod base;
use base::*;

struct Guest;

fn told(name: &str) -> (String, String) {
    let got = match files::read(name) {
        Ok(content) => String::from_utf8_lossy(&content.bytes).into_owned(),
        Err(error) => error.name().to_owned(),
    };
    (name.to_owned(), got)
}

fn fetched(endpoint: Option<&str>) -> (String, String) {
    let request = fetch::Request {
        method: "GET".into(),
        path: String::new(),
        headers: vec![("host".into(), "elsewhere".into())],
        body: vec![],
        timeout_ms: Some(2000),
    };
    let got = match fetch::send(endpoint, &request) {
        Ok(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
        Err(error) => format!("{error:?}"),
    };
    (format!("{endpoint:?}"), got)
}

impl Behaviour for Guest {
    fn find(_: ThisNode, settings: Settings, _: Option<Vec<u8>>) -> Result<Answer, Fault> {
        let mut metadata: Vec<_> = what(&settings).split_whitespace().map(told).collect();
        metadata.extend([Some("url"), Some("other"), None].map(fetched));
        let members = vec![member("10.0.0.1", metadata)];
        Ok(Answer::Changed(Members { members, cookie: vec![], next_ms: u32::MAX }))
    }
}

guest!(Guest);
