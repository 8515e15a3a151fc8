//! `HTTP`: an instance is healthy when a GET of its path is answered as expected.

mod codes;

use codes::Codes;
use muster_sdk::health_check::*;

/// One GET, no redirect. Source of the outcomes: Nacos `HttpHealthCheckProcessor`.
pub struct Http;

impl HealthCheck for Http {
    fn describe() -> Descriptor {
        Descriptor::new("HTTP", env!("CARGO_PKG_VERSION"), "a GET of the path is answered as expected")
            .setting(Setting::text("path", "what to get").default(""))
            .setting(Setting::text("headers", "name:value pairs with | between them").default(""))
            .setting(Setting::secret("token", "a secret, sent where headers have ${secret.token}"))
            .setting(
                Setting::text("expectedResponseCode", "with rule `expected`: codes such as 200,204 or 2xx")
                    .default("200"),
            )
            .setting(
                Setting::choice(
                    "rule",
                    &["nacos", "expected"],
                    "`nacos` takes 200 only, as Nacos does whatever the expected code says",
                )
                .default("nacos"),
            )
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        let mut problems = Vec::new();
        if settings.text("path").contains(|c: char| c.is_whitespace() || c.is_control()) {
            problems.push(Problem::new("path", "must have no spaces; write them as %20"));
        }
        if let Err(problem) = Rule::of(settings) {
            problems.push(problem);
        }
        if settings.text("headers").contains(TOKEN) && settings.get("token").is_none_or(str::is_empty) {
            problems.push(Problem::new("token", "is missing, and headers refer to it"));
        }
        problems
    }

    fn check(_: &Target, settings: &Settings, net: &impl Net) -> Result<Verdict, Fault> {
        let rule = Rule::of(settings)?;
        Ok(match net.fetch(&request(settings)) {
            Ok(response) => rule.verdict(response.status).fact("status", response.status.to_string()),
            Err(error) => failure(error),
        })
    }
}

/// What the host replaces with the secret.
const TOKEN: &str = "${secret.token}";

fn request(settings: &Settings) -> Request {
    let path = settings.text("path").split('#').next().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    headers(settings.text("headers"))
        .fold(Request::get(format!("{slash}{path}")), |request, (name, value)| request.header(name, value))
}

/// Pairs of Nacos's one string. A piece without exactly one colon is skipped.
fn headers(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('|').filter_map(|piece| {
        let (name, value) = piece.split_once(':')?;
        let (name, value) = (name.trim(), value.trim());
        (!name.is_empty() && !value.contains(':')).then_some((name, value))
    })
}

/// Which answers are good.
enum Rule {
    Nacos,
    Expected(Codes),
}

impl Rule {
    fn of(settings: &Settings) -> Result<Self, Problem> {
        if settings.get("rule") != Some("expected") {
            return Ok(Self::Nacos);
        }
        let text = settings.get("expectedResponseCode").unwrap_or("200");
        let codes = Codes::parse(text).ok_or_else(|| {
            Problem::new("expectedResponseCode", "must be codes such as 200, 200,204, 200-299 or 2xx")
        })?;
        Ok(Self::Expected(codes))
    }

    fn verdict(&self, status: u16) -> Verdict {
        let good = match self {
            Self::Nacos => status == 200,
            Self::Expected(codes) => codes.contain(status),
        };
        match status {
            _ if good => Verdict::passed(),
            503 => Verdict::failed("http.unavailable", "status 503"),
            302 => Verdict::failed("http.redirect", "status 302"),
            _ => Verdict::failed_now("http.status", format!("status {status}")),
        }
    }
}

fn failure(error: FetchError) -> Verdict {
    let reason = error.reason();
    match error {
        FetchError::Refused => Verdict::failed_now("http.refused", reason),
        FetchError::TimedOut => Verdict::failed("http.timed-out", reason),
        FetchError::Denied => Verdict::inconclusive("http.denied", reason),
        FetchError::BadResponse(_) => Verdict::failed("http.bad-response", reason),
        FetchError::Unreachable => Verdict::failed("http.unreachable", reason),
        FetchError::Tls(_) | FetchError::Other(_) => Verdict::failed("http.failed", reason),
    }
}

muster_sdk::export_health_check!(Http);

#[cfg(test)]
mod tests;
