//! Rows of the database into the model's types. A value that cannot be is an error with its column, never a guess.

use std::str::FromStr;

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::model::{
    Channel, Contact, Gap, IndexFile, Presence, PresenceCounts, Run, Segment, SegmentFacts, SegmentId,
    StoredObject,
};
use crate::{Error, hex};

/// Columns of `segments`, in the order that [`segment`] does not depend on.
pub(super) const SEGMENT_COLUMNS: &str = "id, ring, colour, series, base_pos, first_seq, end_seq, records, \
     lost_records, file_octets, content_sha256, chain, previous_chain, first_rx, last_rx, frames, packets, \
     payload_octets, state, state_reason, tier, object_key, object_octets, object_sha256, frames_key, \
     frames_octets, frames_sha256, packets_key, packets_octets, packets_sha256";

pub(super) fn int(row: &AnyRow, column: &'static str) -> Result<i64, Error> {
    row.try_get(column).map_err(Error::sql("reading a number"))
}

pub(super) fn opt_int(row: &AnyRow, column: &'static str) -> Result<Option<i64>, Error> {
    row.try_get(column).map_err(Error::sql("reading a number"))
}

pub(super) fn text(row: &AnyRow, column: &'static str) -> Result<String, Error> {
    row.try_get(column).map_err(Error::sql("reading a text"))
}

pub(super) fn opt_text(row: &AnyRow, column: &'static str) -> Result<Option<String>, Error> {
    row.try_get(column).map_err(Error::sql("reading a text"))
}

/// A number in the range of `T`.
pub(super) fn number<T: TryFrom<i64>>(row: &AnyRow, column: &'static str) -> Result<T, Error> {
    let value = int(row, column)?;
    T::try_from(value).map_err(|_| Error::Row { column, problem: format!("{value}, which is out of range") })
}

/// A name of an enumeration.
pub(super) fn name<T: FromStr<Err: Into<Error>>>(row: &AnyRow, column: &'static str) -> Result<T, Error> {
    text(row, column)?.parse().map_err(Into::into)
}

pub(super) fn hash(row: &AnyRow, column: &'static str) -> Result<[u8; 32], Error> {
    hash_of(&text(row, column)?, column)
}

pub(super) fn hash_of(text: &str, column: &'static str) -> Result<[u8; 32], Error> {
    hex::hash(text).ok_or_else(|| Error::Row { column, problem: format!("\"{text}\", which is no SHA-256") })
}

/// -1 in the database is `None`.
fn absent<T: TryFrom<i64>>(row: &AnyRow, column: &'static str) -> Result<Option<T>, Error> {
    if int(row, column)? == -1 { Ok(None) } else { number(row, column).map(Some) }
}

pub(super) fn segment(row: &AnyRow) -> Result<Segment, Error> {
    let index = |columns: [&'static str; 3], rows: u64| -> Result<Option<IndexFile>, Error> {
        let [key, octets, sha256] = columns;
        let Some(stored) = object(row, key, octets, sha256)? else { return Ok(None) };
        let StoredObject { key, octets, sha256 } = stored;
        Ok(Some(IndexFile { key, rows, octets, sha256 }))
    };
    let (frames, packets) = (number(row, "frames")?, number(row, "packets")?);
    Ok(Segment {
        facts: SegmentFacts {
            ring: text(row, "ring")?,
            colour: name(row, "colour")?,
            series: number(row, "series")?,
            base_pos: number(row, "base_pos")?,
            first_seq: number(row, "first_seq")?,
            end_seq: number(row, "end_seq")?,
            records: number(row, "records")?,
            lost_records: number(row, "lost_records")?,
            file_octets: number(row, "file_octets")?,
            content_sha256: hash(row, "content_sha256")?,
            chain: hash(row, "chain")?,
            previous_chain: hash(row, "previous_chain")?,
        },
        first_rx_tai_ns: opt_int(row, "first_rx")?,
        last_rx_tai_ns: opt_int(row, "last_rx")?,
        frames,
        packets,
        payload_octets: number(row, "payload_octets")?,
        state: name(row, "state")?,
        state_reason: text(row, "state_reason")?,
        tier: name(row, "tier")?,
        object: object(row, "object_key", "object_octets", "object_sha256")?,
        frames_index: index(["frames_key", "frames_octets", "frames_sha256"], frames)?,
        packets_index: index(["packets_key", "packets_octets", "packets_sha256"], packets)?,
    })
}

fn object(
    row: &AnyRow,
    key: &'static str,
    octets: &'static str,
    sha256: &'static str,
) -> Result<Option<StoredObject>, Error> {
    match opt_text(row, key)? {
        None => Ok(None),
        Some(key) => Ok(Some(StoredObject { key, octets: number(row, octets)?, sha256: hash(row, sha256)? })),
    }
}

pub(super) fn channel(row: &AnyRow) -> Result<Channel, Error> {
    Ok(Channel {
        link: number(row, "link")?,
        session: number(row, "session")?,
        tfvn: number(row, "tfvn")?,
        scid: number(row, "scid")?,
        vcid: number(row, "vcid")?,
        expedited: int(row, "expedited")? != 0,
        apid: absent(row, "apid")?,
    })
}

pub(super) fn run(row: &AnyRow) -> Result<Run, Error> {
    Ok(Run {
        channel: channel(row)?,
        first_seq: number(row, "first_seq")?,
        last_seq: number(row, "last_seq")?,
        first_rx_tai_ns: int(row, "first_rx")?,
        last_rx_tai_ns: int(row, "last_rx")?,
        first_count: number(row, "first_count")?,
        last_count: number(row, "last_count")?,
        units: number(row, "units")?,
        duplicates: number(row, "duplicates")?,
        modulus: number(row, "modulus")?,
        first_flags: number(row, "first_flags")?,
    })
}

/// A presence, with the ring and colour of its segment.
pub(super) fn contact(row: &AnyRow) -> Result<Contact, Error> {
    Ok(Contact {
        ring: text(row, "ring")?,
        colour: name(row, "colour")?,
        presence: Presence {
            link: number(row, "link")?,
            session: number(row, "session")?,
            scid: absent(row, "scid")?,
            by_packets: int(row, "by_packets")? != 0,
            first_rx_tai_ns: int(row, "first_rx")?,
            last_rx_tai_ns: int(row, "last_rx")?,
            counts: PresenceCounts {
                units: number(row, "units")?,
                bad: number(row, "bad")?,
                corrected: number(row, "corrected")?,
                idle: number(row, "idle")?,
                octets: number(row, "octets")?,
            },
        },
    })
}

pub(super) fn gap(row: &AnyRow) -> Result<Gap, Error> {
    Ok(Gap {
        id: text(row, "id")?,
        ring: text(row, "ring")?,
        colour: name(row, "colour")?,
        series: number(row, "series")?,
        channel: channel(row)?,
        from_count: number(row, "from_count")?,
        to_count: number(row, "to_count")?,
        lost: number(row, "lost")?,
        modulus: number(row, "modulus")?,
        cause: name(row, "cause")?,
        after_seq: number(row, "after_seq")?,
        before_seq: number(row, "before_seq")?,
        start_tai_ns: int(row, "start_rx")?,
        stop_tai_ns: int(row, "stop_rx")?,
        state: name(row, "state")?,
    })
}

pub(super) fn segment_id(row: &AnyRow, column: &'static str) -> Result<SegmentId, Error> {
    text(row, column).map(SegmentId)
}
