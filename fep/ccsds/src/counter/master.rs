//! The counters of one spacecraft.

use fep_time::Tai;

use super::judge::{Evidence, Expected, is_explained, is_impossible, judge};
use super::rate::{FrameRate, RateBounds};
use super::{Continuity, CounterState, MasterChannelState};
use crate::frame::Frame;

/// Frames in a row at which the master channel counter moved by one, before it is believed.
const PROOF: u32 = 8;
/// Virtual channels, twice: sequence-controlled and expedited counters.
const SLOTS: usize = 128;
const NO_SLOT: u8 = u8::MAX;
/// What a station or a network may have held frames back for: so long, in nanoseconds, may have gone by for the spacecraft
/// between two frames that come together.
const HELD_NS: u64 = 10_000_000_000;

/// How the frames reach us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// Out of a stream of bits or of channel symbols: in lock nothing goes missing unseen, what cannot be read is reported
    /// with [`MasterChannel::unreadable`].
    #[default]
    Stream,
    /// One by one, as datagrams: any of them may have been lost on the way, and nothing tells. A jump backwards that the
    /// time since the last frame explains is then a gap.
    Units,
}

/// Parameters of a [`MasterChannel`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CounterSpec {
    /// Whether the TM master channel counter may settle what the virtual channel counters leave open. Not where frames
    /// of several receptions are merged, or come from a store.
    pub use_master_count: bool,
    /// How the frames reach us.
    pub delivery: Delivery,
    /// The most frames a second that the physical channel can carry, if it is known.
    pub max_frame_rate_hz: Option<f64>,
}

impl Default for CounterSpec {
    fn default() -> Self {
        CounterSpec { use_master_count: true, delivery: Delivery::Stream, max_frame_rate_hz: None }
    }
}

/// What the counters of one frame say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameContinuity {
    /// Master channel counter; [`Continuity::Uncounted`] for AOS and USLP, which have none.
    pub master: Continuity,
    /// Virtual channel counter.
    pub virtual_channel: Continuity,
}

/// Sums since the beginning; a virtual channel keeps those of its last frame, so that it sees what happened since.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    interruptions: u64,
    unreadable: u64,
    /// Time in which no frames could be read, in nanoseconds.
    silent_ns: u64,
    /// Times at which a clock was set while no frames could be read.
    clock_faults: u64,
    /// Frames that the master channel lost.
    lost: u64,
    /// Steps of the master channel counter of which nobody knows how many frames they lost.
    doubts: u64,
    /// Resets of the master channel counter.
    resets: u64,
}

impl Sums {
    /// Whether nothing happened from here to there after which frames may be missing.
    fn nothing_missing_until(&self, later: &Sums) -> bool {
        (self.interruptions, self.unreadable, self.lost, self.resets)
            == (later.interruptions, later.unreadable, later.lost, later.resets)
    }
}

#[derive(Debug, Clone)]
struct VcState {
    slot: u8,
    count: u64,
    modulus: u64,
    received: Tai,
    seen: Sums,
    rate: FrameRate,
    /// Frames of this channel in a row at which the master channel counter moved by one.
    proof: u32,
    /// Times at which the master channel counter said that nothing was missing where this channel's counter jumped.
    conflicts: u32,
}

impl VcState {
    /// Whether the master channel counter counts this channel. Each conflict makes it harder to believe: a station that
    /// drops frames and numbers the rest again makes one at every loss.
    fn is_proved(&self) -> bool {
        self.proof >= self.proof_needed()
    }

    fn proof_needed(&self) -> u32 {
        PROOF << (2 * self.conflicts.min(8))
    }
}

/// Follows the counters of all channels of one spacecraft: the master channel counter of TM, the virtual channel
/// counters of TM and AOS, both counters (sequence-controlled and expedited) of each USLP virtual channel.
///
/// # The master channel counter of TM
///
/// A virtual channel cannot lose more frames than its master channel. So what the master channel lost since a virtual
/// channel was last seen settles what eight bits leave open: a jump that it does not explain is a
/// [`Continuity::Reset`], however small; a jump backwards that it explains is a [`Continuity::Gap`].
///
/// Real spacecraft leave that counter at 0, count only some virtual channels with it, or a station numbers frames again.
/// So it is believed only where it was seen to count: it moved by one at each of the last frames of *this* virtual channel.
#[derive(Debug, Clone)]
pub struct MasterChannel {
    spec: CounterSpec,
    sums: Sums,
    /// Sums at the last frame of any virtual channel.
    seen: Sums,
    last_count: Option<u8>,
    last_received: Option<Tai>,
    rate: FrameRate,
    index: [u8; SLOTS],
    channels: Vec<VcState>,
}

impl Default for MasterChannel {
    fn default() -> Self {
        MasterChannel::new(CounterSpec::default())
    }
}

