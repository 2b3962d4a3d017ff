//! Parameters of requests that are no retrieval, such as lists of the catalogue: as strict, one value each.

use crate::parse::{QUERY_MAX, bad};
use crate::times::TIME_FORMS;
use crate::{BadParameter, Numbers, parse_time};

/// The parameters of a request, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads the part of a URL after the question mark (percent-encoded as forms are); only `known` names are taken.
    ///
    /// # Errors
    /// The first parameter that is unknown or given twice.
    pub fn parse(query: &str, known: &[&str]) -> Result<Params, BadParameter> {
        if query.len() > QUERY_MAX {
            return Err(bad("", format!("the query is longer than {QUERY_MAX} octets"), ""));
        }
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let allowed = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(bad(&name, "unknown parameter", &allowed));
            }
            if pairs.iter().any(|(given, _)| *given == name) {
                return Err(bad(&name, "given twice", "once"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Params { pairs })
    }

    /// A value as it stands.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// A time, TAI nanoseconds since 1958-01-01.
    ///
    /// # Errors
    /// It is none.
    pub fn time(&self, name: &str) -> Result<Option<i64>, BadParameter> {
        let Some(text) = self.text(name) else { return Ok(None) };
        parse_time(text).map(Some).map_err(|detail| bad(name, detail, TIME_FORMS))
    }

    /// One number, 0 to `max`.
    ///
    /// # Errors
    /// It is none, too large, or several.
    pub fn number(&self, name: &str, max: u16) -> Result<Option<u16>, BadParameter> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let refused = |detail: String| bad(name, detail, &format!("one number, 0 to {max}"));
        let numbers = Numbers::parse(text, max).map_err(refused)?;
        numbers.single().map(Some).ok_or_else(|| refused(format!("{text} is more than one number")))
    }

    /// The parameter `limit`, 1 to `max`; `default` if it is not given.
    ///
    /// # Errors
    /// It is none.
    pub fn limit(&self, default: u32, max: u32) -> Result<u32, BadParameter> {
        let Some(text) = self.text("limit") else { return Ok(default) };
        text.parse()
            .ok()
            .filter(|limit| (1..=max).contains(limit))
            .ok_or_else(|| bad("limit", format!("{text:?}"), &format!("1 to {max}")))
    }

    /// One of the names of an enumeration.
    ///
    /// # Errors
    /// It is none of them.
    pub fn one_of<T: Copy>(
        &self,
        name: &str,
        all: &[T],
        spelling: impl Fn(T) -> &'static str,
    ) -> Result<Option<T>, BadParameter> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let found = all.iter().copied().find(|value| spelling(*value) == text);
        found.map(Some).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|value| spelling(*value)).collect();
            bad(name, format!("unknown value {text:?}"), &names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-DACQ-002
    #[test]
    fn whatever_a_list_does_not_know_is_refused_by_name_with_what_is_allowed() {
        let known = ["from", "scid", "limit", "state"];
        let refused = |query: &str| Params::parse(query, &known).unwrap_err().to_string();
        assert_eq!(
            refused("scid=1&color=red"),
            "color: unknown parameter (allowed: from, scid, limit, state)"
        );
        assert_eq!(refused("scid=1&scid=1"), "scid: given twice (allowed: once)");
        assert!(refused(&"x".repeat(QUERY_MAX + 1)).contains("longer than"));
        let params = Params::parse("from=2024-12-06&scid=1-2&limit=0&state=opn", &known).unwrap();
        assert_eq!(params.time("from").unwrap(), parse_time("2024-12-06").ok());
        assert_eq!(params.number("scid", 1023).unwrap_err().detail, "1-2 is more than one number");
        assert_eq!(params.limit(5, 10).unwrap_err().allowed, "1 to 10");
        let states = [(1, "open"), (2, "closed")];
        let one = params.one_of("state", &states, |(_, name)| name).unwrap_err();
        assert_eq!((one.detail.as_str(), one.allowed.as_str()), ("unknown value \"opn\"", "open, closed"));
        let params = Params::parse("limit=7", &known).unwrap();
        assert_eq!((params.limit(5, 10), params.number("scid", 1023)), (Ok(7), Ok(None)));
    }
}
