//! The first page of a segment: whose it is and where it begins.

use fep_bus::{Colour, Position};

use crate::correct::correct_octet;
use crate::layout::{
    FORMAT_VERSION, PAGE_LEN, SEGMENT_MAGIC, half, head, name_at, put_half, put_name, put_word, word,
};
use crate::name::{SegmentName, Stream};

/// What the header page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The recorded ring.
    pub stream: Stream,
    /// What its records are, e.g. `ccsds.frame.v1`; at most 31 octets.
    pub schema: String,
    /// Random, never 0; every block and the footer repeat it.
    pub id: u64,
    /// The ring file it was copied from; 0 for records that came from no ring.
    pub instance: u64,
    /// The numbering, see [`SegmentName`].
    pub series: u64,
    /// Where the stream stood when the segment was begun.
    pub base: Position,
    /// When it was begun, nanoseconds since 1970 (UTC).
    pub created_unix_ns: u64,
    /// The segment before it in its stream.
    pub previous: Option<SegmentName>,
}

impl SegmentHeader {
    /// The segment's name.
    pub fn name(&self) -> SegmentName {
        SegmentName { series: self.series, base_pos: self.base.pos }
    }

    /// The page.
    pub fn to_page(&self) -> [u8; PAGE_LEN] {
        let mut page = [0; PAGE_LEN];
        page[..8].copy_from_slice(&SEGMENT_MAGIC);
        put_half(&mut page, head::VERSION, FORMAT_VERSION);
        put_half(&mut page, head::COLOUR, colour_code(self.stream.colour));
        put_word(&mut page, head::ID, self.id);
        put_word(&mut page, head::INSTANCE, self.instance);
        put_word(&mut page, head::SERIES, self.series);
        put_word(&mut page, head::BASE_SEQ, self.base.seq);
        put_word(&mut page, head::BASE_POS, self.base.pos);
        put_word(&mut page, head::BASE_PAYLOAD, self.base.payload);
        put_word(&mut page, head::CREATED_UNIX_NS, self.created_unix_ns);
        if let Some(previous) = self.previous {
            put_word(&mut page, head::HAS_PREVIOUS, 1);
            put_word(&mut page, head::PREVIOUS_SERIES, previous.series);
            put_word(&mut page, head::PREVIOUS_BASE_POS, previous.base_pos);
        }
        put_name(&mut page, head::RING_NAME, &self.stream.ring);
        put_name(&mut page, head::SCHEMA, &self.schema);
        let crc = crc32c::crc32c(&page[..head::CRC]);
        put_half(&mut page, head::CRC, crc);
        page
    }

    /// The header of segment `name` as the page says it, or as it must have been when one octet of the page is wrong.
    pub(crate) fn legible(
        page: &[u8; PAGE_LEN],
        stream: &Stream,
        name: SegmentName,
    ) -> Option<SegmentHeader> {
        let fits = |header: &SegmentHeader| header.stream == *stream && header.name() == name;
        if let Some(header) = SegmentHeader::parse(page).ok().filter(fits) {
            return Some(header);
        }
        let right = correct_octet(page, head::CRC, |page| {
            SegmentHeader::parse(page).is_ok_and(|header| fits(&header))
        })?;
        SegmentHeader::parse(&right).ok()
    }

    /// Reads the page; says what is wrong with it.
    pub fn parse(page: &[u8; PAGE_LEN]) -> Result<SegmentHeader, String> {
        let magic = &page[head::MAGIC..head::MAGIC + 8];
        if magic != SEGMENT_MAGIC {
            return Err(format!("it begins with {magic:02x?}, a segment with {SEGMENT_MAGIC:02x?}"));
        }
        let version = half(page, head::VERSION);
        if version != FORMAT_VERSION {
            return Err(format!("format version {version}, this program reads {FORMAT_VERSION}"));
        }
        let crc = crc32c::crc32c(&page[..head::CRC]);
        if crc != half(page, head::CRC) {
            return Err("the checksum of the header page does not hold".to_owned());
        }
        let name = |offset, what: &str| {
            name_at(page, offset).ok_or_else(|| format!("the {what} is not zero-filled ASCII"))
        };
        let stream =
            Stream::new(colour_of(half(page, head::COLOUR))?, name(head::RING_NAME, "name of the ring")?);
        Ok(SegmentHeader {
            stream,
            schema: name(head::SCHEMA, "schema")?,
            id: word(page, head::ID),
            instance: word(page, head::INSTANCE),
            series: word(page, head::SERIES),
            base: Position {
                seq: word(page, head::BASE_SEQ),
                pos: word(page, head::BASE_POS),
                payload: word(page, head::BASE_PAYLOAD),
            },
            created_unix_ns: word(page, head::CREATED_UNIX_NS),
            previous: (word(page, head::HAS_PREVIOUS) != 0).then(|| SegmentName {
                series: word(page, head::PREVIOUS_SERIES),
                base_pos: word(page, head::PREVIOUS_BASE_POS),
            }),
        })
    }
}

pub(crate) const fn colour_code(colour: Colour) -> u32 {
    match colour {
        Colour::Black => 0,
        Colour::Red => 1,
    }
}

pub(crate) fn colour_of(code: u32) -> Result<Colour, String> {
    match code {
        0 => Ok(Colour::Black),
        1 => Ok(Colour::Red),
        other => Err(format!("colour {other}, 0 (black) or 1 (red) is expected")),
    }
}
