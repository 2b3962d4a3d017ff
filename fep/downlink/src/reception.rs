//! What a station delivers: octets, and what is known of how they were received.

use fep_time::Tai;

/// What an antenna received, or one unit of a station protocol. The octets are borrowed for the call only.
#[derive(Debug, Clone, Copy)]
pub struct Reception<'a> {
    /// The octets: the next ones of the stream, or one whole unit.
    pub octets: &'a [u8],
    /// Earth receive time of the first bit of the octets.
    pub received: Tai,
    /// What the station says of them.
    pub quality: Quality,
    /// Which antenna: the number of the link in the records.
    pub antenna: u16,
}

impl<'a> Reception<'a> {
    /// Octets received at a time, by antenna 0, of which the station says nothing.
    #[must_use]
    pub const fn new(octets: &'a [u8], received: Tai) -> Reception<'a> {
        Reception { octets, received, quality: Quality::Unstated, antenna: 0 }
    }
}

/// What a station says of the quality of what it delivers (the frame quality of SLE RAF, 911.1-B-4 3.6.2.9).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    /// The station found errors that it could not correct.
    Erred,
    /// It says nothing.
    #[default]
    Unstated,
    /// It found none.
    Good,
}
