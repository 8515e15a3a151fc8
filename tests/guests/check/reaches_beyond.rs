//! Asks URLs beyond its target, and sends headers with secrets that it may not see.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

fn send(endpoint: Option<&str>, header: &str) -> Result<String, String> {
    let request = fetch::Request {
        method: "GET".into(),
        path: if endpoint.is_some() { String::new() } else { "/".into() },
        headers: vec![("x-auth".into(), header.into())],
        body: vec![],
        timeout_ms: None,
    };
    match fetch::send(endpoint, &request) {
        Ok(answer) => Ok(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body).trim())),
        Err(error) => Err(format!("{error:?}")),
    }
}

impl Behaviour for Guest {
    fn describe() -> Descriptor {
        let mut secrets = ["token", "other"].map(text);
        secrets.iter_mut().for_each(|secret| secret.kind = Kind::Secret);
        let [token, other] = secrets;
        describe(vec![text("what"), text("url"), text("unnamed"), token, other])
    }
    fn check(_: Target, settings: Settings) -> Result<Verdict, Fault> {
        let (how, rest) = what(&settings).split_once(' ').unwrap_or((what(&settings), ""));
        let setting =
            |key: &str| settings.iter().find(|(known, _)| known == key).map_or("", |(_, value)| value);
        let said = match how {
            "told" => Ok(setting(rest).to_owned()),
            "logs" => {
                host::log(host::Level::Info, &format!("the token is {}", setting("token")));
                eprintln!("the token is {}", setting("token"));
                send(None, rest)
            }
            "beyond" => send(Some(rest), "none"),
            "gives-up" => send(Some(rest), "none").map_err(Fault::Internal).map(Ok)?,
            _ => send(None, rest),
        };
        match said {
            Ok(said) => passed(said),
            Err(said) => failed(said),
        }
    }
}

guest!(Guest);
