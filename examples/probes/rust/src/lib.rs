//! `LINE-RUST`: sends a line to the instance and expects another. `examples/probes/README.md` says what it has to answer.

use muster_sdk::health_check::*;

/// Bytes of the answer that are looked at.
const MAX_ANSWER: usize = 200;

/// The probe.
pub struct Line;

impl HealthCheck for Line {
    fn describe() -> Descriptor {
        Descriptor::new("LINE-RUST", env!("CARGO_PKG_VERSION"), "sends a line and expects another")
            .setting(Setting::text("send", "line to send; empty: send nothing").default("PING"))
            .setting(Setting::text("expect", "how the answer has to begin").default("+PONG"))
            .setting(
                Setting::choice(
                    "mismatch",
                    &["failed", "failed-now", "warning"],
                    "what another answer means",
                )
                .default("failed"),
            )
            .setting(Setting::integer("connect-timeout", 1, 60_000, "ms; left out: the time of the check"))
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        let mut problems = Vec::new();
        for key in ["send", "expect"] {
            if !settings.text(key).bytes().all(is_printable) {
                problems.push(Problem::new(key, "must be one line of printable ASCII"));
            }
        }
        if settings.get("expect") == Some("") {
            problems.push(Problem::new("expect", "must not be empty"));
        }
        problems
    }

    fn check(_: &Target, settings: &Settings, net: &impl Net) -> Result<Verdict, Fault> {
        let mismatch = settings.text("mismatch");
        let otherwise = match mismatch {
            "failed" => Verdict::failed,
            "failed-now" => Verdict::failed_now,
            "warning" => Verdict::warning,
            _ => return Err(Problem::new("mismatch", "is not a word that is known here").into()),
        };
        let answer = match ask(settings.text("send"), settings.millis("connect-timeout")?, net) {
            Ok(answer) => answer,
            Err(verdict) => return Ok(verdict),
        };
        if answer.starts_with(settings.text("expect")) {
            return Ok(Verdict::passed().fact("answer", answer));
        }
        Ok(otherwise("line.mismatch", format!("answered \"{answer}\"")))
    }
}

/// The first line of the answer, or what the lack of one means.
fn ask(line: &str, timeout: Option<Duration>, net: &impl Net) -> Result<String, Verdict> {
    let mut connection = net.connect(timeout).map_err(not_connected)?;
    if !line.is_empty() {
        connection.write_all(format!("{line}\r\n").as_bytes()).map_err(broken)?;
    }
    let mut answer = Vec::new();
    while answer.len() < MAX_ANSWER && !answer.contains(&b'\n') {
        let mut buffer = [0; MAX_ANSWER];
        let length = connection.read(&mut buffer[answer.len()..]).map_err(broken)?;
        if length == 0 {
            break;
        }
        let from = answer.len();
        answer.extend_from_slice(&buffer[from..from + length]);
    }
    if answer.is_empty() {
        return Err(Verdict::failed("line.silent", "closed without an answer"));
    }
    Ok(first_line(&answer))
}

fn not_connected(error: DialError) -> Verdict {
    match error {
        DialError::Refused => Verdict::failed_now("line.refused", "connection refused"),
        DialError::TimedOut => Verdict::failed("line.timed-out", "no connection in time"),
        DialError::Denied => Verdict::inconclusive("line.denied", "not allowed to connect"),
        _ => Verdict::failed("line.unreachable", "no connection"),
    }
}

fn broken(error: std::io::Error) -> Verdict {
    match DialError::from(error) {
        DialError::Denied => Verdict::inconclusive("line.denied", "not allowed to go on"),
        _ => Verdict::failed("line.broken", "the connection broke"),
    }
}

/// Up to the end of the line; what is not printable ASCII becomes `?`.
fn first_line(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.iter().map(|byte| if is_printable(*byte) { char::from(*byte) } else { '?' }).collect()
}

fn is_printable(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte)
}

muster_sdk::export_health_check!(Line);

#[cfg(test)]
mod tests {
    use super::*;
    use muster_sdk::fake::{FakeNet, Script};

    #[test]
    fn an_answer_that_begins_as_expected_passes() {
        let settings = Settings::with_defaults(&Line::describe(), &[]);
        let net = FakeNet::new().accepts(Script::new().expect(*b"PING\r\n").send(*b"+PONG\r\n"));
        let verdict = Line::check(&Target::at("10.0.0.1", 6379), &settings, &net).unwrap();
        assert_eq!(verdict, Verdict::passed().fact("answer", "+PONG"));
    }
}
