//! Names of streams and segments, and places in a stream.

use std::cmp::Ordering;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fep_bus::{Colour, Position};
use serde::{Deserialize, Serialize};

/// One recorded ring: `black/cso-1.frames`. Also the path of its segments below the archive directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream {
    /// Red and black segments never share a directory.
    pub colour: Colour,
    /// The ring's name.
    pub ring: String,
}

impl Stream {
    /// The stream of the ring `ring`.
    pub fn new(colour: Colour, ring: impl Into<String>) -> Stream {
        Stream { colour, ring: ring.into() }
    }

    /// Directory of its segments below the archive directory.
    pub fn directory(&self, archive: &Path) -> PathBuf {
        archive.join(self.colour.directory()).join(&self.ring)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.colour.directory(), self.ring)
    }
}

impl FromStr for Stream {
    type Err = String;

    fn from_str(text: &str) -> Result<Stream, String> {
        let problem = || format!("\"{text}\" is not a stream: black/RING or red/RING is expected");
        let (colour, ring) = text.split_once('/').ok_or_else(problem)?;
        let colour = match colour {
            "black" => Colour::Black,
            "red" => Colour::Red,
            _ => return Err(problem()),
        };
        let legal =
            |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"-_.".contains(&octet);
        if ring.is_empty() || ring.len() > 31 || ring.starts_with('.') || !ring.bytes().all(legal) {
            return Err(problem());
        }
        Ok(Stream::new(colour, ring))
    }
}

/// Name of a segment within its stream. Names sort as their contents do.
///
/// The *series* tells lives of a ring apart whose numbers do not continue each other (a reboot empties the memory file
/// system, and numbering starts again): it is the time, in nanoseconds since 1970 (UTC), at which the ring was laid out
/// that began the numbering; always greater than any series before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SegmentName {
    /// The numbering it belongs to.
    pub series: u64,
    /// Log position at which it begins.
    pub base_pos: u64,
}

impl SegmentName {
    /// File of a sealed segment: never written again.
    pub fn sealed_file(&self) -> String {
        format!("{self}.seg")
    }

    /// File of a segment that still grows, or whose recorder died.
    pub fn open_file(&self) -> String {
        format!("{self}.open")
    }

    /// What stays of a segment that was removed: its footer page, so that the chain can still be checked.
    pub fn removed_file(&self) -> String {
        format!("{self}.gone")
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}-{:016x}", self.series, self.base_pos)
    }
}

impl FromStr for SegmentName {
    type Err = String;

    fn from_str(text: &str) -> Result<SegmentName, String> {
        let problem = || {
            format!(
                "\"{text}\" is not a segment's name: sixteen hexadecimal digits, a hyphen and sixteen more"
            )
        };
        let (series, base_pos) = text.split_once('-').ok_or_else(problem)?;
        let number = |digits: &str| {
            let lower = digits.bytes().all(|octet| octet.is_ascii_digit() || (b'a'..=b'f').contains(&octet));
            if digits.len() == 16 && lower { u64::from_str_radix(digits, 16).ok() } else { None }
        };
        match (number(series), number(base_pos)) {
            (Some(series), Some(base_pos)) => Ok(SegmentName { series, base_pos }),
            _ => Err(problem()),
        }
    }
}

impl TryFrom<String> for SegmentName {
    type Error = String;

    fn try_from(text: String) -> Result<SegmentName, String> {
        text.parse()
    }
}

impl From<SegmentName> for String {
    fn from(name: SegmentName) -> String {
        name.to_string()
    }
}

/// A place in a stream, over all its segments and rings: what a follower keeps to go on later.
/// Places order as the stream does. Within a series, `position.seq` alone names a record. As text, for cursors and
/// interfaces, it is four hexadecimal numbers: series, sequence number, log position, payload octets before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    /// The numbering, as in [`SegmentName`].
    pub series: u64,
    /// The next record.
    pub position: Position,
}

impl Ord for Place {
    fn cmp(&self, other: &Place) -> Ordering {
        (self.series, self.position.seq).cmp(&(other.series, other.position.seq)).then_with(|| {
            (self.position.pos, self.position.payload).cmp(&(other.position.pos, other.position.payload))
        })
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Place) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { seq, pos, payload } = self.position;
        write!(out, "{:016x}-{seq:x}-{pos:x}-{payload:x}", self.series)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let numbers: Option<Vec<u64>> = text
            .split('-')
            .map(|digits| {
                let plain =
                    (1..=16).contains(&digits.len()) && digits.bytes().all(|octet| octet.is_ascii_hexdigit());
                if plain { u64::from_str_radix(digits, 16).ok() } else { None }
            })
            .collect();
        match numbers.as_deref() {
            Some(&[series, seq, pos, payload]) => {
                Ok(Place { series, position: Position { seq, pos, payload } })
            }
            _ => Err(format!(
                "\"{text}\" is not a place: four hexadecimal numbers joined by hyphens are expected"
            )),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Place, String> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> String {
        place.to_string()
    }
}
