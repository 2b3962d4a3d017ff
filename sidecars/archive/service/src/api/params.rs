//! Parameters of the catalogue's lists, and how a refused one is told.

use fep_archive_query::BadParameter;
use fep_catalogue::Colour;
use fep_kit::Problem;
use fep_record::Session;
use fep_route::{Form, Route, Values};

/// The longest text of a parameter: lists of numbers, of rings.
pub(super) const TEXT: Form = Form::Text(1024);
/// A time: UTC, or `tai:` and nanoseconds.
pub(super) const TIME: Form = Form::Text(64);
/// The name of a thing in a path.
pub(super) const ID: Form = Form::Text(256);
/// A virtual channel.
pub(super) const VCID: Form = Form::Integer(0, 63);
/// An application process.
pub(super) const APID: Form = Form::Integer(0, 2047);
/// A station link.
pub(super) const LINK: Form = Form::Integer(0, u16::MAX as u64);

/// A span of time.
pub(super) fn span<State>(route: Route<State>) -> Route<State> {
    route
        .query("from", TIME, "At or after: UTC (2024-12-06T17:38:15Z) or tai:NANOSECONDS.")
        .query("to", TIME, "Before.")
}

/// As a problem document.
pub(crate) fn problem(bad: BadParameter) -> Problem {
    Problem::bad_parameter(bad.name, bad.detail, bad.allowed)
        .hint("GET /openapi.json describes every parameter; docs/archive.md explains the query language")
}

/// The parameters of a request, by name.
pub(crate) struct Params(fep_archive_query::Params);

impl Params {
    /// Of parameters that are declared, and of their form.
    pub(crate) fn of(values: &Values) -> Result<Params, Problem> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(values.pairs());
        let known: Vec<&str> = values.pairs().map(|(name, _)| name).collect();
        fep_archive_query::Params::parse(&query.finish(), &known).map(Params).map_err(problem)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.text(name)
    }

    pub(crate) fn time(&self, name: &str) -> Result<Option<i64>, Problem> {
        self.0.time(name).map_err(problem)
    }

    pub(crate) fn number(&self, name: &str, max: u16) -> Result<Option<u16>, Problem> {
        self.0.number(name, max).map_err(problem)
    }

    pub(crate) fn limit(&self, default: u32, max: u32) -> Result<u32, Problem> {
        self.0.limit(default, max).map_err(problem)
    }

    /// One of the names of an enumeration.
    pub(crate) fn one_of<T: Copy>(
        &self,
        name: &str,
        all: &[T],
        spelling: impl Fn(T) -> &'static str,
    ) -> Result<Option<T>, Problem> {
        self.0.one_of(name, all, spelling).map_err(problem)
    }

    pub(crate) fn colour(&self) -> Result<Option<Colour>, Problem> {
        self.one_of("colour", Colour::ALL, Colour::name)
    }

    pub(crate) fn session(&self) -> Result<Option<Session>, Problem> {
        self.one_of("session", &[Session::Ops, Session::Test, Session::Replay], |session| match session {
            Session::Ops => "ops",
            Session::Test => "test",
            Session::Replay => "replay",
        })
    }
}
