//! What is wanted: the parts of a query and their canonical text.

use std::fmt;

use fep_colour::Colour;
use fep_record::Session;

use crate::{Numbers, time_text};

/// Defines an enumeration whose values have one spelling in queries.
macro_rules! spelled {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// As it stands in a query.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

spelled! {
    /// What a retrieval yields.
    Unit {
        /// Transfer frames.
        Frames = "frames",
        /// Packets.
        Packets = "packets",
    }
}

spelled! {
    /// How good a unit must be.
    Quality {
        /// A code or an error control field vouches for it, corrected or not.
        Good = "good",
        /// Good, and nothing had to be corrected.
        Clean = "clean",
        /// Good, and something was corrected.
        Corrected = "corrected",
        /// Not good: the octets are as received.
        Bad = "bad",
        /// Any.
        Any = "any",
    }
}

spelled! {
    /// Whether idle frames and idle packets are wanted.
    Idle {
        /// With all others.
        Yes = "yes",
        /// Left out.
        No = "no",
        /// Nothing else.
        Only = "only",
    }
}

spelled! {
    /// The form of the answer.
    Format {
        /// One JSON object a line: the columns of the index.
        JsonLines = "jsonl",
        /// The columns of the index as comma-separated values with a header line.
        Csv = "csv",
        /// The columns of the index and the octets, as Apache Parquet.
        Parquet = "parquet",
        /// Frame after frame, nothing between.
        Frames = "frames",
        /// Frames, each with the attached sync marker before it.
        Cadu = "cadu",
        /// Packet after packet, nothing between.
        Packets = "packets",
        /// PCAPNG, each unit in a UDP datagram.
        Pcapng = "pcapng",
    }
}

impl Format {
    /// The forms that a unit can take.
    #[must_use]
    pub const fn of_unit(unit: Unit) -> &'static [Format] {
        match unit {
            Unit::Frames => &[
                Format::JsonLines,
                Format::Csv,
                Format::Parquet,
                Format::Frames,
                Format::Cadu,
                Format::Pcapng,
            ],
            Unit::Packets => {
                &[Format::JsonLines, Format::Csv, Format::Parquet, Format::Packets, Format::Pcapng]
            }
        }
    }

    /// End of file names of this form.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Format::JsonLines => "jsonl",
            Format::Csv => "csv",
            Format::Parquet => "parquet",
            Format::Frames => "tf",
            Format::Cadu => "cadu",
            Format::Packets => "pkt",
            Format::Pcapng => "pcapng",
        }
    }

    /// Media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Format::JsonLines => "application/jsonl",
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::Parquet => "application/vnd.apache.parquet",
            Format::Frames | Format::Cadu | Format::Packets => "application/octet-stream",
            Format::Pcapng => "application/x-pcapng",
        }
    }
}

/// Which units. All conditions must hold; one that is `None` takes all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Received at or after this time, nanoseconds of TAI since 1958-01-01.
    pub from_tai_ns: Option<i64>,
    /// Received before this time.
    pub to_tai_ns: Option<i64>,
    /// Stamped on board at or after this time (packets with a secondary header whose time code is known).
    pub onboard_from_tai_ns: Option<i64>,
    /// Stamped on board before this time.
    pub onboard_to_tai_ns: Option<i64>,
    /// Spacecraft.
    pub scid: Option<Numbers>,
    /// Virtual channels.
    pub vcid: Option<Numbers>,
    /// Application processes (packets).
    pub apid: Option<Numbers>,
    /// Station links, by the number in records.
    pub link: Option<Numbers>,
    /// Rings that the data came by, e.g. `npp.frames`; sorted.
    pub ring: Vec<String>,
    /// Red and black data are never mixed.
    pub colour: Colour,
    /// Sessions; sorted, never empty.
    pub session: Vec<Session>,
    /// Service type of the packet utilisation standard (packets).
    pub pus_type: Option<Numbers>,
    /// Service subtype (packets).
    pub pus_subtype: Option<Numbers>,
    /// How good.
    pub quality: Quality,
    /// Idle data.
    pub idle: Idle,
    /// What several antennas received is served once: the best, then the earliest. `false` serves every copy.
    pub merged: bool,
}

