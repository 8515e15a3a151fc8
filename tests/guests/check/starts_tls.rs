//! Starts TLS with most of its own stack in use.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

#[inline(never)]
fn deeper(n: usize, verify: bool) -> Result<Verdict, Fault> {
    let here = std::hint::black_box([n; 1024]);
    if n == 0 {
        return exchange(verify);
    }
    let answer = deeper(n - 1, verify);
    std::hint::black_box(here);
    answer
}

fn exchange(verify: bool) -> Result<Verdict, Fault> {
    let Ok(connection) = dial::connect(None) else { return failed("no connection") };
    if let Err(error) = connection.start_tls(Some("muster.test"), verify) {
        return failed(format!("{error:?}"));
    }
    if connection.start_tls(None, verify).is_ok() {
        return failed("TLS in TLS");
    }
    if let Err(error) = connection.write(b"ping") {
        return failed(format!("{error:?}"));
    }
    match connection.read(64) {
        Ok(bytes) => passed(String::from_utf8_lossy(&bytes)),
        Err(error) => failed(format!("{error:?}")),
    }
}

impl Behaviour for Guest {
    fn check(_: Target, settings: Settings) -> Result<Verdict, Fault> {
        deeper(100, what(&settings) == "verify")
    }
}

guest!(Guest);
