//! Error control fields of frames: FECF and AOS frame header error control, by the kernels of `fep-coding`.

use crate::Fecf;
use crate::frame::{AOS_HEADER_LEN, FrameInvalid};

pub(crate) fn crc16(octets: &[u8]) -> u16 {
    octets.iter().fold(0xFFFF, |crc: u16, &octet| {
        (0..8)
            .fold(crc ^ u16::from(octet) << 8, |crc, _| crc << 1 ^ if crc & 0x8000 != 0 { 0x1021 } else { 0 })
    })
}

fn crc32(octets: &[u8]) -> u32 {
    octets.iter().fold(0, |crc: u32, &octet| {
        (0..8).fold(crc ^ u32::from(octet) << 24, |crc, _| {
            crc << 1 ^ if crc & 0x8000_0000 != 0 { 0x00A0_0805 } else { 0 }
        })
    })
}

/// Checks the FECF at the end of a frame.
pub(crate) fn fecf(fecf: Fecf, octets: &[u8]) -> Result<(), FrameInvalid> {
    let no_room = FrameInvalid::NoRoom { needed: fecf.len() + 1, available: octets.len() };
    let (received, computed) = match fecf {
        Fecf::None => return Ok(()),
        Fecf::Crc16 => {
            let (body, field) = octets.split_last_chunk().ok_or(no_room)?;
            (u32::from(u16::from_be_bytes(*field)), u32::from(crc16(body)))
        }
        Fecf::Crc32 => {
            let (body, field) = octets.split_last_chunk().ok_or(no_room)?;
            (u32::from_be_bytes(*field), crc32(body))
        }
    };
    if received == computed { Ok(()) } else { Err(FrameInvalid::Fecf { received, computed }) }
}

/// Appends the FECF of the frame that starts at `start`.
pub(crate) fn append_fecf(fecf: Fecf, out: &mut Vec<u8>, start: usize) {
    match fecf {
        Fecf::None => {}
        Fecf::Crc16 => {
            let crc = crc16(&out[start..]);
            out.extend_from_slice(&crc.to_be_bytes());
        }
        Fecf::Crc32 => {
            let crc = crc32(&out[start..]);
            out.extend_from_slice(&crc.to_be_bytes());
        }
    }
}

// GF(16) with x^4 + x + 1.
fn gf16_mul(a: u8, b: u8) -> u8 {
    (0..4).rev().fold(0, |acc: u8, bit| {
        let doubled = acc << 1 ^ if acc & 8 != 0 { 0x13 } else { 0 };
        doubled ^ if b >> bit & 1 != 0 { a } else { 0 }
    })
}

fn fhec_symbols(octets: [u8; 3]) -> u16 {
    // g(x) = x^4 + a^3 x^3 + a x^2 + a^3 x + 1 with a = 2, a^3 = 8.
    let mut remainder = [0_u8; 4];
    for symbol in octets.iter().flat_map(|o| [o >> 4, o & 0xF]) {
        let feedback = symbol ^ remainder[0];
        remainder = [
            remainder[1] ^ gf16_mul(feedback, 8),
            remainder[2] ^ gf16_mul(feedback, 2),
            remainder[3] ^ gf16_mul(feedback, 8),
            feedback,
        ];
    }
    remainder.iter().fold(0, |word, &symbol| word << 4 | u16::from(symbol))
}

/// The FHEC of a primary header.
pub(crate) fn aos_header_fhec(header: &[u8; AOS_HEADER_LEN]) -> [u8; 2] {
    fhec_symbols([header[0], header[1], header[5]]).to_be_bytes()
}

/// Corrects a primary header by its FHEC; returns how many symbols were wrong, check symbols included.
pub(crate) fn correct_aos_header(
    header: &mut [u8; AOS_HEADER_LEN],
    fhec: [u8; 2],
) -> Result<u8, FrameInvalid> {
    let word = u64::from_be_bytes([0, 0, 0, header[0], header[1], header[5], fhec[0], fhec[1]]);
    let valid = |word: u64| {
        let [_, _, _, o0, o1, o5, f0, f1] = word.to_be_bytes();
        fhec_symbols([o0, o1, o5]) == u16::from_be_bytes([f0, f1])
    };
    let patterns = (0..10).flat_map(|i| (1..16_u64).map(move |e| (e << (4 * i), 1)));
    let pairs = (0..10).flat_map(|i| (0..i).map(move |j| (i, j))).flat_map(|(i, j)| {
        (1..256_u64)
            .filter(|e| e & 15 != 0 && e >> 4 != 0)
            .map(move |e| ((e & 15) << (4 * i) | (e >> 4) << (4 * j), 2))
    });
    let (error, count) = std::iter::once((0, 0))
        .chain(patterns)
        .chain(pairs)
        .find(|&(error, _)| valid(word ^ error))
        .ok_or(FrameInvalid::Fhec)?;
    let [_, _, _, o0, o1, o5, _, _] = (word ^ error).to_be_bytes();
    (header[0], header[1], header[5]) = (o0, o1, o5);
    Ok(count)
}
