//! How records lie on the wire: `docs/feeds.md` byte by byte. Sans-I/O, both directions, so that a client written in
//! Rust, and every test, uses the code that serves it.
//!
//! ```
//! use fep_feed_wire::wire::{Decoder, Message, MESSAGE_MAX, encode_control};
//! let mut octets = Vec::new();
//! encode_control(br#"{"say":"alive"}"#, &mut octets);
//! let mut decoder = Decoder::new(MESSAGE_MAX);
//! decoder.push(&octets[..5]);
//! assert_eq!(decoder.next_message()?, None, "not whole yet");
//! decoder.push(&octets[5..]);
//! assert_eq!(decoder.next_message()?, Some(Message::Control(br#"{"say":"alive"}"#)));
//! # Ok::<(), fep_feed_wire::wire::WireError>(())
//! ```

use fep_bus::Tag;
use fep_time::Tai;

/// Octets that every message begins with: length, type, marks, source.
pub const HEAD_LEN: usize = 8;
/// Octets before the payload of a record message.
pub const RECORD_HEAD_LEN: usize = 64;
/// Longest message that a feed sends: a ring's extent holds no longer record.
pub const MESSAGE_MAX: usize = RECORD_HEAD_LEN + (64 << 20);
/// Longest message that a feed takes from a client.
pub const CLIENT_MESSAGE_MAX: usize = 64 << 10;

const TYPE_RECORD: u8 = 1;
const TYPE_CONTROL: u8 = 2;
const TYPE_ACKNOWLEDGEMENT: u8 = 3;

const MARK_REPEATED: u8 = 1;
const MARK_LIVE: u8 = 2;

/// What is sent with a record's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// Counts the records sent on this connection, from 1.
    pub number: u64,
    /// Which of the feed's sources it comes from, in the order that the welcome names them.
    pub source: u16,
    /// Its sequence number there.
    pub seq: u64,
    /// It was sent before on an earlier connection, and perhaps received.
    pub repeated: bool,
    /// It comes from the ring, not from the archive.
    pub live: bool,
    /// What its producer said of it.
    pub tag: Tag,
}

/// A message as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A record.
    Record(RecordHead, &'a [u8]),
    /// A JSON object: [`crate::control`].
    Control(&'a [u8]),
    /// The client has everything up to this number for good.
    Acknowledgement(u64),
}

/// The stream is no stream of messages (any more): the connection is of no further use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than what may come.
    #[error("a message of {len} octets, at most {max} are allowed")]
    TooLong {
        /// Its length, head included.
        len: usize,
        /// The most allowed.
        max: usize,
    },
    /// Shorter than its type needs.
    #[error("a message of type {kind} has {len} octets, at least {least} are needed")]
    TooShort {
        /// Its type.
        kind: u8,
        /// Its length, head included.
        len: usize,
        /// The least.
        least: usize,
    },
    /// None of the types there are.
    #[error("a message of type {0}, there are 1 (record), 2 (control), 3 (acknowledgement)")]
    UnknownType(u8),
}

/// Appends the message of a record whose payload has `payload_len` octets, up to its payload, which the caller appends.
pub fn encode_record_head(head: &RecordHead, payload_len: usize, out: &mut Vec<u8>) {
    let marks = if head.repeated { MARK_REPEATED } else { 0 } | if head.live { MARK_LIVE } else { 0 };
    let mut octets = [0; RECORD_HEAD_LEN];
    octets[0..4].copy_from_slice(&((RECORD_HEAD_LEN - 4 + payload_len) as u32).to_be_bytes());
    octets[4] = TYPE_RECORD;
    octets[5] = marks;
    octets[6..8].copy_from_slice(&head.source.to_be_bytes());
    octets[8..16].copy_from_slice(&head.number.to_be_bytes());
    octets[16..24].copy_from_slice(&head.seq.to_be_bytes());
    octets[24..32].copy_from_slice(&head.tag.received.0.to_be_bytes());
    octets[32..40].copy_from_slice(&head.tag.published.0.to_be_bytes());
    octets[40..42].copy_from_slice(&head.tag.kind.to_be_bytes());
    octets[42..44].copy_from_slice(&head.tag.flags.to_be_bytes());
    octets[48..56].copy_from_slice(&head.tag.words[0].to_be_bytes());
    octets[56..64].copy_from_slice(&head.tag.words[1].to_be_bytes());
    out.extend_from_slice(&octets);
}

