//! SHA-256 of many packet streams on a thread of its own, so that hashing does not slow decoding.
//!
//! Packets are copied into batches; the hashing thread works through full batches while the caller fills the next
//! one. At most [`BATCHES`] exist, so memory is constant and a caller that is faster than the hash waits for it.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

/// Octets after which a batch goes to the hashing thread.
const BATCH_LEN: usize = 1 << 20;
/// Batches in flight: one being filled, one being hashed, the rest to ride out a scheduling delay of either side.
const BATCHES: usize = 6;

/// Octets of several streams in order of arrival: `spans` cuts `bytes` into (stream, length).
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    spans: Vec<(u32, usize)>,
}

/// Hashes streams named by small consecutive numbers.
pub(crate) struct StreamHasher {
    current: Batch,
    full: SyncSender<Batch>,
    empty: Receiver<Batch>,
    thread: JoinHandle<Vec<Sha256>>,
}

impl StreamHasher {
    /// Starts the hashing thread.
    pub(crate) fn start() -> std::io::Result<StreamHasher> {
        let (full, full_in) = sync_channel::<Batch>(BATCHES);
        let (empty_out, empty) = sync_channel::<Batch>(BATCHES);
        for _ in 1..BATCHES {
            // The channel has room for all of them.
            let _ = empty_out.try_send(Batch::default());
        }
        let thread = std::thread::Builder::new().name("sha256".into()).spawn(move || {
            let mut streams: Vec<Sha256> = Vec::new();
            for mut batch in full_in {
                let mut at = 0;
                for &(stream, len) in &batch.spans {
                    let stream = stream as usize;
                    if stream >= streams.len() {
                        streams.resize_with(stream + 1, Sha256::new);
                    }
                    streams[stream].update(&batch.bytes[at..at + len]);
                    at += len;
                }
                batch.bytes.clear();
                batch.spans.clear();
                match empty_out.try_send(batch) {
                    Ok(()) | Err(TrySendError::Disconnected(_)) => {}
                    Err(TrySendError::Full(_)) => unreachable!("there are only BATCHES batches"),
                }
            }
            streams
        })?;
        Ok(StreamHasher { current: Batch::default(), full, empty, thread })
    }

    /// Appends `bytes` to `stream`.
    pub(crate) fn update(&mut self, stream: u32, bytes: &[u8]) {
        let batch = &mut self.current;
        batch.bytes.extend_from_slice(bytes);
        match batch.spans.last_mut() {
            Some((last, len)) if *last == stream => *len += bytes.len(),
            _ => batch.spans.push((stream, bytes.len())),
        }
        if batch.bytes.len() >= BATCH_LEN {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        // Both fail only if the hashing thread panicked; `finish` then passes the panic on.
        let next = self.empty.recv().unwrap_or_default();
        let _ = self.full.send(std::mem::replace(&mut self.current, next));
    }

    /// The hashes of streams 0, 1, 2, ... as lower-case hexadecimal.
    pub(crate) fn finish(mut self) -> Vec<String> {
        if !self.current.spans.is_empty() {
            self.hand_over();
        }
        drop(self.full);
        let streams = match self.thread.join() {
            Ok(streams) => streams,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        streams.into_iter().map(|hash| hex(&hash.finalize())).collect()
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_streams_hash_as_if_each_were_alone() {
        let mut hasher = StreamHasher::start().expect("thread");
        let mut alone = [Vec::new(), Vec::new(), Vec::new()];
        for turn in 0..40_000u32 {
            let stream = (turn * 7 % 11 % 3) as usize;
            let piece: Vec<u8> = (0..turn % 257).map(|k| (k ^ turn) as u8).collect();
            alone[stream].extend_from_slice(&piece);
            hasher.update(stream as u32, &piece);
        }
        let want: Vec<String> = alone.iter().map(|bytes| hex(&Sha256::digest(bytes))).collect();
        assert_eq!(hasher.finish(), want);
    }

    #[test]
    fn a_packet_longer_than_a_batch_is_hashed_whole() {
        let mut hasher = StreamHasher::start().expect("thread");
        let long = vec![0x5a; 3 * BATCH_LEN + 17];
        hasher.update(0, &long);
        assert_eq!(hasher.finish(), vec![hex(&Sha256::digest(&long))]);
    }

    #[test]
    fn nothing_hashed_gives_no_stream() {
        assert!(StreamHasher::start().expect("thread").finish().is_empty());
    }
}
