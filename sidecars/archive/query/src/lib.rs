//! The query language of the archive: which frames or packets are wanted, and in which form, as URL parameters.
//!
//! Strict: a parameter that is unknown, given twice, empty, or makes no sense with another is refused with its name and
//! what would be allowed; nothing is guessed. A [`Retrieval`] written with [`std::fmt::Display`] is the *canonical*
//! query: two requests for the same thing are the same text, and the text parses to the same retrieval.
//!
//! ```
//! use fep_archive_query::{Format, Retrieval, Unit};
//!
//! let query = "from=2024-12-06T17:38:15Z&scid=157&apid=800-810,1025&format=packets";
//! let retrieval = Retrieval::parse(Unit::Packets, query).unwrap();
//! assert_eq!(retrieval.format, Format::Packets);
//! assert!(retrieval.selection.apid.as_ref().is_some_and(|apids| apids.contains(805)));
//! assert_eq!(retrieval.to_string(), "from=2024-12-06T17:38:15.000000000Z&scid=157&apid=800-810,1025&format=packets");
//!
//! let refused = Retrieval::parse(Unit::Packets, "vc=5").unwrap_err();
//! assert_eq!(refused.name, "vc");
//! assert!(refused.to_string().starts_with("vc: unknown parameter (allowed: from, to, "));
//! ```

mod numbers;
mod params;
mod parse;
mod selection;
pub mod sql;
mod times;

pub use fep_colour::Colour;
pub use numbers::Numbers;
pub use params::Params;
pub use selection::{Format, Idle, Quality, Retrieval, Selection, Unit};
pub use times::{TIME_FORMS, parse_time, time_text};

/// A parameter that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {detail}{}", Allowed(allowed))]
pub struct BadParameter {
    /// Its name, as given.
    pub name: String,
    /// What is wrong with it.
    pub detail: String,
    /// What would be accepted; empty when the detail says it all.
    pub allowed: String,
}

struct Allowed<'a>(&'a str);

impl std::fmt::Display for Allowed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " (allowed: {})", self.0) }
    }
}
