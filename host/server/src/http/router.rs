//! Which handler answers a method and path.

use super::call::Call;
use super::error::{ApiError, Dialect};
use super::reply::Reply;
use http::Method;
use std::cmp::Ordering;
use std::pin::Pin;

/// What a handler answers.
pub(crate) type Outcome = Result<Reply, ApiError>;
/// What an asynchronous handler answers.
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A handler.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// Reads what is published; never waits.
    Now(fn(&Call<'_>) -> Outcome),
    /// Asks the naming loop, a plugin or the store.
    Later(for<'a> fn(&'a Call<'a>) -> Answer<'a>),
}

/// A set of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Methods(u8);

/// `GET`, and `HEAD` with it
pub(crate) const GET: Methods = Methods(1);
/// `POST`
pub(crate) const POST: Methods = Methods(2);
/// `PUT`
pub(crate) const PUT: Methods = Methods(4);
/// `DELETE`
pub(crate) const DELETE: Methods = Methods(8);
/// `PATCH`
pub(crate) const PATCH: Methods = Methods(16);
/// all of them
pub(crate) const ANY: Methods = Methods(31);

impl Methods {
    fn has(self, method: &Method) -> bool {
        let one = match *method {
            Method::GET | Method::HEAD => GET,
            Method::POST => POST,
            Method::PUT => PUT,
            Method::DELETE => DELETE,
            Method::PATCH => PATCH,
            _ => return false,
        };
        self.0 & one.0 != 0
    }
}

/// The generation of the API: names, truth values and required parameters differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// grouped names, loose truth values
    V1,
    /// bare names with a separate group
    V2,
    /// as v2
    V3,
}

/// Which setting switches an old API off. Source: Nacos 3 `ApiCompatibilityFilter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// never switched off
    Open,
    /// what SDKs call
    Client,
    /// what operators call
    Admin,
    /// what the console calls
    Console,
}

/// What a group of routes has in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    /// generation
    pub(crate) version: Version,
    /// how errors are said
    pub(crate) dialect: Dialect,
    /// what switches it off
    pub(crate) gate: Gate,
    /// what replaces it when it is off
    pub(crate) instead: &'static str,
}

impl Family {
    /// The same family behind another gate.
    pub(crate) const fn behind(self, gate: Gate, instead: &'static str) -> Self {
        Self { gate, instead, ..self }
    }

    /// The same family with errors in another dialect.
    pub(crate) const fn saying(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }
}

/// One line of the table.
pub(crate) struct Route {
    path: String,
    methods: Methods,
    /// what it shares with others
    pub(crate) family: Family,
    /// what answers
    pub(crate) run: Run,
}

/// Collects routes.
#[derive(Default)]
pub(crate) struct Table(Vec<Route>);

impl Table {
    /// Adds a handler for `methods` of `path`.
    pub(crate) fn add(&mut self, family: Family, methods: Methods, path: impl Into<String>, run: Run) {
        self.0.push(Route { path: path.into(), methods, family, run });
    }

    /// The finished table.
    pub(crate) fn build(mut self) -> Router {
        self.0.sort_by(|a, b| order(&a.path, &b.path));
        Router(self.0)
    }
}

/// By length first: paths have long beginnings in common.
fn order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// The finished table, sorted by path.
pub(crate) struct Router(Vec<Route>);

/// What a look into the table finds.
pub(crate) enum Found<'a> {
    /// the route
    Route(&'a Route),
    /// the path, but not for this method
    OtherMethod(Family),
    /// nothing
    Nothing,
}

impl Router {
    /// The route for `method` and `path`; one slash at the end does not matter.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let start = self.0.partition_point(|route| order(&route.path, path).is_lt());
        let mut same = self.0[start..].iter().take_while(|route| route.path == path).peekable();
        let Some(first) = same.peek() else { return Found::Nothing };
        let family = first.family;
        same.find(|route| route.methods.has(method)).map_or(Found::OtherMethod(family), Found::Route)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply;
    use super::*;

    const FAMILY: Family =
        Family { version: Version::V1, dialect: Dialect::Text, gate: Gate::Open, instead: "" };

    fn router() -> Router {
        let mut table = Table::default();
        let run = Run::Now(|_| Ok(reply::ok()));
        table.add(FAMILY, PUT, "/b", run);
        table.add(FAMILY, POST, "/b", run);
        table.add(FAMILY, GET, "/b", run);
        table.add(FAMILY, ANY, "/a", run);
        table.build()
    }

    fn finds(method: Method, path: &str) -> &'static str {
        match router().find(&method, path) {
            Found::Route(_) => "route",
            Found::OtherMethod(_) => "other method",
            Found::Nothing => "nothing",
        }
    }

    #[test]
    fn a_route_is_found_by_path_and_method() {
        assert_eq!(finds(Method::PUT, "/b"), "route");
        assert_eq!(finds(Method::HEAD, "/b/"), "route");
        assert_eq!(finds(Method::DELETE, "/b"), "other method");
        assert_eq!(finds(Method::DELETE, "/a"), "route");
        assert_eq!(finds(Method::GET, "/c"), "nothing");
    }
}
