//! Strict parameters of the catalogue's lists: a name that is unknown or given twice, or a value that cannot be, is
//! refused by name.

use fep_archive_query::{BadParameter, Numbers, parse_time};
use fep_catalogue::Colour;
use fep_ccsds::record::Session;
use fep_kit::Problem;

/// The parameters of a request, by name.
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

/// As a problem document.
pub(crate) fn problem(bad: BadParameter) -> Problem {
    Problem::bad_parameter(bad.name, bad.detail, bad.allowed)
        .hint("GET /openapi.json tells every parameter; docs/archive.md explains the query language")
}

impl Params {
    /// Reads the part of the URL after the question mark; only `known` names are taken.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Params, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let allowed = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::bad_parameter(name, "unknown parameter", allowed));
            }
            if pairs.iter().any(|(given, _)| *given == name) {
                return Err(Problem::bad_parameter(name, "given twice", "once"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Params { pairs })
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn time(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let allowed = "UTC as 2024-12-06T17:38:15Z, or tai:NANOSECONDS";
        parse_time(text).map(Some).map_err(|detail| Problem::bad_parameter(name, detail, allowed))
    }

    pub(crate) fn number(&self, name: &str, max: u16) -> Result<Option<u16>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let refused =
            |detail: String| Problem::bad_parameter(name, detail, format!("one number, 0 to {max}"));
        let numbers = Numbers::parse(text, max).map_err(refused)?;
        numbers.single().map(Some).ok_or_else(|| refused(format!("{text} is more than one number")))
    }

    pub(crate) fn limit(&self, default: u32, max: u32) -> Result<u32, Problem> {
        let Some(text) = self.text("limit") else { return Ok(default) };
        text.parse()
            .ok()
            .filter(|limit| (1..=max).contains(limit))
            .ok_or_else(|| Problem::bad_parameter("limit", format!("{text:?}"), format!("1 to {max}")))
    }

    /// One of the names of an enumeration.
    pub(crate) fn one_of<T: Copy>(
        &self,
        name: &str,
        all: &[T],
        spelling: impl Fn(T) -> &'static str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let found = all.iter().copied().find(|value| spelling(*value) == text);
        found.map(Some).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|value| spelling(*value)).collect();
            Problem::bad_parameter(name, format!("unknown value {text:?}"), names.join(", "))
        })
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
