//! Uses std::net, for the target or for whatever address it is given.

#![cfg(target_family = "wasm")]
#[path = "../base/check.rs"]
mod base;
use base::*;

use std::net::{TcpListener, TcpStream, UdpSocket};

struct Guest;

impl Behaviour for Guest {
    fn check(target: Target, settings: Settings) -> Result<Verdict, Fault> {
        let own = format!("{}:{}", target.address, target.port);
        let what = what(&settings);
        let (how, address) = what.split_once(char::is_whitespace).unwrap_or((what, ""));
        let done = match how {
            "elsewhere" => TcpStream::connect(address).map(drop),
            "listen" => TcpListener::bind(address).map(drop),
            "udp" => UdpSocket::bind("0.0.0.0:0").and_then(|s| s.send_to(b"x", address)).map(drop),
            "twice" => TcpStream::connect(&own).and_then(|_| TcpStream::connect(&own)).map(drop),
            _ => TcpStream::connect(own).map(drop),
        };
        match done {
            Ok(()) => passed("reached"),
            Err(error) => failed(format!("{:?}", error.kind())),
        }
    }
}

guest!(Guest);
