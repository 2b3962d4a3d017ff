//! The audit trail of a service on the kit.

use fep_time::Tai;
use serde::{Deserialize, Serialize};

/// An entry of a trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// From 1 on.
    pub number: u64,
    /// When, in UTC.
    pub at: String,
    /// When. JSON has it as a text, because it exceeds what every reader takes as a number.
    #[serde(with = "tai_text")]
    pub at_tai_ns: Tai,
    /// Who; `nobody` where nobody is known.
    pub person: String,
    /// By which account.
    pub account: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// More about it, as the service writes it: JSON in most cases.
    pub detail: String,
    /// Hash of the entry before, 64 hexadecimal digits.
    pub previous: String,
    /// Hash of this entry.
    pub hash: String,
}

/// Which entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Only after this number.
    pub after: u64,
    /// At most so many, 1 to 1000.
    pub limit: u32,
    /// Only of this person.
    pub person: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only of this subject.
    pub subject: Option<String>,
}

impl Filter {
    /// The first ones of all, as many as a service gives at once.
    #[must_use]
    pub const fn all() -> Filter {
        Filter { after: 0, limit: 1000, person: None, action: None, subject: None }
    }
}

/// What a verification of a whole trail found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub holds: bool,
    /// How many there are.
    pub entries: u64,
    /// Number of the last one.
    #[serde(default)]
    pub last: u64,
    /// What is wrong, at most the first hundred.
    pub findings: Vec<String>,
    /// How much is wrong.
    #[serde(default)]
    pub findings_in_all: u64,
}

mod tai_text {
    use super::Tai;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Tai, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&at.0.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tai, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Tai).map_err(|_| D::Error::custom(format!("{text:?} is no time in nanoseconds")))
    }
}