impl MasterChannel {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(spec: CounterSpec) -> MasterChannel {
        MasterChannel {
            spec,
            sums: Sums::default(),
            seen: Sums::default(),
            last_count: None,
            last_received: None,
            rate: FrameRate::default(),
            index: [NO_SLOT; SLOTS],
            channels: Vec::new(),
        }
    }

    /// Takes the next frame of this spacecraft, received at `received`: also frames of virtual channels that nobody wants
    /// (whose own verdict is then of no interest), because they move the master channel counter.
    ///
    /// `received` is compared with that of other frames only. It should come from a clock that is not set while the
    /// process runs; where time goes backwards across an interruption it is not used.
    ///
    /// Frames of the AOS and USLP idle channel are [`Continuity::Uncounted`]: real spacecraft leave their count at 0, and
    /// nothing is lost with them.
    #[inline]
    pub fn observe(&mut self, frame: &Frame<'_>, received: Tai) -> FrameContinuity {
        let step = self.take_time(received);
        let mc_count = frame.mc_count.filter(|_| self.spec.use_master_count);
        let master = self.judge_master(mc_count, &step);
        if frame.idle && frame.mc_count.is_none() {
            return FrameContinuity { master, virtual_channel: Continuity::Uncounted };
        }
        let modulus = frame.frame_count_modulus;
        if modulus <= 1 {
            return FrameContinuity { master, virtual_channel: Continuity::Uncounted };
        }
        let mut count = frame.frame_count;
        if count >= modulus {
            count %= modulus;
        }
        let slot = slot(frame.gvcid.vcid, frame.is_expedited());
        let known = usize::from(self.index[slot]);
        let Some(state) = self.channels.get_mut(known).filter(|state| state.modulus == modulus) else {
            // A new channel, or one that changed the width of its counter: nothing to compare with.
            self.sums.doubts += u64::from(!matches!(master, Continuity::Next));
            let state = CounterState {
                vcid: frame.gvcid.vcid,
                expedited: frame.is_expedited(),
                count,
                modulus,
                received,
                rate: None,
            };
            self.insert(&state);
            return FrameContinuity { master, virtual_channel: Continuity::First };
        };
        let follows = count == if state.count + 1 == modulus { 0 } else { state.count + 1 };
        let is_usual = follows && matches!(master, Continuity::Next | Continuity::Uncounted);
        if is_usual && state.seen.nothing_missing_until(&self.sums) {
            // What nearly every frame is, without a look at the evidence.
            state.proof = state.proof.saturating_add(u32::from(master == Continuity::Next));
            state.rate.add(1, received.ns_since(state.received));
            (state.count, state.received, state.seen) = (count, received, self.sums);
            return FrameContinuity { master, virtual_channel: Continuity::Next };
        }
        self.judge_jump(known, &step, mc_count, master, count, received)
    }

    /// A frame of a channel that was seen before, where something is not as usual.
    #[cold]
    fn judge_jump(
        &mut self,
        known: usize,
        step: &MasterStep,
        mc_count: Option<u8>,
        mut master: Continuity,
        count: u64,
        received: Tai,
    ) -> FrameContinuity {
        let state = &mut self.channels[known];
        let modulus = state.modulus;
        let moved = count != state.count;
        let follows = count == (state.count + 1) % modulus;
        // Both counters at 0 in the middle of an unbroken stream: the spacecraft started again. By chance, and lost
        // frames in between, that happens once in 65536 losses.
        if mc_count == Some(0) && count == 0 && moved && !follows && !step.is_dark && is_jump(master) {
            master = Continuity::Reset;
        }
        let proved = state.is_proved();
        match master {
            Continuity::Gap { lost, at_least: false } if proved => self.sums.lost += lost,
            Continuity::Next | Continuity::First | Continuity::Uncounted => {}
            Continuity::Duplicate if !moved => {}
            Continuity::Reset => {
                self.sums.resets += 1;
                self.sums.doubts += 1;
            }
            Continuity::Gap { .. } | Continuity::Duplicate => self.sums.doubts += 1,
        }
        let since = Since { seen: &state.seen, sums: &self.sums };
        let believed = proved && since.no_doubt() && mc_count.is_some() && master != Continuity::Duplicate;
        let rate = known_rate(state.rate.bounds(), self.rate.bounds(), self.spec.max_frame_rate_hz);
        let evidence = Evidence {
            interrupted: since.interrupted(),
            unreadable: since.unreadable(),
            missing: believed.then(|| since.lost()),
            expected: since.expected(rate),
        };
        let started_again = count == 0 && since.reset() && !evidence.interrupted && !follows && moved;
        let elapsed_ns = received.ns_since(state.received);
        let mut virtual_channel =
            if started_again { Continuity::Reset } else { judge(state.count, count, modulus, &evidence) };
        if virtual_channel == Continuity::Reset
            && self.spec.delivery == Delivery::Units
            && evidence.missing.is_none()
            && let (Some(rate), Ok(elapsed_ns)) = (rate, u64::try_from(elapsed_ns))
            && let Some(gap) = is_explained(state.count, count, modulus, rate.expected(elapsed_ns))
        {
            virtual_channel = gap;
        }
        let broken = evidence.interrupted || evidence.unreadable > 0;
        if !broken
            && evidence.missing.is_none()
            && let Continuity::Gap { lost, .. } = virtual_channel
            && let (Some(rate), Ok(elapsed_ns)) = (rate, u64::try_from(elapsed_ns))
            && is_impossible(lost, modulus, rate.expected(elapsed_ns.saturating_add(HELD_NS)))
        {
            virtual_channel = Continuity::Reset;
        }
        state.prove(master, virtual_channel, step.is_dark, believed && !evidence.interrupted);
        if !broken {
            match virtual_channel {
                Continuity::Next => state.rate.add(1, elapsed_ns),
                Continuity::Gap { lost, at_least: false } => state.rate.add(lost + 1, elapsed_ns),
                _ => {}
            }
        }
        (state.count, state.received, state.seen) = (count, received, self.sums);
        FrameContinuity { master, virtual_channel }
    }

