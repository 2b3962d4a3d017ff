//! What was seen that the mission does not describe: spacecraft, virtual channels, application processes. Bounded: noise
//! that passes for headers cannot make it grow.

use fep_ccsds::Gvcid;
use fep_record::BadReason;
use serde::{Deserialize, Serialize};

/// Most entries of a table of refused frames.
const REFUSALS_MAX: usize = 256;
/// Most APIDs of one virtual channel that are listed by themselves.
const APIDS_MAX: usize = 64;

/// Frames that were refused for what their header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The channel that the header names.
    pub gvcid: Gvcid,
    /// Why they were refused: unknown spacecraft or unknown virtual channel.
    pub reason: BadReason,
    /// How many.
    pub frames: u64,
}

/// Frames of unknown spacecraft and unknown virtual channels, by what their headers name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    /// The first channels seen, in order of first sight.
    pub seen: Vec<Refusal>,
    /// Frames of channels that were seen when the table was full.
    pub others: u64,
}

impl Refusals {
    #[cold]
    pub(crate) fn count(&mut self, gvcid: Gvcid, reason: BadReason) {
        match self.seen.iter().position(|refusal| refusal.gvcid == gvcid) {
            Some(place) => self.seen[place].frames += 1,
            None if self.seen.len() < REFUSALS_MAX => self.seen.push(Refusal { gvcid, reason, frames: 1 }),
            None => self.others += 1,
        }
    }

    /// All frames refused for what their header says.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.seen.iter().map(|refusal| refusal.frames).sum::<u64>() + self.others
    }
}

/// Packets of one virtual channel with APIDs that the mission does not name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndeclaredPackets {
    /// The first APIDs seen and their packets, in order of first sight.
    pub seen: Vec<(u16, u64)>,
    /// Packets of APIDs that were seen when the table was full.
    pub others: u64,
}

impl UndeclaredPackets {
    /// Counts a packet; says whether its APID is new in the table.
    pub(crate) fn count(&mut self, apid: u16) -> bool {
        match self.seen.iter().position(|(known, _)| *known == apid) {
            Some(place) => self.seen[place].1 += 1,
            None if self.seen.len() < APIDS_MAX => {
                self.seen.push((apid, 1));
                return true;
            }
            None => self.others += 1,
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_what_noise_shows_stay_bounded_and_count_everything() {
        let (mut refusals, mut packets) = (Refusals::default(), UndeclaredPackets::default());
        for number in 0..10_000_u16 {
            let gvcid = Gvcid { tfvn: 0, scid: number % 1000, vcid: 1 };
            refusals.count(gvcid, BadReason::UnknownSpacecraft);
            packets.count(number % 2000);
        }
        assert_eq!((refusals.seen.len(), refusals.frames()), (REFUSALS_MAX, 10_000));
        assert_eq!(refusals.seen[7].frames, 10);
        assert_eq!(packets.seen.len(), APIDS_MAX);
        assert_eq!(packets.seen.iter().map(|(_, packets)| packets).sum::<u64>() + packets.others, 10_000);
    }
}
