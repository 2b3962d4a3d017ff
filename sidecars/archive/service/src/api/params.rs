//! Parameters of the catalogue's lists, and how a refused one is told.

use fep_archive_query::BadParameter;
use fep_catalogue::Colour;
use fep_kit::Problem;
use fep_record::Session;

/// As a problem document.
pub(crate) fn problem(bad: BadParameter) -> Problem {
    Problem::bad_parameter(bad.name, bad.detail, bad.allowed)
        .hint("GET /openapi.json tells every parameter; docs/archive.md explains the query language")
}

/// The parameters of a request, by name.
pub(crate) struct Params(fep_archive_query::Params);

impl Params {
    /// Reads the part of the URL after the question mark; only `known` names are taken.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Params, Problem> {
        fep_archive_query::Params::parse(query.unwrap_or_default(), known).map(Params).map_err(problem)
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