    /// Lock was lost, or the connection: frames may be missing before the next one, and any number of them.
    pub const fn interrupted(&mut self) {
        self.sums.interruptions += 1;
    }

    /// So many blocks of the physical channel came, in lock, of which no frame could be had: the code or the FECF failed,
    /// or the header could not be read.
    pub const fn unreadable(&mut self, blocks: u64) {
        self.sums.unreadable = self.sums.unreadable.saturating_add(blocks);
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = MasterChannel::new(self.spec);
    }

    /// Last master channel count (TM).
    #[must_use]
    pub const fn last_count(&self) -> Option<u8> {
        self.last_count
    }

    /// Where one counter stands; `None` for one that was never seen.
    #[must_use]
    pub fn counter(&self, vcid: u8, expedited: bool) -> Option<CounterState> {
        let state = self.channels.get(usize::from(self.index[slot(vcid, expedited)]))?;
        Some(CounterState {
            vcid: vcid & 63,
            expedited,
            count: state.count,
            modulus: state.modulus,
            received: state.received,
            rate: state.rate.bounds(),
        })
    }

    /// Where all counters stand, but without the virtual channels: [`MasterChannel::counter`] has those.
    #[must_use]
    pub fn master_state(&self) -> MasterChannelState {
        MasterChannelState {
            master_count: self.last_count,
            received: self.last_received,
            rate: self.rate.bounds(),
            channels: Vec::new(),
        }
    }

    /// Where all counters stand.
    #[must_use]
    pub fn state(&self) -> MasterChannelState {
        let counters =
            self.channels.iter().filter_map(|state| self.counter(state.slot & 63, state.slot & 64 != 0));
        MasterChannelState { channels: counters.collect(), ..self.master_state() }
    }

    /// Takes up the counters where an earlier life of the process left them. What is missing before the next frame of
    /// each channel is then found as after any interruption. What was seen before is forgotten.
    pub fn resume(&mut self, state: &MasterChannelState) {
        self.reset();
        self.last_count = state.master_count;
        let newest = state.channels.iter().map(|counter| counter.received).max();
        self.last_received = state.received.max(newest);
        self.rate = FrameRate::resumed(state.rate);
        for counter in &state.channels {
            if counter.modulus > 1 && counter.count < counter.modulus && counter.vcid < 64 {
                self.insert(counter);
            }
        }
        self.interrupted();
    }

    fn insert(&mut self, counter: &CounterState) {
        let slot = slot(counter.vcid, counter.expedited);
        let state = VcState {
            slot: slot as u8,
            count: counter.count,
            modulus: counter.modulus,
            received: counter.received,
            seen: self.sums,
            rate: FrameRate::resumed(counter.rate),
            proof: 0,
            conflicts: 0,
        };
        match self.channels.get_mut(usize::from(self.index[slot])) {
            Some(old) => *old = state,
            None => {
                // At most one for each slot.
                self.index[slot] = self.channels.len() as u8;
                self.channels.push(state);
            }
        }
    }

