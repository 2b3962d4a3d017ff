//! Frames that come one a datagram: nothing to search, but marker and length to check.

use fep_coding::{Polarity, SyncSpec};
use fep_record::{BadReason, FrameFlags};
use fep_time::Tai;

use crate::Sink;
use crate::batch::Batch;
use crate::block::{BlockNote, Judgement};

/// Reads one datagram as one frame.
pub(crate) struct DatagramReader {
    /// Marker in front of every frame; empty when there is none.
    marker: Vec<u8>,
    bit_errors: u32,
    polarity: Polarity,
    inverted: Vec<u8>,
}

impl DatagramReader {
    pub(crate) fn with_marker(sync: &SyncSpec) -> DatagramReader {
        let (marker, polarity) = (sync.marker.as_bytes().to_vec(), sync.polarity);
        DatagramReader {
            marker,
            bit_errors: sync.lock_bit_errors,
            polarity,
            inverted: vec![0; sync.block_len],
        }
    }

    pub(crate) fn without_marker() -> DatagramReader {
        DatagramReader { marker: Vec::new(), bit_errors: 0, polarity: Polarity::Normal, inverted: Vec::new() }
    }

    pub(crate) fn read(
        &mut self,
        datagram: &[u8],
        batch: &mut Batch,
        received: Tai,
        out: &mut Judgement<'_, impl Sink>,
    ) {
        let mut note = BlockNote { received, ..BlockNote::default() };
        if self.marker.is_empty() {
            return if datagram.len() == batch.block_len() {
                batch.push_coded(datagram, note, out);
            } else {
                batch.push_decoded(datagram, note, out);
            };
        }
        let expected = self.marker.len() + batch.block_len();
        if datagram.len() != expected {
            return batch.push_bad(datagram, note, BadReason::LengthInvalid, out);
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
            return batch.push_coded(&self.inverted, note, out);
        }
        // The datagram says where the frame starts: a damaged marker does not make the frame bad, its code judges that.
        note.marker_bit_errors = wrong as u8;
        note.flags.set(FrameFlags::FLYWHEEL, !normal);
        batch.push_coded(block, note, out);
    }
}
