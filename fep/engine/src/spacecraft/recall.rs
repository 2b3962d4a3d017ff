//! What a merge that starts again is shown of what was served before, so that what its antennas read again is known.
//!
//! An antenna reads again what lies behind its stored cursor. Of the spacecraft's own rings the merge is shown what can be a
//! copy of that: frames received not long before the oldest of it, or later. Where nothing is read again nothing is shown, and
//! a recording that is played once more after the end of a pass is served once more.

use std::path::Path;

use fep_bus::{Colour, Consumer, Poll, Resume};
use fep_downlink::{Merge, MergeInput, Quality};
use fep_record::{BadReason, FrameRecord};
use fep_time::{Monotonic, Tai};

use super::antenna::Antenna;
use crate::event::NO_LINK;
use crate::rings::frames_ring;

/// The antenna as which the merge is shown what was served before. No link has this number.
pub(crate) const MEMORY: u16 = NO_LINK;
/// Name under which a ring of one's own is looked at once, at start.
const READER: &str = "fepd-served";
/// By how much the clocks of two stations may differ, beside the wait of the merge.
const CLOCKS_APART_NS: i64 = 10_000_000_000;

/// The rings of a spacecraft, to be recalled from.
pub(crate) struct Recall<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) spacecraft: &'a str,
    pub(crate) red: bool,
    pub(crate) wait_ns: i64,
    /// At most so many frames of each ring.
    pub(crate) window_frames: usize,
}

impl Recall<'_> {
    /// Shows the merge what these antennas may bring again. To be called once, before anything is pushed.
    pub(crate) fn show(&self, antennas: &mut [Antenna], merge: &mut Merge) {
        if let Some(oldest) = antennas.iter_mut().filter_map(Antenna::oldest_unread).min() {
            let since = Tai(oldest.0.saturating_sub(CLOCKS_APART_NS + self.wait_ns));
            for colour in [Colour::Black, Colour::Red].into_iter().take(1 + usize::from(self.red)) {
                self.show_ring(merge, colour, since);
            }
        }
        // It is no antenna that anybody waits for.
        merge.antenna_gone(MEMORY, Monotonic::now(), &mut |_| {});
        merge.flush(&mut |_| {});
    }

    fn show_ring(&self, merge: &mut Merge, colour: Colour, since: Tai) {
        let ring = frames_ring(self.spacecraft, colour);
        let Ok(mut consumer) = Consumer::attach(self.dir, &ring, READER, Resume::Oldest) else { return };
        let mut skip = consumer.lag_records().saturating_sub(self.window_frames as u64);
        let (mut octets, now) = (Vec::new(), Monotonic::now());
        loop {
            match consumer.peek() {
                Poll::Record(record) if skip > 0 || record.tag.received < since => {
                    consumer.skip();
                    skip = skip.saturating_sub(1);
                    continue;
                }
                Poll::Record(_) => {}
                Poll::Gap(_) | Poll::Restarted { .. } => continue,
                Poll::Empty | Poll::Closed | Poll::Recreated => break,
            }
            let Poll::Record(record) = consumer.poll(&mut octets) else { continue };
            let Some(known) = FrameRecord::from_words(record.tag.flags, record.tag.words) else { continue };
            if known.reason != BadReason::None {
                continue;
            }
            let frame = MergeInput {
                octets: &octets,
                record: known,
                received: record.tag.received,
                colour,
                antenna: MEMORY,
                seq: record.seq,
                quality: Quality::Unstated,
            };
            merge.recall(&frame, now);
        }
        drop(consumer);
        // It is no consumer that anybody should see listed; a file left behind would do no harm.
        let cursors = self.dir.join(colour.directory()).join(ring).join("cursors");
        let _ = std::fs::remove_file(cursors.join(READER));
    }
}
