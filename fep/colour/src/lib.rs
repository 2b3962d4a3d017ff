//! Red or black: whether data was deciphered on the ground. Rings, missions, segments and the archive mean the same by it, and
//! one type says so; each crate that speaks of colours exports it.
//!
//! ```
//! use fep_colour::Colour;
//! assert_eq!("red".parse(), Ok(Colour::Red));
//! assert_eq!(Colour::Black.to_string(), "black");
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whether data was deciphered on the ground. Red and black data never share a directory, a group, a ring, a feed or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// As received, unclassified or enciphered: everyone may see it who may see the station link.
    Black,
    /// Clear data of an enciphered mission: kept and served apart.
    Red,
}

impl Colour {
    /// Every value, black first.
    pub const ALL: &'static [Colour] = &[Colour::Black, Colour::Red];

    /// Its name in configurations, SQL, JSON, queries and paths.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Colour::Black => "black",
            Colour::Red => "red",
        }
    }

    /// Name of the directory that holds what is of this colour, below the directory of rings or of segments.
    #[must_use]
    pub const fn directory(self) -> &'static str {
        self.name()
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is the name of no colour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no colour (allowed: black, red)")]
pub struct NoColour(pub String);

impl FromStr for Colour {
    type Err = NoColour;

    fn from_str(text: &str) -> Result<Colour, NoColour> {
        Colour::ALL
            .iter()
            .copied()
            .find(|colour| colour.name() == text)
            .ok_or_else(|| NoColour(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_is_written_in_one_way_everywhere() {
        for (colour, name) in [(Colour::Black, "black"), (Colour::Red, "red")] {
            assert_eq!((colour.to_string().as_str(), colour.directory()), (name, name));
            assert_eq!(name.parse(), Ok(colour));
            let json = serde_json::to_string(&colour).expect("a text");
            assert_eq!(json, format!("{name:?}"));
            assert_eq!(serde_json::from_str::<Colour>(&json).expect("the same"), colour);
        }
        for other in ["", "Red", "RED", "green", "red "] {
            assert_eq!(other.parse::<Colour>(), Err(NoColour(other.to_owned())));
        }
        assert_eq!(Colour::ALL, [Colour::Black, Colour::Red]);
        assert!(Colour::Black < Colour::Red, "in the order of the list");
    }
}
