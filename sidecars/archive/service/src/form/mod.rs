//! The forms of an answer: how rows and octets are written.
//!
//! A form is deterministic: the same units give the same octets, so that an answer can be asked for again from any
//! offset, and its hash can be told in a manifest.

mod columns;
mod parquet;
mod pcapng;
mod plain;

use fep_archive_query::{Format, Retrieval};
use fep_catalogue::Colour;

use crate::retrieval::{Columns, Error, Row};

pub use pcapng::{FRAMES_UDP_PORT, PACKETS_UDP_PORT};
pub use plain::MARKER;

/// A unit to write.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// Its row.
    pub row: &'a Row,
    /// Red or black.
    pub colour: Colour,
    /// Ring it came by.
    pub ring: &'a str,
    /// Its octets; empty when the form does not want them.
    pub octets: &'a [u8],
}

/// Writes units one after the other. Whatever is complete is appended to `out`.
pub trait Form: Send {
    /// What stands before the first unit: nothing, unless the form has a head.
    ///
    /// # Errors
    /// [`Error::Form`].
    fn begin(&mut self, _out: &mut Vec<u8>) -> Result<(), Error> {
        Ok(())
    }

    /// A unit.
    ///
    /// # Errors
    /// [`Error::Form`].
    fn unit(&mut self, unit: &Written<'_>, out: &mut Vec<u8>) -> Result<(), Error>;

    /// What stands after the last unit: nothing, unless the form has a tail.
    ///
    /// # Errors
    /// [`Error::Form`].
    fn end(&mut self, _out: &mut Vec<u8>) -> Result<(), Error> {
        Ok(())
    }

    /// Octets that this row's unit takes, if that can be said without writing it; then they depend on nothing else.
    fn unit_len(&self, _row: &Row) -> Option<u64> {
        None
    }

    /// Whether [`Form::unit`] needs the octets.
    fn wants_octets(&self) -> bool;
}

/// The writer of a retrieval's form.
#[must_use]
pub fn form_of(retrieval: &Retrieval, columns: &Columns) -> Box<dyn Form> {
    let octets = retrieval.octets;
    match retrieval.format {
        Format::JsonLines => Box::new(columns::JsonLines(columns::Texts::new(columns, octets))),
        Format::Csv => Box::new(columns::Csv(columns::Texts::new(columns, octets))),
        Format::Parquet => Box::new(parquet::Parquet::new(columns, octets)),
        Format::Frames | Format::Packets => Box::new(plain::Plain::new(columns, &[])),
        Format::Cadu => Box::new(plain::Plain::new(columns, &MARKER)),
        Format::Pcapng => Box::new(pcapng::Pcapng::new(columns)),
    }
}

/// How a stranger reads a file of this form: part of every manifest.
#[must_use]
pub fn how_to_read(format: Format) -> String {
    match format {
        Format::JsonLines => "One JSON object a line, UTF-8. rx_tai_ns is TAI in nanoseconds since 1958-01-01, rx_utc \
            the same in UTC; octets, where present, is hexadecimal."
            .to_owned(),
        Format::Csv => "RFC 4180 with a header line, UTF-8. rx_tai_ns is TAI in nanoseconds since 1958-01-01, rx_utc \
            the same in UTC; octets, where present, is hexadecimal; a field that does not apply is empty."
            .to_owned(),
        Format::Parquet => "Apache Parquet; any engine opens it (DuckDB: SELECT * FROM 'FILE'). session 0 OPS, 1 TEST, \
            2 REPLAY; quality 0 bad, 1 unchecked, 2 corrected, 3 good; octets is the unit itself."
            .to_owned(),
        Format::Frames => "Transfer frames one after the other without anything between, in order of reception. Frames \
            of one channel have one length (USLP: the length is in the header)."
            .to_owned(),
        Format::Cadu => "Each transfer frame with the attached sync marker 1ACFFC1D before it, in order of reception. \
            Decoded frames: there are no check symbols of a channel code, and nothing is randomised; read it as an \
            uncoded, unrandomised channel."
            .to_owned(),
        Format::Packets => "CCSDS packets one after the other without anything between (a packet file), in order of \
            reception; each header tells where the next packet begins (133.0-B-2 section 4.1)."
            .to_owned(),
        Format::Pcapng => format!(
            "PCAPNG with nanosecond UTC times. Each unit is the payload of an IPv4 UDP datagram to port \
            {PACKETS_UDP_PORT} (packets) or {FRAMES_UDP_PORT} (frames) from 10.S.S.V, S.S being the spacecraft \
            identifier in two octets and V the virtual channel, source port 49152 + link. Packets: tshark -d \
            udp.port=={PACKETS_UDP_PORT},ccsds -r FILE. What is too long for a datagram is on the second interface, \
            link type USER0 (147), bare."
        ),
    }
}
