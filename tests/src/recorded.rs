//! What lies in the segments of a ring, as a consumer of the ring would have written it down.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use fep_segments::{Loss, LossCause, Piece, SegmentReader, SegmentState, Stream, list};
use fep_sim::frame_hash;

use crate::journal::{self, Line};

/// Everything in the segments of a stream.
#[derive(Debug)]
pub struct Recorded {
    /// The records, by sequence number.
    pub records: BTreeMap<u64, Line>,
    /// The loss records, as they lie there.
    pub losses: Vec<Loss>,
    /// Records that are in two segments.
    pub twice: Vec<u64>,
}

impl Recorded {
    /// Reads every segment that was not removed. Segments may overlap after a death; the records are then the same.
    ///
    /// # Panics
    /// If a segment cannot be read, or a record is there twice and differs.
    #[must_use]
    pub fn read(archive: &Path, stream: &Stream) -> Recorded {
        let (mut records, mut losses, mut twice) = (BTreeMap::new(), Vec::new(), Vec::new());
        for entry in list(archive, stream).expect("it can be listed") {
            if entry.state == SegmentState::Removed {
                continue;
            }
            let mut reader = SegmentReader::open(&entry.path).expect("a segment");
            while let Some(piece) = reader.next().expect("it can be read") {
                match piece {
                    Piece::Record(view) => {
                        let (kind, flags, words) =
                            (view.record.tag.kind, view.record.tag.flags, view.record.tag.words);
                        let (seq, len, hash) = (view.record.seq, view.record.len, frame_hash(view.payload));
                        let line = Line::Record { seq, kind, flags, len, words, hash };
                        if let Some(before) = records.insert(seq, line) {
                            assert_eq!(before, line, "record {seq} is there twice and differs");
                            twice.push(seq);
                        }
                    }
                    Piece::Loss(loss) => losses.push(loss),
                }
            }
        }
        Recorded { records, losses, twice }
    }

    /// Records that losses of this cause say are missing.
    #[must_use]
    pub fn lost_to(&self, cause: LossCause) -> u64 {
        self.losses.iter().filter(|loss| loss.cause == cause).map(Loss::records).sum()
    }

    /// Records that losses say are missing, whatever the cause.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.losses.iter().map(Loss::records).sum()
    }

    /// Each of these records is on disk, or exactly one loss says that it is not; and nothing else is there.
    ///
    /// # Panics
    /// If it is not so.
    pub fn assert_accounts_for(&self, seqs: RangeInclusive<u64>) {
        for seq in seqs.clone() {
            let told = self.losses.iter().filter(|loss| (loss.from.seq..loss.to.seq).contains(&seq)).count();
            let found = usize::from(self.records.contains_key(&seq));
            assert_eq!(found + told, 1, "record {seq}: found {found} times, told as lost {told} times");
        }
        let published = seqs.end() + 1 - seqs.start();
        assert_eq!(self.records.len() as u64 + self.lost(), published, "recorded + lost = published");
    }

    /// As [`Recorded::assert_accounts_for`] for all that a consumer of the ring wrote down; what is on disk is that, octet for
    /// octet.
    ///
    /// # Panics
    /// If it is not so, or the consumer itself has lost something.
    pub fn assert_accounts_for_all_of(&self, journal: &[Line]) {
        let (seen, gaps) = journal::settle(journal);
        assert!(gaps.is_empty(), "the test's own consumer kept up: {gaps:?}");
        let seq = |line: &Line| match line {
            Line::Record { seq, .. } => *seq,
            Line::Gap { .. } => unreachable!("settled apart"),
        };
        let [Some(first), Some(last)] = [seen.first(), seen.last()] else { panic!("nothing was published") };
        self.assert_accounts_for(seq(first)..=seq(last));
        for line in &seen {
            assert!(self.records.get(&seq(line)).is_none_or(|record| record == line), "{line:?}");
        }
    }
}
