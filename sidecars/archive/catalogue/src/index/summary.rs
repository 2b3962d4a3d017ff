//! What the catalogue keeps of a segment: who was received when, and where each counter ran on and where it broke.

use std::collections::HashMap;

use fep_record::{FrameFlags, Session};

use crate::CONTACT_SILENCE_NS;
use crate::continuity::{Rates, Step, Unit, judge};
use crate::model::{Break, Channel, Presence, PresenceCounts, Run};
use crate::quality::Quality;

/// Everything of one segment that the catalogue keeps besides its facts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Earliest and latest reception; `None` without a frame, packet or event.
    pub rx_tai_ns: Option<(i64, i64)>,
    /// Payload octets of them.
    pub payload_octets: u64,
    /// By link, session and spacecraft, in order of time.
    pub presences: Vec<Presence>,
    /// By channel, in order of sequence.
    pub runs: Vec<Run>,
    /// Between the runs of one contact.
    pub breaks: Vec<Break>,
}

/// A frame or packet, as far as the summary is concerned.
pub(super) struct Seen {
    pub(super) seq: u64,
    pub(super) rx_tai_ns: i64,
    pub(super) link: u16,
    pub(super) session: Session,
    pub(super) scid: u16,
    pub(super) quality: Quality,
    pub(super) idle: bool,
    pub(super) len: usize,
    pub(super) by_packet: bool,
    /// Channel, count and modulus; `None` when it has no count that means anything.
    pub(super) counted: Option<(Channel, u64, u64)>,
    /// What the engine flagged of the counter.
    pub(super) flags: FrameFlags,
}

struct ChannelState {
    run: Run,
    contact: u32,
}

struct LinkState {
    last_rx_tai_ns: i64,
    contact: u32,
}

/// Link, session, and whether it is told by packets.
type LinkKey = (u16, u8, bool);

#[derive(Default)]
pub(super) struct Summariser {
    done: Summary,
    links: HashMap<LinkKey, LinkState>,
    /// By link and spacecraft: the contact of the last one, and its place among the presences.
    presences: HashMap<(LinkKey, Option<u16>), (u32, usize)>,
    channels: HashMap<Channel, ChannelState>,
}

impl Summariser {
    /// A record was received, whatever it is.
    pub(super) fn note(&mut self, rx_tai_ns: i64, len: usize) {
        self.done.payload_octets += len as u64;
        let (first, last) = self.done.rx_tai_ns.unwrap_or((rx_tai_ns, rx_tai_ns));
        self.done.rx_tai_ns = Some((first.min(rx_tai_ns), last.max(rx_tai_ns)));
    }

    pub(super) fn push(&mut self, seen: &Seen) {
        let rx = seen.rx_tai_ns;
        self.note(rx, seen.len);
        let contact = self.contact(seen);
        self.note_presence(seen, contact);
        if let Some((channel, count, modulus)) = seen.counted {
            let unit =
                Unit { seq: seen.seq, count: count % modulus.max(1), rx_tai_ns: rx, flags: seen.flags };
            self.note_count(channel, unit, modulus, contact);
        }
    }

    /// Number of the contact on this unit's link; a silence begins a new one.
    fn contact(&mut self, seen: &Seen) -> u32 {
        let key = (seen.link, seen.session as u8, seen.by_packet);
        let link = self.links.entry(key).or_insert(LinkState { last_rx_tai_ns: seen.rx_tai_ns, contact: 0 });
        if seen.rx_tai_ns.saturating_sub(link.last_rx_tai_ns) > CONTACT_SILENCE_NS {
            link.contact += 1;
        }
        link.last_rx_tai_ns = seen.rx_tai_ns;
        link.contact
    }

    fn note_presence(&mut self, seen: &Seen, contact: u32) {
        let bad = seen.quality == Quality::Bad;
        let scid = (!bad).then_some(seen.scid);
        let counts = PresenceCounts {
            units: 1,
            bad: u64::from(bad),
            corrected: u64::from(seen.quality == Quality::Corrected),
            idle: u64::from(seen.idle),
            octets: seen.len as u64,
        };
        let key = ((seen.link, seen.session as u8, seen.by_packet), scid);
        if let Some((of, at)) = self.presences.get(&key)
            && *of == contact
        {
            let presence = &mut self.done.presences[*at];
            presence.first_rx_tai_ns = presence.first_rx_tai_ns.min(seen.rx_tai_ns);
            presence.last_rx_tai_ns = presence.last_rx_tai_ns.max(seen.rx_tai_ns);
            presence.counts += counts;
            return;
        }
        self.presences.insert(key, (contact, self.done.presences.len()));
        self.done.presences.push(Presence {
            link: seen.link,
            session: seen.session as u8,
            scid,
            by_packets: seen.by_packet,
            first_rx_tai_ns: seen.rx_tai_ns,
            last_rx_tai_ns: seen.rx_tai_ns,
            counts,
        });
    }

    fn note_count(&mut self, channel: Channel, unit: Unit, modulus: u64, contact: u32) {
        let Some(state) = self.channels.get_mut(&channel) else {
            self.channels.insert(channel, ChannelState { run: start_run(channel, unit, modulus), contact });
            return;
        };
        let comparable = state.contact == contact && state.run.modulus == modulus;
        if comparable {
            match judge(modulus, state.run.last_unit(), unit, Rates::of(&state.run)) {
                Step::Next => {
                    extend(&mut state.run, unit);
                    state.run.units += 1;
                    state.run.last_count = unit.count;
                    return;
                }
                Step::Duplicate => {
                    extend(&mut state.run, unit);
                    state.run.duplicates += 1;
                    return;
                }
                Step::Gap { lost, cause } => {
                    let last = state.run.last_unit();
                    self.done.breaks.push(Break { channel, modulus, last, next: unit, lost, cause });
                }
            }
        }
        let ended =
            std::mem::replace(state, ChannelState { run: start_run(channel, unit, modulus), contact });
        self.done.runs.push(ended.run);
    }

    pub(super) fn finish(self) -> Summary {
        let Summariser { mut done, channels, .. } = self;
        done.runs.extend(channels.into_values().map(|state| state.run));
        done.runs.sort_by_key(|run| (run.channel, run.first_seq));
        done.breaks.sort_by_key(|found| found.next.seq);
        done
    }
}

fn start_run(channel: Channel, unit: Unit, modulus: u64) -> Run {
    Run {
        channel,
        first_seq: unit.seq,
        last_seq: unit.seq,
        first_rx_tai_ns: unit.rx_tai_ns,
        last_rx_tai_ns: unit.rx_tai_ns,
        first_count: unit.count,
        last_count: unit.count,
        units: 1,
        duplicates: 0,
        modulus,
        first_flags: unit.flags.0,
    }
}

fn extend(run: &mut Run, unit: Unit) {
    run.last_seq = unit.seq;
    run.last_rx_tai_ns = run.last_rx_tai_ns.max(unit.rx_tai_ns);
}
