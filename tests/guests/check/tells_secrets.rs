//! Puts its password where people look.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn describe() -> Descriptor {
        let mut secret = text("password");
        secret.kind = Kind::Secret;
        describe(vec![text("what"), secret])
    }
    fn check(_: Target, settings: Settings) -> Result<Verdict, Fault> {
        let password = settings.iter().find(|(key, _)| key == "password").map_or("", |(_, value)| value);
        match what(&settings) {
            "log" => host::log(host::Level::Info, &format!("the password is {password}")),
            "stderr" => eprintln!("the password is {password}"),
            "quiet" => {
                if let Ok(connection) = dial::connect(None) {
                    let sent = connection.write(password.as_bytes());
                    let got = connection.read(64);
                    return failed(format!("{} {}", sent.is_ok(), got.map_or(0, |bytes| bytes.len())));
                }
            }
            _ => return failed(format!("{password} was not accepted")),
        }
        failed("")
    }
}

guest!(Guest);
