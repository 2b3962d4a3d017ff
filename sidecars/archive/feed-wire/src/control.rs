//! What feed and client say to each other in JSON. `docs/feeds.md` has every member.

use fep_record::Session;
use serde::{Deserialize, Serialize};

use crate::filter::Filter;

/// Version of the protocol of framed feeds.
pub const PROTOCOL: u32 = 1;

/// Where a client starts that has no cursor yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With the oldest record that archive or ring still has.
    Oldest,
    /// With the next one to come.
    #[default]
    Live,
}

/// What a client says first on a framed feed that it connects to. Later ones are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromClient {
    /// Who it is and what it wants.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// Its name: 1 to 31 of `a-z 0-9 - _ .`, no dot first. The cursor belongs to the name.
        client: String,
        /// Its token, where the feeds know their clients.
        #[serde(default)]
        token: Option<String>,
        /// Where to start if the name has no cursor; the feed's own setting if left out.
        #[serde(default)]
        start: Option<Start>,
        /// Whether it will acknowledge what it has for good; then nothing else moves its cursor.
        #[serde(default)]
        acknowledge: bool,
        /// Narrows the feed's filter; never widens it.
        #[serde(default)]
        filter: Filter,
    },
}

/// What a feed says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum FromFeed {
    /// First on every connection, after the hello where there is one.
    Welcome {
        /// [`PROTOCOL`].
        protocol: u32,
        /// Name of the feed.
        feed: String,
        /// Name of the client, as its cursor has it.
        client: String,
        /// Session of every record that will come.
        session: Session,
        /// The sources; a record names its own by its index here.
        sources: Vec<SourcePlace>,
    },
    /// Instead of a welcome, before the connection is closed.
    Refused {
        /// Why.
        reason: String,
        /// What would be right.
        allowed: String,
    },
    /// The client has caught up with the ring, or has fallen behind it and is served from the archive, or the ring has
    /// begun to count anew.
    State {
        /// Index of the source.
        source: u16,
        /// Whether records come from the ring.
        live: bool,
        /// The numbering that sequence numbers belong to from here on.
        series: u64,
        /// The record that comes next.
        next_seq: u64,
    },
    /// Records that nobody has any more, in their place in the stream.
    Lost {
        /// Index of the source.
        source: u16,
        /// First lost record.
        from_seq: u64,
        /// First record after.
        to_seq: u64,
        /// Why.
        reason: Lost,
    },
    /// Nothing to send, and the connection stands.
    Alive {
        /// Sources whose next records exist and cannot be read at the moment; they are not lost.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waiting: Vec<Waiting>,
    },
}

/// Why a record that was wanted was not sent. In this order they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// Neither in the ring nor in the archive any more: there is no recorder, or it lost it itself.
    Source,
    /// In the archive, but damaged there.
    Damaged,
    /// Its length is not that of the feed's frames, or more than a datagram holds.
    Length,
    /// The system did not take the datagram.
    Refused,
}

impl Lost {
    /// Every reason, in order.
    pub const ALL: [Lost; 4] = [Lost::Source, Lost::Damaged, Lost::Length, Lost::Refused];

    /// Name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Lost::Source => "source",
            Lost::Damaged => "damaged",
            Lost::Length => "length",
            Lost::Refused => "refused",
        }
    }
}

/// A source whose next records exist and cannot be read at the moment: they were moved to an object store that is away, or the
/// disk fails to read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Index of the source.
    pub source: u16,
    /// The numbering that the sequence number belongs to.
    pub series: u64,
    /// The record that is waited for.
    pub from_seq: u64,
}

/// Where a client stands in a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePlace {
    /// Name of the ring.
    pub ring: String,
    /// The numbering that its sequence numbers belong to. It changes when the ring begins to count anew.
    pub series: u64,
    /// The record that comes next.
    pub next_seq: u64,
    /// Records before this one may have been sent before and are marked as repeated when they come. Equal to `next_seq`
    /// (or less) when nothing is repeated.
    pub sent_before_seq: u64,
}

/// The JSON text of what a feed says.
#[must_use]
pub fn to_json(said: &FromFeed) -> Vec<u8> {
    // Every member is a number, a text or a list of such: there is nothing that could fail.
    serde_json::to_vec(said).unwrap_or_default()
}
