//! What the archive asks of the process that answers SQL, and what comes back.
//!
//! The process reads one order from its standard input, answers it on its standard output, and ends: a head in JSON behind
//! its length (four octets, big-endian), then what the head announces. Whoever ordered may kill it at any moment.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A longer head is no order of ours: a million files have about a hundred million octets.
pub const HEAD_MAX: u32 = 1 << 29;

/// What follows the last tail: an order without it broke off.
pub const ORDER_END: [u8; 4] = *b"done";

/// A query and what it is asked of. `S` says where the store is. Each table's open tail follows the head as an Arrow IPC stream
/// with the columns of the table, also where it has no row; then [`ORDER_END`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SqlOrder<S> {
    /// The query.
    pub sql: String,
    /// Rows of the answer, at most.
    pub rows_max: u64,
    /// Form of the rows.
    pub form: SqlForm,
    /// Threads that it may use.
    pub threads: usize,
    /// Memory that it may use for what it computes.
    pub memory_mib: usize,
    /// Where the files are.
    pub store: S,
    /// The tables.
    pub tables: Vec<SqlTable>,
}

/// A table over index files and an open tail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SqlTable {
    /// Its name.
    pub name: String,
    /// Its files.
    pub files: Vec<SqlFile>,
    /// Rows of its tail.
    pub tail_rows: u64,
}

/// An index file and what the catalogue knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlFile {
    /// Path in the store.
    pub path: String,
    /// Its length.
    pub octets: u64,
    /// Its rows.
    pub rows: u64,
    /// First and last receive time of its segment, nanoseconds of TAI since 1958.
    pub rx_tai_ns: (i64, i64),
    /// Colour of its ring.
    pub colour: String,
    /// Its ring.
    pub ring: String,
}

/// Form of the rows of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SqlForm {
    /// An array of objects.
    #[default]
    Json,
    /// A line of names, then a line a row.
    Csv,
}

/// Head of the reply; behind an answer follow the rows, to the end of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlReply {
    /// The rows follow.
    Answer {
        /// Names and types of the columns.
        columns: Vec<SqlColumn>,
        /// Whether there were more rows than the limit.
        truncated: bool,
        /// How long it took.
        took_ms: u64,
    },
    /// There is no answer.
    Refusal {
        /// The kind of the reason.
        kind: SqlRefusal,
        /// The reason.
        detail: String,
    },
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlColumn {
    /// Its name.
    pub name: String,
    /// Its type, as Arrow calls it.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// Why a query has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlRefusal {
    /// The text is no query, or names what does not exist.
    Query,
    /// It wants to change something.
    NotReadOnly,
    /// It needs more memory than it may have.
    Memory,
    /// A fault of the program or the store.
    Fault,
}

/// Writes a head.
///
/// # Errors
/// The stream cannot be written, or the head is longer than [`HEAD_MAX`].
pub fn write_head(stream: &mut impl Write, head: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(head)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= HEAD_MAX);
    let length =
        length.ok_or_else(|| io::Error::other(format!("a head of {} octets is too long", text.len())))?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&text)
}

/// Reads a head; `None` where the stream ends before it.
///
/// # Errors
/// The stream cannot be read, ends within the head, or holds no such head.
pub fn read_head<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match stream.read(&mut length)? {
        0 => return Ok(None),
        read => stream.read_exact(&mut length[read..])?,
    }
    let length = u32::from_be_bytes(length);
    if length > HEAD_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a head of {length} octets is too long"),
        ));
    }
    let mut text = Vec::new();
    stream.take(length.into()).read_to_end(&mut text)?;
    if text.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(serde_json::from_slice(&text)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal() -> SqlReply {
        SqlReply::Refusal { kind: SqlRefusal::Memory, detail: "too much".to_owned() }
    }

    // REQ: FEP-ARCS-450
    #[test]
    fn a_head_comes_back_as_it_was_written_and_half_of_one_is_an_error() {
        let mut octets = Vec::new();
        write_head(&mut octets, &refusal()).expect("memory");
        octets.extend_from_slice(b"rows");
        let mut stream = octets.as_slice();
        assert_eq!(read_head::<SqlReply>(&mut stream).expect("whole"), Some(refusal()));
        assert_eq!(stream, b"rows");
        assert_eq!(read_head::<SqlReply>(&mut &[][..]).expect("an end"), None);
        for cut in 1..octets.len() - 4 {
            assert!(read_head::<SqlReply>(&mut &octets[..cut]).is_err(), "{cut}");
        }
    }

    proptest! {
        // REQ: FEP-ARCS-450
        #[test]
        fn no_octets_make_the_reader_of_heads_panic_or_allocate_what_does_not_follow(octets: Vec<u8>) {
            let _ = read_head::<SqlReply>(&mut octets.as_slice());
        }
    }
}
