//! Which records a client wants. Every record that is followed is either sent or filtered for exactly one reason.

use fep_bus::Tag;
use fep_record::{BadReason, FrameFlags, FrameRecord, KIND_FRAME, KIND_PACKET, PacketRecord, Session};
use serde::{Deserialize, Serialize};

/// Application process identifier of idle packets (133.0-B-2 4.1.3.3.4).
const IDLE_APID: u16 = 0x7FF;
/// Highest virtual channel identifier of any transfer frame.
const VCID_MAX: u8 = 63;

/// Good, bad, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Only what a code, a FECF or the header vouches for.
    #[default]
    Good,
    /// Only what could not be decoded or believed.
    Bad,
    /// Everything.
    Any,
}

/// Whether idle frames and packets are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// Sent like any other: a frame that holds no data may still hold a CLCW.
    #[default]
    Send,
    /// Left out.
    Drop,
}

/// Conditions that all must hold. A list that is left out or empty asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Spacecraft identifiers. A bad frame whose header is not believed has none.
    pub spacecraft: Vec<u16>,
    /// Virtual channel identifiers.
    pub vcs: Vec<u8>,
    /// Application process identifiers; frames have none, so naming any leaves only packets.
    pub apids: Vec<u16>,
    /// Good or bad.
    pub quality: Quality,
    /// Idle frames and packets.
    pub idle: Idle,
}

/// Why a record is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filtered {
    /// Of another session than the feed's: replayed data in an operational ring, say.
    Session,
    /// Neither frame nor packet, or of a version that this program does not know: of no session that could be told.
    Unknown,
    /// Quality not asked for.
    Quality,
    /// Idle.
    Idle,
    /// Another spacecraft.
    Spacecraft,
    /// Another virtual channel.
    VirtualChannel,
    /// Another application process.
    Apid,
}

impl Filtered {
    /// Every reason, in order.
    pub const ALL: [Filtered; 7] = [
        Filtered::Session,
        Filtered::Unknown,
        Filtered::Quality,
        Filtered::Idle,
        Filtered::Spacecraft,
        Filtered::VirtualChannel,
        Filtered::Apid,
    ];

    /// Name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Filtered::Session => "session",
            Filtered::Unknown => "unknown",
            Filtered::Quality => "quality",
            Filtered::Idle => "idle",
            Filtered::Spacecraft => "spacecraft",
            Filtered::VirtualChannel => "virtual_channel",
            Filtered::Apid => "apid",
        }
    }
}

impl Filter {
    /// A value that no frame or packet can have, which would let nothing through: the key, what is wrong, what is allowed.
    /// A virtual channel identifier has 3 bits in TM frames (132.0-B-3 4.1.2) and 6 in AOS and USLP frames (732.0-B-4 4.1.2,
    /// 732.1-B-2 4.1.2), an application process identifier 11 (133.0-B-2 4.1.3.3.4). A spacecraft identifier may have all 16.
    #[must_use]
    pub fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        let vcid = self.vcs.iter().find(|vcid| **vcid > VCID_MAX);
        let apid = self.apids.iter().find(|apid| **apid > IDLE_APID);
        match (vcid, apid) {
            (Some(vcid), _) => Some(("vcs", format!("{vcid} is no virtual channel"), "0 to 63")),
            (None, Some(apid)) => Some(("apids", format!("{apid} is no application process"), "0 to 2047")),
            (None, None) => None,
        }
    }

    /// Judges one record for a feed of `session`. `Ok` means: send it. The session comes first, and there is no way
    /// around it.
    ///
    /// # Errors
    /// The first condition that does not hold.
    pub fn judge(&self, session: Session, tag: &Tag) -> Result<(), Filtered> {
        match Session::of_record(tag.kind, tag.words) {
            Some(of_record) if of_record == session => {}
            Some(_) => return Err(Filtered::Session),
            None => return Err(Filtered::Unknown),
        }
        let known = match tag.kind {
            KIND_FRAME => FrameRecord::from_words(tag.flags, tag.words).map(|frame| {
                let idle = frame.flags.contains(FrameFlags::IDLE);
                (frame.gvcid, None, frame.reason != BadReason::None, idle)
            }),
            KIND_PACKET => PacketRecord::from_words(tag.flags, tag.words).map(|packet| {
                let idle = packet.pvn == 0 && packet.apid == IDLE_APID;
                (packet.gvcid, Some(packet.apid), packet.flags.intersects(NOT_GOOD), idle)
            }),
            _ => None,
        };
        let Some((gvcid, apid, bad, idle)) = known else { return Err(Filtered::Unknown) };
        let unwanted = match self.quality {
            Quality::Good => bad,
            Quality::Bad => !bad,
            Quality::Any => false,
        };
        if unwanted {
            return Err(Filtered::Quality);
        }
        if idle && self.idle == Idle::Drop {
            return Err(Filtered::Idle);
        }
        if !wanted(&self.spacecraft, Some(gvcid.scid)) {
            return Err(Filtered::Spacecraft);
        }
        if !wanted(&self.vcs, Some(gvcid.vcid)) {
            return Err(Filtered::VirtualChannel);
        }
        if !wanted(&self.apids, apid) {
            return Err(Filtered::Apid);
        }
        Ok(())
    }

    /// Judges by two filters, the feed's and the client's own.
    ///
    /// # Errors
    /// As [`Filter::judge`].
    pub fn judge_both(&self, own: &Filter, session: Session, tag: &Tag) -> Result<(), Filtered> {
        self.judge(session, tag)?;
        own.judge(session, tag)
    }
}

