//! What a stream holds that its mission does not describe: frames that were refused for their header, and packets with
//! undeclared APIDs. Bounded: noise that passes for headers cannot make it grow.

use std::collections::BTreeMap;
use std::io::{self, Write};

use fep_mission::UndeclaredApids;
use fep_record::{BadReason, FrameRecord};
use serde::Serialize;

use crate::report::VcKey;

/// Most channels that are listed by themselves.
const CHANNELS_MAX: usize = 256;
/// Most channels that a message names.
const NAMED_MAX: usize = 4;

/// Frames that decoded, and were refused for what their header says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Refused {
    /// All of them.
    pub(crate) frames: u64,
    /// By reason, as records name it.
    pub(crate) reasons: BTreeMap<&'static str, u64>,
    /// By the spacecraft and virtual channel that the header names, for frames whose header is readable.
    pub(crate) channels: BTreeMap<VcKey, RefusedChannel>,
    /// Frames of further channels, seen when the table was full.
    pub(crate) other_channels: u64,
}

/// Frames of one channel that the mission does not describe, or whose packet pointers make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct RefusedChannel {
    pub(crate) frames: u64,
    /// Of the first of them: `unknown_spacecraft`, `unknown_vc` or `pointer_invalid`.
    pub(crate) reason: &'static str,
}

impl Refused {
    /// Counts a frame whose octets are good and whose header is not.
    #[cold]
    pub(crate) fn count(&mut self, record: &FrameRecord) {
        let reason = record.reason.name();
        self.frames += 1;
        *self.reasons.entry(reason).or_default() += 1;
        use BadReason::{PointerInvalid, UnknownSpacecraft, UnknownVc};
        if !matches!(record.reason, UnknownSpacecraft | UnknownVc | PointerInvalid) {
            return; // The header could not be read: it names no channel.
        }
        let key = VcKey { scid: record.gvcid.scid, vcid: record.gvcid.vcid };
        let room = self.channels.len() < CHANNELS_MAX;
        match self.channels.get_mut(&key) {
            Some(channel) => channel.frames += 1,
            None if room => {
                self.channels.insert(key, RefusedChannel { frames: 1, reason });
            }
            None => self.other_channels += 1,
        }
    }

    /// The refused frames as a table; nothing when there are none.
    pub(crate) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        if self.frames == 0 {
            return Ok(());
        }
        let reasons: Vec<String> =
            self.reasons.iter().map(|(reason, frames)| format!("{} {frames}", in_words(reason))).collect();
        writeln!(
            out,
            "Refused      {} of the good and corrected frames: {}",
            self.frames,
            reasons.join(", ")
        )?;
        if self.channels.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{:<14} {:>12}  reason", "REFUSED", "frames")?;
        for (key, channel) in &self.channels {
            writeln!(out, "{:<14} {:>12}  {}", key.to_string(), channel.frames, in_words(channel.reason))?;
        }
        if self.other_channels > 0 {
            writeln!(out, "{:<14} {:>12}", "others", self.other_channels)?;
        }
        Ok(())
    }

    /// Those of the channels that the mission does not describe which have the most frames, for a message:
    /// `157/16 (30), 157/17 (2)`. Empty when there are none.
    pub(crate) fn named(&self) -> String {
        let unknown = |reason: &str| reason != BadReason::PointerInvalid.name();
        let mut channels: Vec<_> =
            self.channels.iter().filter(|(_, channel)| unknown(channel.reason)).collect();
        channels.sort_by_key(|(key, channel)| (std::cmp::Reverse(channel.frames), **key));
        let mut names: Vec<String> = channels
            .iter()
            .take(NAMED_MAX)
            .map(|(key, channel)| format!("{key} ({})", channel.frames))
            .collect();
        if channels.len() > NAMED_MAX || self.other_channels > 0 {
            names.push("others".to_owned());
        }
        names.join(", ")
    }
}

/// Packets of one virtual channel with APIDs that the mission does not name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct UndeclaredChannel {
    /// `report`: they are among the packets; `reject`: they are not.
    pub(crate) policy: UndeclaredApids,
    /// Packets by APID.
    pub(crate) apids: BTreeMap<u16, u64>,
    /// Packets of further APIDs, seen when the table was full.
    pub(crate) other_apids: u64,
}

impl UndeclaredChannel {
    /// One line for each APID.
    pub(crate) fn write_text(&self, vc: VcKey, out: &mut impl Write) -> io::Result<()> {
        let done = match self.policy {
            UndeclaredApids::Reject => "rejected",
            UndeclaredApids::Report | UndeclaredApids::Accept => "accepted",
        };
        writeln!(out, "\n{:<14} {:>12}  not named by the mission, {done}", "UNDECLARED", "packets")?;
        for (apid, packets) in &self.apids {
            writeln!(out, "{:<14} {packets:>12}", format!("{vc}/{apid}"))?;
        }
        if self.other_apids > 0 {
            writeln!(out, "{:<14} {:>12}", format!("{vc}/others"), self.other_apids)?;
        }
        Ok(())
    }
}

fn in_words(reason: &str) -> String {
    reason.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use fep_ccsds::Gvcid;

    use super::*;

    fn refused(scid: u16, vcid: u8, reason: BadReason) -> FrameRecord {
        FrameRecord { gvcid: Gvcid { tfvn: 0, scid, vcid }, reason, ..FrameRecord::default() }
    }

    // REQ: FEP-CTL-101
    #[test]
    fn the_table_of_refused_frames_stays_bounded_and_counts_every_frame() {
        let mut found = Refused::default();
        for number in 0..5000_u16 {
            found.count(&refused(number % 1000, 3, BadReason::UnknownSpacecraft));
        }
        found.count(&refused(0, 0, BadReason::HeaderInvalid));
        assert_eq!((found.frames, found.channels.len()), (5001, CHANNELS_MAX));
        let listed: u64 = found.channels.values().map(|channel| channel.frames).sum();
        assert_eq!(listed + found.other_channels + found.reasons["header_invalid"], 5001);
        found.count(&refused(7, 3, BadReason::PointerInvalid));
        assert_eq!(found.channels[&VcKey { scid: 7, vcid: 3 }].frames, 6);
        assert!(found.named().starts_with("7/3 (6), 0/3 (5), ") && found.named().ends_with(", others"));
    }
}