/// Appends the message of a record.
pub fn encode_record(head: &RecordHead, payload: &[u8], out: &mut Vec<u8>) {
    encode_record_head(head, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends a control message.
pub fn encode_control(json: &[u8], out: &mut Vec<u8>) {
    encode_head(TYPE_CONTROL, json.len(), out);
    out.extend_from_slice(json);
}

/// Appends an acknowledgement.
pub fn encode_acknowledgement(number: u64, out: &mut Vec<u8>) {
    encode_head(TYPE_ACKNOWLEDGEMENT, 8, out);
    out.extend_from_slice(&number.to_be_bytes());
}

fn encode_head(kind: u8, body_len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&((HEAD_LEN - 4 + body_len) as u32).to_be_bytes());
    out.extend_from_slice(&[kind, 0, 0, 0]);
}

/// Takes octets as they come and gives whole messages.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    max: usize,
}

impl Decoder {
    /// For messages of at most `max` octets.
    #[must_use]
    pub fn new(max: usize) -> Decoder {
        Decoder { buffer: Vec::new(), start: 0, max }
    }

    /// Adds what was received.
    pub fn push(&mut self, octets: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(octets);
    }

    /// The next message, if it is whole.
    ///
    /// # Errors
    /// What came is no message; it stays so.
    pub fn next_message(&mut self) -> Result<Option<Message<'_>>, WireError> {
        let rest = &self.buffer[self.start..];
        let Some((length, _)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let len = (u32::from_be_bytes(*length) as usize).saturating_add(4);
        if len > self.max {
            return Err(WireError::TooLong { len, max: self.max });
        }
        let Some(message) = rest.get(..len) else { return Ok(None) };
        let message = parse(message)?;
        self.start += len;
        Ok(Some(message))
    }
}

/// Parses one whole message, as a UDP datagram holds it.
///
/// # Errors
/// It is none.
pub fn parse(message: &[u8]) -> Result<Message<'_>, WireError> {
    let len = message.len();
    let Some((head, body)) = message.split_first_chunk::<HEAD_LEN>() else {
        return Err(WireError::TooShort { kind: 0, len, least: HEAD_LEN });
    };
    let short = |least| WireError::TooShort { kind: head[4], len, least };
    match head[4] {
        TYPE_RECORD => {
            let Some((fields, payload)) = message.split_first_chunk::<RECORD_HEAD_LEN>() else {
                return Err(short(RECORD_HEAD_LEN));
            };
            Ok(Message::Record(parse_record_head(fields), payload))
        }
        TYPE_CONTROL => Ok(Message::Control(body)),
        TYPE_ACKNOWLEDGEMENT => match body.first_chunk::<8>() {
            Some(number) => Ok(Message::Acknowledgement(u64::from_be_bytes(*number))),
            None => Err(short(HEAD_LEN + 8)),
        },
        other => Err(WireError::UnknownType(other)),
    }
}

fn parse_record_head(fields: &[u8; RECORD_HEAD_LEN]) -> RecordHead {
    let (words, _) = fields.as_chunks::<8>();
    let word = |index: usize| u64::from_be_bytes(words[index]);
    RecordHead {
        number: word(1),
        source: u16::from_be_bytes([fields[6], fields[7]]),
        seq: word(2),
        repeated: fields[5] & MARK_REPEATED != 0,
        live: fields[5] & MARK_LIVE != 0,
        tag: Tag {
            kind: (word(5) >> 48) as u16,
            flags: (word(5) >> 32) as u16,
            received: Tai(word(3).cast_signed()),
            published: Tai(word(4).cast_signed()),
            words: [word(6), word(7)],
        },
    }
}