/// Flags of a packet that show that the frame it ended in was not good.
const NOT_GOOD: FrameFlags =
    FrameFlags(FrameFlags::UNCORRECTABLE.0 | FrameFlags::FECF_FAILED.0 | FrameFlags::HEADER_INVALID.0);

fn wanted<T: PartialEq>(list: &[T], value: Option<T>) -> bool {
    list.is_empty() || value.is_some_and(|value| list.contains(&value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fep_ccsds::Gvcid;

    fn frame(scid: u16, vcid: u8, session: Session, flags: FrameFlags, reason: BadReason) -> Tag {
        let gvcid = Gvcid { tfvn: 0, scid, vcid };
        let (flags, words) =
            FrameRecord { gvcid, session, flags, reason, ..FrameRecord::default() }.to_words();
        Tag { kind: KIND_FRAME, flags, words, ..Tag::default() }
    }

    fn packet(apid: u16) -> Tag {
        let (flags, words) =
            PacketRecord { apid, session: Session::Ops, ..PacketRecord::default() }.to_words();
        Tag { kind: KIND_PACKET, flags, words, ..Tag::default() }
    }

    #[test]
    fn each_condition_is_judged_and_names_itself() {
        let good = frame(673, 1, Session::Ops, FrameFlags::empty(), BadReason::None);
        let bad = frame(0, 0, Session::Ops, FrameFlags::UNCORRECTABLE, BadReason::Uncorrectable);
        let idle = frame(673, 7, Session::Ops, FrameFlags::IDLE, BadReason::None);
        let judge = |filter: &Filter, tag: &Tag| filter.judge(Session::Ops, tag);
        let all = Filter::default();
        assert_eq!(judge(&all, &good), Ok(()));
        assert_eq!(judge(&all, &idle), Ok(()), "idle frames may hold a CLCW");
        assert_eq!(judge(&all, &bad), Err(Filtered::Quality));
        assert_eq!(judge(&Filter { quality: Quality::Any, ..all.clone() }, &bad), Ok(()));
        assert_eq!(judge(&Filter { quality: Quality::Bad, ..all.clone() }, &good), Err(Filtered::Quality));
        assert_eq!(judge(&Filter { idle: Idle::Drop, ..all.clone() }, &idle), Err(Filtered::Idle));
        assert_eq!(judge(&Filter { spacecraft: vec![162], ..all.clone() }, &good), Err(Filtered::Spacecraft));
        assert_eq!(judge(&Filter { vcs: vec![0, 2], ..all.clone() }, &good), Err(Filtered::VirtualChannel));
        assert_eq!(judge(&Filter { apids: vec![7], ..all.clone() }, &good), Err(Filtered::Apid));
        assert_eq!(judge(&Filter { apids: vec![7], ..all.clone() }, &packet(8)), Err(Filtered::Apid));
        assert_eq!(judge(&Filter { apids: vec![7], ..all.clone() }, &packet(7)), Ok(()));
        assert_eq!(
            judge(&Filter { idle: Idle::Drop, ..all.clone() }, &packet(IDLE_APID)),
            Err(Filtered::Idle)
        );
        let own = Filter { vcs: vec![2], ..Filter::default() };
        assert_eq!(all.judge_both(&own, Session::Ops, &good), Err(Filtered::VirtualChannel));
    }

    // REQ: FEP-FEED-004
    #[test]
    fn a_record_of_another_session_passes_no_filter_whatever_it_asks_for() {
        let everything = Filter { quality: Quality::Any, idle: Idle::Send, ..Filter::default() };
        for of_record in [Session::Ops, Session::Test, Session::Replay] {
            for of_feed in [Session::Ops, Session::Test, Session::Replay] {
                let tag = frame(673, 0, of_record, FrameFlags::empty(), BadReason::None);
                let verdict = everything.judge(of_feed, &tag);
                assert_eq!(verdict, if of_record == of_feed { Ok(()) } else { Err(Filtered::Session) });
            }
        }
        let of_a_later_version = Tag { kind: 99, ..Tag::default() };
        assert_eq!(everything.judge(Session::Ops, &of_a_later_version), Err(Filtered::Unknown));
    }
}
