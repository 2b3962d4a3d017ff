//! PCAPNG: section header, two interfaces, and an enhanced packet block a unit, little-endian.
//!
//! There is no registered link type for CCSDS frames, and the `ccsds` dissector of Wireshark sits on UDP: so each unit is
//! the payload of a UDP datagram that says in its addresses where the unit came from (see [`super::how_to_read`]). Written
//! by hand: three kinds of blocks, whose length must be known without writing them.

use fep_archive_query::Unit;

use super::{Form, Written};
use crate::retrieval::{Columns, Error, Row};

/// UDP port of packets.
pub const PACKETS_UDP_PORT: u16 = 52_001;
/// UDP port of frames.
pub const FRAMES_UDP_PORT: u16 = 52_002;

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
/// Link type RAW: the packet begins with an IP header.
const LINKTYPE_RAW: u16 = 101;
/// Link type USER0: for what is too long for a datagram.
const LINKTYPE_USER0: u16 = 147;
const OPTION_END: u16 = 0;
const OPTION_INTERFACE_NAME: u16 = 2;
const OPTION_TIME_RESOLUTION: u16 = 9;
const NANOSECONDS: u8 = 9;
const IPV4_HEADER_LEN: usize = 20;
const UDP_HEADER_LEN: usize = 8;
const DATAGRAM_MAX: usize = 65_535 - IPV4_HEADER_LEN - UDP_HEADER_LEN;
/// Head and tail of an enhanced packet block.
const BLOCK_OVERHEAD: usize = 32;
const RECEIVER: [u8; 4] = [192, 0, 2, 1];
const SOURCE_PORT_BASE: u16 = 49_152;

pub(super) struct Pcapng {
    columns: Columns,
    port: u16,
}

impl Pcapng {
    pub(super) fn new(columns: &Columns) -> Pcapng {
        let port = match columns.unit {
            Unit::Frames => FRAMES_UDP_PORT,
            Unit::Packets => PACKETS_UDP_PORT,
        };
        Pcapng { columns: columns.clone(), port }
    }

    /// IPv4 and UDP headers of a unit.
    fn headers(&self, row: &Row, len: usize) -> [u8; IPV4_HEADER_LEN + UDP_HEADER_LEN] {
        let at = &self.columns;
        let scid = (row.number(at.scid) as u16).to_be_bytes();
        let source_port = SOURCE_PORT_BASE + (row.number(at.link) as u16 & 0x3FFF);
        let total = (IPV4_HEADER_LEN + UDP_HEADER_LEN + len) as u16;
        let mut headers = [0; IPV4_HEADER_LEN + UDP_HEADER_LEN];
        headers[0] = 0x45;
        headers[2..4].copy_from_slice(&total.to_be_bytes());
        headers[6] = 0x40; // Do not fragment.
        headers[8] = 64;
        headers[9] = 17;
        headers[12..16].copy_from_slice(&[10, scid[0], scid[1], row.number(at.vcid) as u8]);
        headers[16..20].copy_from_slice(&RECEIVER);
        let sum = headers[..IPV4_HEADER_LEN]
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| u32::from(u16::from_be_bytes(*pair)));
        let sum: u32 = sum.sum();
        let sum = (sum & 0xFFFF) + (sum >> 16);
        let sum = !((sum & 0xFFFF) + (sum >> 16)) as u16;
        headers[10..12].copy_from_slice(&sum.to_be_bytes());
        headers[20..22].copy_from_slice(&source_port.to_be_bytes());
        headers[22..24].copy_from_slice(&self.port.to_be_bytes());
        headers[24..26].copy_from_slice(&((UDP_HEADER_LEN + len) as u16).to_be_bytes());
        // A checksum of zero: none was computed (RFC 768).
        headers
    }
}

impl Form for Pcapng {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut section = Vec::new();
        section.extend_from_slice(&0x1A2B_3C4D_u32.to_le_bytes());
        section.extend_from_slice(&1_u16.to_le_bytes());
        section.extend_from_slice(&0_u16.to_le_bytes());
        section.extend_from_slice(&u64::MAX.to_le_bytes()); // Length of the section: not told.
        block(out, SECTION_HEADER, &section);
        for (link_type, name) in [(LINKTYPE_RAW, "archive"), (LINKTYPE_USER0, "archive-long")] {
            let mut interface = Vec::new();
            interface.extend_from_slice(&link_type.to_le_bytes());
            interface.extend_from_slice(&[0; 6]); // Reserved; no limit of length.
            option(&mut interface, OPTION_INTERFACE_NAME, name.as_bytes());
            option(&mut interface, OPTION_TIME_RESOLUTION, &[NANOSECONDS]);
            option(&mut interface, OPTION_END, &[]);
            block(out, INTERFACE, &interface);
        }
        Ok(())
    }

    fn unit(&mut self, unit: &Written<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let at = &self.columns;
        // Offsets between time scales are whole seconds: below the microsecond TAI and UTC read alike.
        let below_us = unit.row.number(at.rx).rem_euclid(1000);
        let utc_ns = unit.row.number(at.rx_utc).saturating_mul(1000).saturating_add(below_us) as u64;
        let len = unit.octets.len();
        let headers = self.headers(unit.row, len);
        let (interface, headers) = if len <= DATAGRAM_MAX { (0_u32, &headers[..]) } else { (1, &[][..]) };
        let captured = (headers.len() + len) as u32;
        let mut head = Vec::with_capacity(20 + captured as usize);
        head.extend_from_slice(&interface.to_le_bytes());
        head.extend_from_slice(&((utc_ns >> 32) as u32).to_le_bytes());
        head.extend_from_slice(&(utc_ns as u32).to_le_bytes());
        head.extend_from_slice(&captured.to_le_bytes());
        head.extend_from_slice(&captured.to_le_bytes());
        head.extend_from_slice(headers);
        head.extend_from_slice(unit.octets);
        block(out, ENHANCED_PACKET, &head);
        Ok(())
    }

    fn unit_len(&self, row: &Row) -> Option<u64> {
        let len = row.number(self.columns.len) as usize;
        let headers = if len <= DATAGRAM_MAX { IPV4_HEADER_LEN + UDP_HEADER_LEN } else { 0 };
        Some((BLOCK_OVERHEAD + (headers + len).next_multiple_of(4)) as u64)
    }

    fn wants_octets(&self) -> bool {
        true
    }
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padded = body.len().next_multiple_of(4);
    let total = (padded + 12) as u32;
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&total.to_le_bytes());
    out.extend_from_slice(body);
    out.resize(out.len() + padded - body.len(), 0);
    out.extend_from_slice(&total.to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}
