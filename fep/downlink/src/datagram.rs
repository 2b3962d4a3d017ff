//! Frames that come one a datagram, or one a unit of a station protocol: nothing to search, but marker and length to
//! check.

use fep_coding::{Polarity, SyncSpec};
use fep_record::{BadReason, FrameFlags};
use fep_time::Monotonic;

use crate::Sink;
use crate::block::{BlockNote, Judgement};
use crate::decoding::{Decoding, OctetBlocks};

/// Reads one datagram as one frame.
pub(crate) struct DatagramReader {
    /// Marker in front of every frame; empty when there is none.
    marker: Vec<u8>,
    bit_errors: u32,
    polarity: Polarity,
    block_len: usize,
    inverted: Vec<u8>,
}

impl DatagramReader {
    pub(crate) fn with_marker(sync: &SyncSpec) -> DatagramReader {
        DatagramReader {
            marker: sync.marker.as_bytes().to_vec(),
            bit_errors: sync.lock_bit_errors,
            polarity: sync.polarity,
            block_len: sync.block_len,
            inverted: vec![0; sync.block_len],
        }
    }

    pub(crate) fn without_marker(sync: &SyncSpec) -> DatagramReader {
        DatagramReader {
            marker: Vec::new(),
            bit_errors: 0,
            polarity: Polarity::Normal,
            block_len: sync.block_len,
            inverted: Vec::new(),
        }
    }

    pub(crate) fn read(
        &mut self,
        datagram: &[u8],
        mut note: BlockNote,
        now: Monotonic,
        blocks: &mut Decoding<OctetBlocks>,
        out: &mut Judgement<'_, impl Sink>,
    ) {
        let mut put = |block: &[u8], note, out: &mut Judgement<'_, _>| {
            blocks.room().put(block, note);
            blocks.gathered(now, &mut |frame| out.decoded(frame));
        };
        let coded_len = self.marker.len() + self.block_len;
        if self.marker.is_empty() && datagram.len() == coded_len {
            return put(datagram, note, out);
        }
        if datagram.len() != coded_len {
            // The order of the frames stays.
            blocks.flush(&mut |frame| out.decoded(frame));
            return if self.marker.is_empty() {
                out.frame(datagram, &note, None);
            } else {
                out.refuse(datagram, &note, BadReason::LengthInvalid);
            };
        }
        let (marker, block) = datagram.split_at(self.marker.len());
        let wrong: u32 = marker.iter().zip(&self.marker).map(|(a, b)| (a ^ b).count_ones()).sum();
        let wrong_inverted = 8 * self.marker.len() as u32 - wrong;
        let normal = self.polarity != Polarity::Inverted && wrong <= self.bit_errors;
        let inverted = self.polarity != Polarity::Normal && wrong_inverted <= self.bit_errors;
        if inverted && !normal {
            note.marker_bit_errors = wrong_inverted as u8;
            note.flags.insert(FrameFlags::INVERTED);
            for (upright, octet) in self.inverted.iter_mut().zip(block) {
                *upright = !octet;
            }
            return put(&self.inverted, note, out);
        }
        // The datagram says where the frame starts: a damaged marker does not make the frame bad, its code judges that.
        note.marker_bit_errors = wrong as u8;
        note.flags.set(FrameFlags::FLYWHEEL, !normal);
        put(block, note, out);
    }
}
