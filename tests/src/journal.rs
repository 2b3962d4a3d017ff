//! What the test's own consumer process saw, written down so that it survives the consumer's death: one line of fixed
//! length for each record and each gap, in the order seen. After a `kill -9` the last lines may be there twice, because the
//! cursor is stored behind them; they must then say the same.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;

use fep_bus::{Gap, Record};
use fep_sim::frame_hash;

/// Octets of one line.
const LINE_LEN: usize = 48;
/// Kind of lines that stand for a gap; the bus reserves it.
const KIND_GAP: u16 = 0xFFFF;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A record that was read.
    Record {
        /// Sequence number in the ring.
        seq: u64,
        /// Kind of the record.
        kind: u16,
        /// Its flags.
        flags: u16,
        /// Octets of its payload.
        len: u32,
        /// Its user words.
        words: [u64; 2],
        /// [`frame_hash`] of its payload.
        hash: u64,
    },
    /// Records that were lost on the bus.
    Gap {
        /// First lost record.
        from_seq: u64,
        /// First record after.
        to_seq: u64,
        /// Payload octets lost.
        bytes: u64,
    },
}

impl Line {
    /// The line of a record.
    #[must_use]
    pub fn of_record(record: &Record, payload: &[u8]) -> Line {
        let (kind, flags, words) = (record.tag.kind, record.tag.flags, record.tag.words);
        Line::Record { seq: record.seq, kind, flags, len: record.len, words, hash: frame_hash(payload) }
    }

    /// The line of a gap.
    #[must_use]
    pub fn of_gap(gap: &Gap) -> Line {
        Line::Gap { from_seq: gap.from_seq, to_seq: gap.to_seq, bytes: gap.bytes }
    }

    /// Appends the line's octets.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let words: [u64; 6] = match *self {
            Line::Record { seq, kind, flags, len, words, hash } => [
                seq,
                u64::from(kind) | u64::from(flags) << 16 | u64::from(len) << 32,
                words[0],
                words[1],
                hash,
                0,
            ],
            Line::Gap { from_seq, to_seq, bytes } => [from_seq, u64::from(KIND_GAP), to_seq, bytes, 0, 0],
        };
        words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }

    fn read_from(line: &[u8; LINE_LEN]) -> Line {
        let (words, _) = line.as_chunks::<8>();
        let word = |index: usize| u64::from_le_bytes(words[index]);
        match word(1) as u16 {
            KIND_GAP => Line::Gap { from_seq: word(0), to_seq: word(2), bytes: word(3) },
            kind => Line::Record {
                seq: word(0),
                kind,
                flags: (word(1) >> 16) as u16,
                len: (word(1) >> 32) as u32,
                words: [word(2), word(3)],
                hash: word(4),
            },
        }
    }
}

/// A journal being written.
#[derive(Debug)]
pub struct Writer {
    file: std::fs::File,
    pending: Vec<u8>,
}

impl Writer {
    /// Continues (or begins) the journal at `path`; a line that a killed predecessor left unfinished is cut off.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> std::io::Result<Writer> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let len = file.metadata()?.len();
        file.set_len(len - len % LINE_LEN as u64)?;
        Ok(Writer { file, pending: Vec::new() })
    }

    /// Adds a line; it is in the file after [`Writer::flush`].
    pub fn add(&mut self, line: Line) {
        line.write_to(&mut self.pending);
    }

    /// Lines added and not yet in the file.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len() / LINE_LEN
    }

    /// Puts all lines into the file.
    ///
    /// # Errors
    /// What the system says.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.file.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

/// Whole lines of a journal; 0 if there is none yet.
#[must_use]
pub fn written(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len() / LINE_LEN as u64)
}

/// Reads a journal: whole lines, in the order written.
///
/// # Errors
/// What the system says.
pub fn read(path: &Path) -> std::io::Result<Vec<Line>> {
    let mut octets = Vec::new();
    std::fs::File::open(path)?.read_to_end(&mut octets)?;
    Ok(octets.as_chunks::<LINE_LEN>().0.iter().map(Line::read_from).collect())
}

/// The records of a journal in the order of the ring, each once, and the gaps.
///
/// # Panics
/// If a record that was read twice was not the same both times, or one is missing without a gap that covers it.
#[must_use]
pub fn settle(lines: &[Line]) -> (Vec<Line>, Vec<Line>) {
    let mut records: Vec<Line> = Vec::with_capacity(lines.len());
    let mut gaps = Vec::new();
    let mut first_seq = None;
    for line in lines {
        let next = first_seq.map(|first: u64| first + records.len() as u64 + lost(&gaps));
        match *line {
            Line::Record { seq, .. } => {
                let next = next.unwrap_or(seq);
                first_seq.get_or_insert(seq);
                if seq < next {
                    let before = records
                        .iter()
                        .rev()
                        .find(|known| matches!(known, Line::Record { seq: s, .. } if *s == seq));
                    assert_eq!(before, Some(line), "record {seq} was read twice and differs");
                } else {
                    assert_eq!(seq, next, "records between are missing without a gap");
                    records.push(*line);
                }
            }
            Line::Gap { from_seq, .. } => {
                first_seq.get_or_insert(from_seq);
                if !gaps.contains(line) {
                    assert_eq!(
                        from_seq,
                        next.unwrap_or(from_seq),
                        "the gap does not begin where reading stopped"
                    );
                    gaps.push(*line);
                }
            }
        }
    }
    (records, gaps)
}

/// Records lost in gaps.
#[must_use]
pub fn lost(gaps: &[Line]) -> u64 {
    gaps.iter()
        .map(|gap| match gap {
            Line::Gap { from_seq, to_seq, .. } => to_seq - from_seq,
            Line::Record { .. } => 0,
        })
        .sum()
}
