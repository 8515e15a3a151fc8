//! `{{name}}`: an instance is healthy when it answers a line with the expected word.

use muster_sdk::health_check::*;

/// Sends a line and looks for a word in the answer.
pub struct {{type}};

impl HealthCheck for {{type}} {
    fn describe() -> Descriptor {
        Descriptor::new("{{name}}", env!("CARGO_PKG_VERSION"), "answers a line with the expected word")
            .setting(Setting::text("send", "the line to send").default("PING"))
            .setting(Setting::text("expect", "the word that a good answer begins with").default("+PONG"))
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        if settings.text("expect").is_empty() {
            return vec![Problem::new("expect", "must not be empty: every answer would be good")];
        }
        Vec::new()
    }

    fn check(_: &Target, settings: &Settings, net: &impl Net) -> Result<Verdict, Fault> {
        match ask(settings, net) {
            Ok(answer) if answer.starts_with(settings.text("expect").as_bytes()) => Ok(Verdict::passed()),
            Ok(_) => Ok(Verdict::failed("{{name}}.answer", "the answer is another one")),
            // refused, timed out, denied ...: each has its own outcome
            Err(error) => Ok(error.verdict("{{name}}")),
        }
    }
}

/// The first line of the answer.
fn ask(settings: &Settings, net: &impl Net) -> Result<Vec<u8>, DialError> {
    let mut connection = net.connect(None)?;
    connection.write_all(format!("{}\r\n", settings.text("send")).as_bytes())?;
    let mut line = Vec::new();
    let mut part = [0; 512];
    while !line.contains(&b'\n') && line.len() < 4096 {
        match connection.read(&mut part)? {
            0 => break,
            length => line.extend_from_slice(&part[..length]),
        }
    }
    Ok(line)
}

muster_sdk::export_health_check!({{type}});

#[cfg(test)]
mod tests {
    use super::*;
    use muster_sdk::fake::{FakeNet, Script};

    fn check(net: &FakeNet) -> Verdict {
        let settings = Settings::with_defaults(&{{type}}::describe(), &[]);
        {{type}}::check(&Target::at("10.0.0.1", 6379), &settings, net).unwrap()
    }

    #[test]
    fn the_expected_word_passes_also_in_pieces() {
        let net = FakeNet::new().accepts(Script::new().expect(*b"PING\r\n").send(*b"+PO").send(*b"NG\r\n"));
        assert_eq!(check(&net).outcome, Outcome::Passed);
    }

    #[test]
    fn another_answer_or_none_fails() {
        let other = FakeNet::new().accepts(Script::new().send(*b"-ERR\r\n"));
        assert_eq!(check(&other).code, "{{name}}.answer");
        assert_eq!(check(&FakeNet::new().accepts(Script::new())).outcome, Outcome::Failed);
        assert_eq!(check(&FakeNet::new().fails(DialError::Refused)).outcome, Outcome::FailedNow);
    }

    #[test]
    fn what_the_node_does_not_allow_says_nothing_of_the_target() {
        assert_eq!(check(&FakeNet::new().fails(DialError::Denied)).outcome, Outcome::Inconclusive);
    }
}
