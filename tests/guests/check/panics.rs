//! Breaks in several ways, or fails politely.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

struct Guest;

impl Behaviour for Guest {
    fn check(_: Target, settings: Settings) -> Result<Verdict, Fault> {
        match what(&settings) {
            "abort" => std::process::abort(),
            "exit" => std::process::exit(0),
            "pointer" => passed(unsafe { *std::hint::black_box(0xffff_fff0 as *const u8) }.to_string()),
            "internal" => Err(Fault::Internal("something is broken".into())),
            "unsupported" => Err(Fault::Unsupported("not that".into())),
            "settings" => {
                Err(Fault::BadSettings(Problem { key: "what".into(), message: "is of no use".into() }))
            }
            "nothing" => passed(""),
            _ => panic!("the guest gave up\nfake log line"),
        }
    }
    fn validate(settings: Settings) -> Vec<Problem> {
        if what(&settings) == "trap" {
            panic!("in validate");
        }
        Vec::new()
    }
}

guest!(Guest);
