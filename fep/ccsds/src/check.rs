//! Error control fields of frames: FECF and AOS frame header error control, by the kernels of `fep-coding`.

use crate::Fecf;
use crate::frame::{AOS_HEADER_LEN, FrameInvalid};
use fep_coding::crc::{crc16_fecf, crc32_uslp};
use fep_coding::fhec::{self, FhecVerdict};

/// Checks the FECF at the end of a frame.
pub(crate) fn fecf(fecf: Fecf, octets: &[u8]) -> Result<(), FrameInvalid> {
    let no_room = FrameInvalid::NoRoom { needed: fecf.len() + 1, available: octets.len() };
    let (received, computed) = match fecf {
        Fecf::None => return Ok(()),
        Fecf::Crc16 => {
            let (body, field) = octets.split_last_chunk().ok_or(no_room)?;
            (u32::from(u16::from_be_bytes(*field)), u32::from(crc16_fecf(body)))
        }
        Fecf::Crc32 => {
            let (body, field) = octets.split_last_chunk().ok_or(no_room)?;
            (u32::from_be_bytes(*field), crc32_uslp(body))
        }
    };
    if received == computed { Ok(()) } else { Err(FrameInvalid::Fecf { received, computed }) }
}

/// Appends the FECF of the frame that starts at `start`.
pub(crate) fn append_fecf(fecf: Fecf, out: &mut Vec<u8>, start: usize) {
    match fecf {
        Fecf::None => {}
        Fecf::Crc16 => {
            let crc = crc16_fecf(&out[start..]);
            out.extend_from_slice(&crc.to_be_bytes());
        }
        Fecf::Crc32 => {
            let crc = crc32_uslp(&out[start..]);
            out.extend_from_slice(&crc.to_be_bytes());
        }
    }
}

/// The FHEC of a primary header.
pub(crate) fn aos_header_fhec(header: &[u8; AOS_HEADER_LEN]) -> [u8; 2] {
    fhec::encode(header[0], header[1], header[5]).to_be_bytes()
}

/// Corrects a primary header by its FHEC; returns how many symbols were wrong, check symbols included.
pub(crate) fn correct_aos_header(
    header: &mut [u8; AOS_HEADER_LEN],
    fhec: [u8; 2],
) -> Result<u8, FrameInvalid> {
    match fhec::decode(header[0], header[1], header[5], u16::from_be_bytes(fhec)) {
        FhecVerdict::Good { header: [o0, o1, o5], symbols_corrected } => {
            (header[0], header[1], header[5]) = (o0, o1, o5);
            Ok(symbols_corrected)
        }
        FhecVerdict::Uncorrectable => Err(FrameInvalid::Fhec),
    }
}