impl Default for Selection {
    /// Good units of the OPS session, black, merged, idle data included.
    fn default() -> Selection {
        Selection {
            from_tai_ns: None,
            to_tai_ns: None,
            onboard_from_tai_ns: None,
            onboard_to_tai_ns: None,
            scid: None,
            vcid: None,
            apid: None,
            link: None,
            ring: Vec::new(),
            colour: Colour::Black,
            session: vec![Session::Ops],
            pus_type: None,
            pus_subtype: None,
            quality: Quality::Good,
            idle: Idle::Yes,
            merged: true,
        }
    }
}

/// What is wanted and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Retrieval {
    /// Frames or packets.
    pub unit: Unit,
    /// Which of them.
    pub selection: Selection,
    /// The form of the answer.
    pub format: Format,
    /// Whether the octets stand in a tabular form as well (`octets`); never in the others, which are nothing else.
    pub octets: bool,
    /// At most so many units.
    pub limit: Option<u64>,
}

impl Retrieval {
    /// All units of this kind, in the default form.
    #[must_use]
    pub fn all(unit: Unit) -> Retrieval {
        Retrieval {
            unit,
            selection: Selection::default(),
            format: Format::JsonLines,
            octets: false,
            limit: None,
        }
    }

    /// The same in another form.
    #[must_use]
    pub fn in_format(mut self, format: Format) -> Retrieval {
        self.octets = format == Format::Parquet;
        self.format = format;
        self
    }
}

impl fmt::Display for Retrieval {
    /// The canonical query. Defaults are left out, but for the form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Selection {
            from_tai_ns,
            to_tai_ns,
            onboard_from_tai_ns,
            onboard_to_tai_ns,
            scid,
            vcid,
            apid,
            link,
            ring,
            colour,
            session,
            pus_type,
            pus_subtype,
            quality,
            idle,
            merged,
        } = &self.selection;
        let default = Selection::default();
        let times = [
            ("from", from_tai_ns),
            ("to", to_tai_ns),
            ("onboard_from", onboard_from_tai_ns),
            ("onboard_to", onboard_to_tai_ns),
        ];
        for (name, time) in times {
            if let Some(time) = time {
                write!(f, "{name}={}&", time_text(*time))?;
            }
        }
        let numbers = [
            ("scid", scid),
            ("vcid", vcid),
            ("apid", apid),
            ("link", link),
            ("pus_type", pus_type),
            ("pus_subtype", pus_subtype),
        ];
        for (name, numbers) in numbers {
            if let Some(numbers) = numbers {
                write!(f, "{name}={numbers}&")?;
            }
        }
        if !ring.is_empty() {
            write!(f, "ring={}&", ring.join(","))?;
        }
        if *colour != default.colour {
            write!(f, "colour={colour}&")?;
        }
        if *session != default.session {
            let names: Vec<&str> = session.iter().map(|session| session_name(*session)).collect();
            write!(f, "session={}&", names.join(","))?;
        }
        if *quality != default.quality {
            write!(f, "quality={quality}&")?;
        }
        if *idle != default.idle {
            write!(f, "idle={idle}&")?;
        }
        if *merged != default.merged {
            f.write_str("merged=no&")?;
        }
        if let Some(limit) = self.limit {
            write!(f, "limit={limit}&")?;
        }
        if self.octets != (self.format == Format::Parquet) {
            write!(f, "octets={}&", if self.octets { "yes" } else { "no" })?;
        }
        write!(f, "format={}", self.format)
    }
}

/// A session as it stands in a query.
pub(crate) const fn session_name(session: Session) -> &'static str {
    match session {
        Session::Ops => "ops",
        Session::Test => "test",
        Session::Replay => "replay",
    }
}
