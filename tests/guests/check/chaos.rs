//! Does whatever its target tells it with one byte, good or bad.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

#[inline(never)]
fn deeper(n: u64) -> u64 {
    let here = std::hint::black_box([n; 64]);
    if n == u64::MAX { 0 } else { deeper(n + 1) + here[(n % 64) as usize] }
}

fn taken() -> Vec<Vec<u8>> {
    let mut taken = Vec::new();
    loop {
        taken.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
}

/// As many connections and as many questions as it is given.
fn flood() -> Result<Verdict, Fault> {
    let mut kept = Vec::new();
    while let Ok(connection) = dial::connect(None) {
        kept.push(connection);
    }
    for n in 0..20_000 {
        host::log(host::Level::Warn, "flood");
        std::hint::black_box(host::remaining_ms() + n);
    }
    Err(Fault::Internal("flooded".into()))
}

impl Behaviour for Guest {
    fn describe() -> Descriptor {
        Descriptor { name: "CHAOS".into(), ..describe(vec![]) }
    }

    fn check(_: Target, _: Settings) -> Result<Verdict, Fault> {
        let connection = match dial::connect(None) {
            Ok(connection) => connection,
            Err(error) => return failed(format!("{error:?}")),
        };
        let told = match connection.read(1) {
            Ok(bytes) => bytes.first().copied().unwrap_or(b'?'),
            Err(error) => return failed(format!("{error:?}")),
        };
        match told {
            b'g' => passed("good"),
            b't' => panic!("told to"),
            b'a' => std::process::abort(),
            b's' => loop {
                std::hint::black_box(told);
            },
            b'm' => passed(taken().len().to_string()),
            b'r' => passed(deeper(0).to_string()),
            #[allow(clippy::disallowed_methods, reason = "this guest is here to do it")]
            b'z' => {
                std::thread::sleep(std::time::Duration::from_secs(3600));
                passed("slept")
            }
            b'f' => flood(),
            b'n' => Ok(Verdict {
                outcome: Outcome::FailedNow,
                code: String::new(),
                message: "\u{e9}".repeat(2 << 20),
                facts: vec![],
            }),
            b'h' => {
                // never freed: the instance grows until it is thrown away
                std::mem::forget(std::hint::black_box(vec![1u8; 256 << 10]));
                passed("hoards")
            }
            b'i' => Err(Fault::Internal("told to".into())),
            _ => Err(Fault::Unsupported("no such word".into())),
        }
    }
}

guest!(Guest);