    /// Counts the time since the last frame: as a measure of the rate, or as silence.
    #[inline]
    fn take_time(&mut self, received: Tai) -> MasterStep {
        let interrupted = self.sums.interruptions != self.seen.interruptions;
        let unreadable = self.sums.unreadable - self.seen.unreadable;
        let mut step =
            MasterStep { is_dark: interrupted || unreadable > 0, interrupted, unreadable, silent_ns: None };
        if let Some(last) = self.last_received.replace(received) {
            let elapsed_ns = received.ns_since(last);
            if !step.is_dark {
                self.rate.add(1, elapsed_ns);
            } else if let Ok(elapsed_ns) = u64::try_from(elapsed_ns) {
                // The frame itself takes its turn of the time.
                let silent_ns = elapsed_ns.saturating_sub(self.rate.period_ns());
                self.sums.silent_ns = self.sums.silent_ns.saturating_add(silent_ns);
                step.silent_ns = Some(silent_ns);
            } else {
                self.sums.clock_faults += 1;
            }
        }
        (self.seen.interruptions, self.seen.unreadable) = (self.sums.interruptions, self.sums.unreadable);
        step
    }

    #[inline]
    fn judge_master(&mut self, count: Option<u8>, step: &MasterStep) -> Continuity {
        let Some(count) = count else { return Continuity::Uncounted };
        let Some(last) = self.last_count.replace(count) else { return Continuity::First };
        if count == last.wrapping_add(1) && !step.is_dark {
            return Continuity::Next;
        }
        self.judge_master_jump(last, count, step)
    }

    #[cold]
    fn judge_master_jump(&self, last: u8, count: u8, step: &MasterStep) -> Continuity {
        let rate = known_rate(self.rate.bounds(), None, self.spec.max_frame_rate_hz);
        let expected = step.silent_ns.and_then(|silent_ns| Some(rate?.expected(silent_ns)));
        let evidence =
            Evidence { interrupted: step.interrupted, unreadable: step.unreadable, missing: None, expected };
        judge(u64::from(last), u64::from(count), 1 << 8, &evidence)
    }
}

/// The step from the last frame of the spacecraft to this one.
struct MasterStep {
    /// Frames may be missing that nobody saw: an interruption or unreadable blocks.
    is_dark: bool,
    interrupted: bool,
    unreadable: u64,
    silent_ns: Option<u64>,
}

/// What happened since a virtual channel was last seen.
struct Since<'a> {
    seen: &'a Sums,
    sums: &'a Sums,
}

impl Since<'_> {
    fn interrupted(&self) -> bool {
        self.sums.interruptions != self.seen.interruptions
    }

    fn unreadable(&self) -> u64 {
        self.sums.unreadable - self.seen.unreadable
    }

    fn lost(&self) -> u64 {
        self.sums.lost - self.seen.lost
    }

    fn no_doubt(&self) -> bool {
        self.sums.doubts == self.seen.doubts
    }

    fn reset(&self) -> bool {
        self.sums.resets != self.seen.resets
    }

    fn expected(&self, rate: Option<RateBounds>) -> Option<Expected> {
        let clock_was_set = self.sums.clock_faults != self.seen.clock_faults;
        let silent_ns = self.sums.silent_ns - self.seen.silent_ns;
        if clock_was_set { None } else { Some(rate?.expected(silent_ns)) }
    }
}

impl VcState {
    /// Takes into account whether the master channel counter counted this frame.
    fn prove(&mut self, master: Continuity, own: Continuity, is_dark: bool, could_conflict: bool) {
        let conflict = could_conflict && own == Continuity::Reset && !matches!(master, Continuity::Reset);
        if conflict {
            self.conflicts += 1;
            self.proof = 0;
            return;
        }
        match (master, own) {
            (Continuity::Next, Continuity::Next) => self.proof = self.proof.saturating_add(1),
            (Continuity::First, _) => {}
            (Continuity::Gap { .. }, _) if is_dark => {}
            // Frames that were lost before they reached us: the two counters agree on it.
            (Continuity::Gap { lost, .. }, Continuity::Gap { lost: own, .. }) if own <= lost => {}
            (Continuity::Duplicate, Continuity::Duplicate) => {}
            _ => self.proof = 0,
        }
    }
}

fn slot(vcid: u8, expedited: bool) -> usize {
    // 63 is the greatest virtual channel of any frame kind.
    usize::from(vcid & 63) + if expedited { SLOTS / 2 } else { 0 }
}

fn is_jump(master: Continuity) -> bool {
    matches!(master, Continuity::Gap { .. } | Continuity::Reset)
}

/// What is known of the rate of a virtual channel: it is no faster than its master channel, and that no faster than the
/// physical channel.
fn known_rate(
    own: Option<RateBounds>,
    master: Option<RateBounds>,
    max_hz: Option<f64>,
) -> Option<RateBounds> {
    let most = [own, master].iter().flatten().map(|rate| rate.high_hz).chain(max_hz).reduce(f64::min)?;
    Some(RateBounds { low_hz: own.map_or(0.0, |rate| rate.low_hz).min(most), high_hz: most })
}
