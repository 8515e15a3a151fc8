//! `TCP`: an instance is healthy when its port accepts a connection.

use muster_sdk::health_check::*;

/// Connects and closes. Source of the outcomes: Nacos `TcpHealthCheckProcessor`.
pub struct Tcp;

impl HealthCheck for Tcp {
    fn describe() -> Descriptor {
        Descriptor::new("TCP", env!("CARGO_PKG_VERSION"), "the port accepts a connection")
    }

    fn check(_: &Target, _: &Settings, net: &impl Net) -> Result<Verdict, Fault> {
        let Err(error) = net.connect(None) else { return Ok(Verdict::passed()) };
        let reason = error.reason();
        Ok(match error {
            DialError::Refused => Verdict::failed_now("tcp.refused", reason),
            DialError::TimedOut => Verdict::failed("tcp.timed-out", reason),
            DialError::Unreachable => Verdict::failed("tcp.unreachable", reason),
            DialError::Denied => Verdict::inconclusive("tcp.denied", reason),
            _ => Verdict::failed("tcp.failed", reason),
        })
    }
}

muster_sdk::export_health_check!(Tcp);

#[cfg(test)]
mod tests {
    use super::*;
    use muster_sdk::fake::{FakeNet, Script};

    fn outcome(net: &FakeNet) -> (Outcome, String) {
        let verdict = Tcp::check(&Target::at("10.0.0.1", 80), &Settings::default(), net).unwrap();
        (verdict.outcome, verdict.code)
    }

    #[test]
    fn an_open_port_passes_without_a_byte_written() {
        let net = FakeNet::new().accepts(Script::new());
        assert_eq!(outcome(&net), (Outcome::Passed, String::new()));
        assert_eq!((net.connections(), net.written(0)), (1, Vec::new()));
    }

    #[test]
    fn only_a_refused_connection_is_unhealthy_at_once() {
        for (error, expected, code) in [
            (DialError::Refused, Outcome::FailedNow, "tcp.refused"),
            (DialError::TimedOut, Outcome::Failed, "tcp.timed-out"),
            (DialError::Unreachable, Outcome::Failed, "tcp.unreachable"),
            (DialError::Other("reset".to_owned()), Outcome::Failed, "tcp.failed"),
            (DialError::Denied, Outcome::Inconclusive, "tcp.denied"),
        ] {
            assert_eq!(outcome(&FakeNet::new().fails(error)), (expected, code.to_owned()));
        }
    }
}
