//! What the records of a frames ring say of a downlink, held against what the spacecraft sent.

use std::collections::BTreeMap;

use fep_record::{BadReason, FrameFlags, FrameRecord};
use fep_sim::FrameOracle;

use crate::journal::Line;

/// Counts of a frames ring's records, made from the records alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reception {
    /// Good frames, corrected ones and repeated ones among them.
    pub frames: u64,
    /// Of these, those in which the code put symbols right.
    pub corrected: u64,
    /// Symbols put right in them.
    pub symbols_corrected: u64,
    /// Of these, frames of the idle channel, whose counts say nothing.
    pub idle: u64,
    /// Of these, the frame before once more.
    pub repeated: u64,
    /// Of these, the ones that are marked so: all but idle ones.
    pub duplicates: u64,
    /// Frames that nobody vouches for.
    pub bad: u64,
    /// Frames missing by the counters of the virtual channels.
    pub lost: u64,
    /// Times that frames are missing by a counter.
    pub gaps: u64,
    /// Stretches of good frames that are missing.
    pub stretches: u64,
    /// Number, among all that the spacecraft sent, of the first good frame.
    pub first: u64,
    /// And of the last.
    pub last: u64,
}

/// Follows one virtual channel: as its frame counter does, and as the spacecraft numbers it.
struct Channel {
    count: u32,
    first: u64,
    last: u64,
    distinct: u64,
    lost: u64,
}

impl Reception {
    /// Counts records, from the one with sequence number `since` on; those before are only followed.
    ///
    /// # Panics
    /// If a good record is no frame that was sent, right to the last octet; if one comes twice and is not the frame before, or
    /// out of order; if a counter jumps and the record does not say so; or if the counters of a virtual channel do not
    /// account for all that the spacecraft sent on it between the first and the last frame.
    #[must_use]
    pub fn of(records: &[Line], since: u64, oracle: &FrameOracle) -> Reception {
        let mut told = Reception::default();
        let mut channels: BTreeMap<u8, Channel> = BTreeMap::new();
        let mut before = None;
        for line in records {
            let Line::Record { seq, flags, words, hash, .. } = line else { panic!("{line:?} is no record") };
            let record = FrameRecord::from_words(*flags, *words).expect("a record of this version");
            let counts = *seq >= since;
            if record.reason != BadReason::None {
                told.bad += u64::from(counts);
                continue;
            }
            let has = |flag| record.flags.contains(flag);
            let identity = oracle
                .identify_hash(*hash)
                .unwrap_or_else(|| panic!("record {seq}: a frame that was never sent"));
            assert_eq!(record.gvcid, identity.gvcid, "record {seq}");
            let (number, after) = (identity.number, before);
            assert!(
                after.is_none_or(|after| number >= after),
                "record {seq}: frame {number} after {after:?}"
            );
            let repeated = after == Some(number);
            let stretch = after.is_some_and(|after| number > after + 1);
            told.first = if after.is_none() { number } else { told.first };
            told.last = number;
            before = Some(number);
            let duplicate = repeated && !identity.idle;
            assert_eq!(has(FrameFlags::DUPLICATE), duplicate, "record {seq}");
            let mut missing = 0;
            if !identity.idle {
                let start = Channel {
                    count: record.frame_count,
                    first: identity.vc_number,
                    last: identity.vc_number,
                    distinct: 0,
                    lost: 0,
                };
                let channel = channels.entry(identity.gvcid.vcid).or_insert(start);
                // 24 bits: no silence of these tests comes near a wrap.
                missing = u64::from(record.frame_count.saturating_sub(channel.count.saturating_add(1)));
                channel.count = record.frame_count;
                channel.last = identity.vc_number;
                channel.distinct += u64::from(!repeated);
                channel.lost += missing;
            }
            assert_eq!(
                has(FrameFlags::GAP),
                missing > 0,
                "{missing} missing at record {seq}, frame {number} after {after:?}: {record:?}"
            );
            if counts {
                told.frames += 1;
                told.corrected += u64::from(has(FrameFlags::CORRECTED));
                told.symbols_corrected += u64::from(record.symbols_corrected);
                told.idle += u64::from(identity.idle);
                told.repeated += u64::from(repeated);
                told.duplicates += u64::from(duplicate);
                told.lost += missing;
                told.gaps += u64::from(missing > 0);
                told.stretches += u64::from(stretch);
            }
        }
        for (vcid, channel) in &channels {
            let sent = channel.last - channel.first + 1;
            assert_eq!(
                sent,
                channel.distinct + channel.lost,
                "virtual channel {vcid}: sent = here + missing"
            );
        }
        told
    }

    /// Frames missing by the counters of the virtual channels, whatever the records themselves say: some of them may be
    /// missing.
    ///
    /// # Panics
    /// If a line is no record of a frame.
    #[must_use]
    pub fn missing_by_counter(records: &[Line]) -> u64 {
        let mut last: BTreeMap<u8, u32> = BTreeMap::new();
        let mut missing = 0;
        for line in records {
            let Line::Record { flags, words, .. } = line else { panic!("{line:?} is no record") };
            let record = FrameRecord::from_words(*flags, *words).expect("a record of this version");
            if record.reason != BadReason::None || record.flags.contains(FrameFlags::IDLE) {
                continue;
            }
            if let Some(last) = last.insert(record.gvcid.vcid, record.frame_count) {
                missing += u64::from(record.frame_count.saturating_sub(last.saturating_add(1)));
            }
        }
        missing
    }
}
