//! The thread of a spacecraft that several links receive: follows the links' frames rings, merges, judges once, publishes
//! frames, packets and operational control fields once.
//!
//! A restart, by a command, after a kill or a panic, loses nothing and serves nothing twice: each antenna is read again from a cursor
//! behind which nothing was held (see [`super::antenna`]), and before that the merge is shown the newest frames of the
//! spacecraft's own rings as if an antenna of their own had delivered them, so that it knows them when they come again. That
//! is exact as long as what is read again fits the window of the merge (`window_frames`). A packet that was being put together
//! at a kill is lost, as on a single link.

use std::sync::Arc;
use std::time::Duration;

use fep_bus::{BusError, Colour};
use fep_downlink::{
    AntennaCounts, ChainOptions, Framing, Merge, MergeInput, MergeSpec, Merged, Quality, ResumePoint, Sink,
    Spacecraft,
};
use fep_record::{FrameRecord, KIND_FRAME};
use fep_time::Monotonic;
use serde_json::json;

use super::antenna::{Antenna, Look};
use super::recall::{MEMORY, Recall};
use crate::event::{EventCode, EventQueue, LinkEvents};
use crate::heard::Heard;
use crate::metrics::{MetricPlan, RoleMetrics, ThreadFigures};
use crate::ocf::OcfOutlet;
use crate::plan::{Class, Seat};
use crate::publisher::Publisher;
use crate::realtime;
use crate::resume::ResumePage;
use crate::rings::{BusSetting, RingPlan, Rings};
use crate::role::{Command, Ended, Job, Line};
use crate::supervised::Work;
use fep_control::config::{CorePolicy, SpacecraftConfig};
use fep_net::WaitMode;
use fep_record::Session;

/// Between two looks at the line, the counters and the rings' heartbeats.
const HOUSEKEEP_EVERY_NS: i64 = 1_000_000;
/// Between two stored cursors, and two readings of the processor time.
const STORE_EVERY_NS: i64 = 10_000_000;
/// Between two looks whether the rings still lie under their names.
const LINKED_EVERY_NS: i64 = 1_000_000_000;
/// Records of one antenna that are read before the next one's turn.
const TURN_RECORDS: usize = 64;
/// A sleep while some antenna is heard: what it may add to the latency.
const SHORT_NAP_NS: i64 = 50_000;
/// And while none is.
const LONG_NAP_NS: i64 = 1_000_000;
/// With `wait = "adaptive"` it spins so long after the last frame.
const SPIN_NS: i64 = 50_000;
/// Between the beginnings of two turns: where it is more, the thread stood still.
const STANDSTILL_NS: i64 = 50_000_000;
/// Beyond the wait of the merge, until nothing is held for sure: two turns of this thread.
const SETTLE_MARGIN_NS: i64 = 5_000_000;
/// A clock that is off by more than this from one look to the next has been set.
const CLOCK_STEP_NS: u64 = 100_000_000;
/// The two clocks are read within so long, or again later.
const CLOCK_READING_NS: i64 = 1_000_000;

/// What a spacecraft's thread is to do.
#[derive(Clone)]
pub(crate) struct SpacecraftJob {
    pub(crate) config: SpacecraftConfig,
    /// Whether each of its links is heard, in their order.
    pub(crate) heard: Vec<Heard>,
    pub(crate) setting: Arc<BusSetting>,
    pub(crate) queue: EventQueue,
}

/// What outlives a thread.
pub(crate) struct SpacecraftKept {
    publisher: Publisher,
    resume_point: ResumePoint,
}

impl SpacecraftJob {
    fn ring_plan(&self) -> RingPlan {
        let channel = &self.config.channel;
        RingPlan { red: channel.has_red(), packets: true, frame_max: channel.frame.frame_len as u32 }
    }

    fn open(&self) -> Result<SpacecraftKept, BusError> {
        let SpacecraftJob { config, setting, queue, .. } = self;
        let rings = Rings::open(setting, &config.name, &self.ring_plan())?;
        let ocf = OcfOutlet::open(setting, &config.name, config.channel.has_red())?;
        let pages = setting.access(Colour::Black);
        let (page, resume_point) =
            ResumePage::take_over(&setting.dir, &config.name, &rings, &config.channel, &pages)?;
        let links: Vec<String> = config.links.iter().map(|link| link.name.clone()).collect();
        let plan = MetricPlan::Merge(&links);
        let metrics = RoleMetrics::create(&setting.dir, &config.name, &config.channel, plan, &pages)?;
        let events = LinkEvents::new(queue.clone(), config.id);
        Ok(SpacecraftKept { publisher: Publisher::new(rings, page, metrics, events, ocf), resume_point })
    }

    fn merge(&self) -> Result<Merge, String> {
        let config = &self.config;
        Merge::new(MergeSpec {
            antennas: config.links.iter().map(|link| link.id).chain([MEMORY]).collect(),
            frame: config.channel.frame.clone(),
            wait_ns: 1000 * i64::from(config.wait_us),
            window_frames: config.window_frames,
            in_order: config.in_order,
            report_unserved: false,
        })
        .map_err(|error| error.to_string())
    }

    /// The antennas, on the rings that exist; the merge is shown what they may bring again.
    fn antennas(&self, merge: &mut Merge) -> Result<Vec<Antenna>, String> {
        let SpacecraftJob { config, heard, setting, .. } = self;
        let red = config.channel.has_red();
        let antenna = |(link, heard): (&fep_control::config::Antenna, &Heard)| {
            Antenna::new(&link.name, link.id, heard.clone(), red)
        };
        let mut antennas: Vec<Antenna> = config.links.iter().zip(heard).map(antenna).collect();
        for antenna in &mut antennas {
            antenna
                .attach(&setting.dir, &self.reader(), Monotonic::now())
                .map_err(|error| error.to_string())?;
        }
        let recall = Recall {
            dir: &setting.dir,
            spacecraft: &config.name,
            red,
            wait_ns: 1000 * i64::from(config.wait_us),
            window_frames: config.window_frames,
        };
        recall.show(&mut antennas, merge);
        Ok(antennas)
    }

    /// The name under which it reads the rings of its links.
    fn reader(&self) -> String {
        format!("fepd.{}", self.config.name)
    }
}

impl Job for SpacecraftJob {
    type Kept = SpacecraftKept;

    fn name(&self) -> &str {
        &self.config.name
    }

    fn run(self, kept: Option<SpacecraftKept>, seat: Seat, line: &Line) -> Ended<SpacecraftKept> {
        line.sit(&Seat { class: Class::Normal, ..seat });
        let kept = match kept.map_or_else(|| self.open(), Ok) {
            Ok(kept) => kept,
            Err(error) => return Ended { kept: None, failure: Some(error.to_string()) },
        };
        let merged = self.merge().and_then(|mut merge| Ok((self.antennas(&mut merge)?, merge)));
        let (antennas, merge) = match merged {
            Ok(merged) => merged,
            Err(error) => return Ended { kept: Some(kept), failure: Some(error) },
        };
        // Short naps are only short without the slack that the kernel allows itself.
        realtime::set_timer_slack_ns(1_000);
        line.sit(&seat);
        Follower::new(self, kept, merge, antennas, seat.wait).run(line)
    }

    fn keep_alive(kept: &mut SpacecraftKept, now: Monotonic) {
        kept.publisher.housekeep(now);
    }
}

impl Work for SpacecraftJob {
    const KIND: &'static str = "spacecraft";

    fn id(&self) -> u16 {
        self.config.id
    }

    fn session(&self) -> Session {
        self.config.session
    }

    fn wishes(&self) -> (CorePolicy, WaitMode) {
        (self.config.core, self.config.wait)
    }

    fn ring_names(&self) -> Vec<String> {
        self.ring_plan().names(&self.config.name)
    }
}

/// By how much the clock is ahead of monotonic time; `None` where the thread was interrupted between the two readings.
fn clock_ns() -> Option<i64> {
    let before = Monotonic::now();
    let tai = fep_time::tai_now();
    (Monotonic::now().ns_since(before) < CLOCK_READING_NS).then(|| tai.0.saturating_sub(before.0))
}

/// One life of a spacecraft's thread, once everything is open.
struct Follower {
    antennas: Vec<Antenna>,
    merge: Merge,
    spacecraft: Spacecraft,
    publisher: Publisher,
    octets: Vec<u8>,
    figures: ThreadFigures,
    wait: WaitMode,
    wait_ns: i64,
    reader: String,
    dir: std::path::PathBuf,
    started: Monotonic,
    active_at: Monotonic,
    turned_at: Monotonic,
    /// How long this thread stood still in all. The clock of the merge stands still with it: frames that lie on the rings
    /// after a standstill have not been waited for.
    stood_ns: i64,
    kept_house_at: Monotonic,
    stored_at: Monotonic,
    linked_at: Monotonic,
    /// By how much the clock was ahead of monotonic time when it was last looked at.
    clock_ns: i64,
}

impl Follower {
    fn new(
        job: SpacecraftJob,
        kept: SpacecraftKept,
        merge: Merge,
        antennas: Vec<Antenna>,
        wait: WaitMode,
    ) -> Follower {
        let reader = job.reader();
        let SpacecraftJob { config, setting, .. } = job;
        let options = ChainOptions {
            session: config.session,
            framing: Framing::Stream,
            idle: config.idle,
            ..ChainOptions::default()
        };
        let mut spacecraft = Spacecraft::behind_merge(&config.channel, &options);
        spacecraft.resume(&kept.resume_point);
        let now = Monotonic::now();
        Follower {
            antennas,
            merge,
            spacecraft,
            publisher: kept.publisher,
            octets: Vec::new(),
            figures: ThreadFigures::default(),
            wait,
            wait_ns: 1000 * i64::from(config.wait_us),
            reader,
            dir: setting.dir.clone(),
            started: now,
            active_at: now,
            turned_at: now,
            stood_ns: 0,
            kept_house_at: Monotonic::PAST,
            stored_at: now,
            linked_at: now,
            clock_ns: clock_ns().unwrap_or_else(|| fep_time::tai_now().0.saturating_sub(now.0)),
        }
    }

    fn run(mut self, line: &Line) -> Ended<SpacecraftKept> {
        self.publisher.housekeep(Monotonic::now());
        self.update_metrics();
        line.report_ready();
        loop {
            let start = Monotonic::now();
            let turn_ns = start.ns_since(self.turned_at);
            self.turned_at = start;
            if turn_ns > STANDSTILL_NS {
                self.stood_ns += turn_ns;
            }
            let active = self.turn(self.merge_time(start));
            self.figures.turns += 1;
            let now = Monotonic::now();
            if active {
                self.active_at = now;
                self.figures.work_ns += now.ns_since(start).unsigned_abs();
            }
            if now.ns_since(self.kept_house_at) >= HOUSEKEEP_EVERY_NS {
                match self.keep_house(now, line) {
                    Ok(false) => {}
                    Ok(true) => return self.end(None),
                    Err(cause) => return self.end(Some(cause)),
                }
            }
            if !active {
                self.nap(now);
            }
        }
    }

    /// The time that the merge is given.
    fn merge_time(&self, now: Monotonic) -> Monotonic {
        now.plus_ns(-self.stood_ns)
    }

    /// Reads what has come by `now`, a time of the merge, and serves what is due. Returns whether anything came.
    fn turn(&mut self, now: Monotonic) -> bool {
        let patient = now.ns_since(self.started) < self.wait_ns;
        let Follower { antennas, merge, spacecraft, publisher, octets, .. } = self;
        let mut serving = Serving { spacecraft, publisher, begun: false };
        let mut active = false;
        let mut gone = false;
        for antenna in &mut *antennas {
            let heard = antenna.is_heard();
            let mut drained = false;
            for _ in 0..TURN_RECORDS {
                let Look::Record(record, colour) = antenna.poll(octets) else {
                    drained = true;
                    break;
                };
                active = true;
                if record.tag.kind != KIND_FRAME {
                    continue;
                }
                let Some(known) = FrameRecord::from_words(record.tag.flags, record.tag.words) else {
                    continue;
                };
                let frame = MergeInput {
                    octets,
                    record: known,
                    received: record.tag.received,
                    colour,
                    antenna: antenna.number,
                    seq: record.seq,
                    quality: Quality::Unstated,
                };
                merge.push(&frame, now, &mut |merged| serving.serve(&merged));
            }
            if antenna.settle(heard, drained, patient) {
                gone = true;
                merge.antenna_gone(antenna.number, now, &mut |merged| serving.serve(&merged));
            }
        }
        merge.poll(now, &mut |merged| serving.serve(&merged));
        if gone && !antennas.iter().any(Antenna::is_live) {
            // Nobody hears the spacecraft: what comes next may be any number of frames later.
            merge.flush(&mut |merged| serving.serve(&merged));
            serving.spacecraft.interrupted();
        }
        serving.end();
        active
    }

    fn nap(&self, now: Monotonic) {
        let spins = match self.wait {
            WaitMode::Busy => true,
            WaitMode::Wait => false,
            WaitMode::Adaptive => now.ns_since(self.active_at) < SPIN_NS,
        };
        if spins {
            std::hint::spin_loop();
            return;
        }
        let heard = self.antennas.iter().any(Antenna::is_heard);
        let longest = if heard { SHORT_NAP_NS } else { LONG_NAP_NS };
        let due = self.merge.next_timeout().map_or(longest, |at| at.ns_since(self.merge_time(now)));
        let nap_ns = due.clamp(0, longest).unsigned_abs();
        if nap_ns > 0 {
            std::thread::sleep(Duration::from_nanos(nap_ns));
        }
    }

    /// Where the clock was set, the merge starts anew: the links stamp by the same clock, and places that were found by receive
    /// time are worth nothing any more.
    fn look_at_the_clock(&mut self) {
        let Some(clock_ns) = clock_ns() else { return };
        if clock_ns.abs_diff(self.clock_ns) > CLOCK_STEP_NS {
            let Follower { merge, spacecraft, publisher, .. } = self;
            let mut serving = Serving { spacecraft, publisher, begun: false };
            merge.start_anew(&mut |merged| serving.serve(&merged));
            serving.spacecraft.interrupted();
            serving.end();
        }
        self.clock_ns = clock_ns;
    }

    /// Counters, heartbeats, events, commands, cursors. `true` to stop.
    fn keep_house(&mut self, now: Monotonic, line: &Line) -> Result<bool, String> {
        self.kept_house_at = now;
        self.look_at_the_clock();
        for antenna in &mut self.antennas {
            antenna.attach(&self.dir, &self.reader, now).map_err(|error| error.to_string())?;
            let records = antenna.take_lost();
            if records > 0 {
                let detail = json!({"antenna": antenna.link, "records": records});
                self.publisher.events.report(EventCode::AntennaLapped, detail);
            }
        }
        if now.ns_since(self.stored_at) >= STORE_EVERY_NS {
            self.stored_at = now;
            self.figures.cpu_ns = realtime::thread_cpu_ns();
            let settled_ns = self.wait_ns + SETTLE_MARGIN_NS;
            let merge_time = self.merge_time(now);
            for antenna in &mut self.antennas {
                antenna.store_cursor(now, merge_time, settled_ns).map_err(|error| error.to_string())?;
            }
        }
        if now.ns_since(self.linked_at) >= LINKED_EVERY_NS {
            self.linked_at = now;
            self.publisher.check_linked()?;
        }
        self.update_metrics();
        self.publisher.housekeep(now);
        while let Some(command) = line.next() {
            match command {
                Command::Stop => return Ok(true),
                Command::Reset => {
                    self.spacecraft.reset();
                    self.publisher.resume.clear();
                    self.publisher.events.report(EventCode::LinkReset, json!({}));
                }
                Command::Sit(seat) => {
                    line.sit(&seat);
                    self.wait = seat.wait;
                }
                Command::Panic => panic!("asked for by the test switch"),
            }
        }
        Ok(false)
    }

    fn update_metrics(&mut self) {
        let Follower { antennas, merge, spacecraft, publisher, figures, .. } = self;
        figures.events_overflowed = publisher.events.overflowed();
        figures.packets_too_long = publisher.packets_too_long;
        let ledger = merge.ledger();
        let antennas = antennas.iter().map(|antenna| {
            let counts = ledger.antennas.iter().find(|(number, _)| *number == antenna.number);
            let counts = counts.map_or(AntennaCounts::default(), |(_, counts)| *counts);
            (antenna.is_heard(), antenna.is_live(), counts, antenna.lost())
        });
        publisher.metrics.update_merge(ledger, antennas);
        publisher.metrics.update(figures, &publisher.ocf.counts, spacecraft.ledger(), spacecraft.vcs());
    }

    /// Serves everything that is held when no antenna is waited for any more. While one is heard, or its rings have not been
    /// read to their end, what is missing and copies of what was served may still come: what was read last is left to the next
    /// life, as after a kill. After a failure what is kept is the rings, unless they are the failure.
    fn end(mut self, failure: Option<String>) -> Ended<SpacecraftKept> {
        if !self.antennas.iter().any(Antenna::is_live) {
            let Follower { merge, spacecraft, publisher, .. } = &mut self;
            let mut serving = Serving { spacecraft, publisher, begun: false };
            merge.flush(&mut |merged| serving.serve(&merged));
            serving.end();
            self.antennas.iter_mut().for_each(Antenna::settle_cursor);
        }
        self.publisher.events.flush();
        self.update_metrics();
        self.publisher.housekeep(Monotonic::now());
        let linked = self.publisher.check_linked().is_ok();
        let kept = SpacecraftKept { resume_point: self.spacecraft.resume_point(), publisher: self.publisher };
        Ended { kept: linked.then_some(kept), failure }
    }
}

/// Where the merge serves: the judgement, and behind it the rings.
struct Serving<'f> {
    spacecraft: &'f mut Spacecraft,
    publisher: &'f mut Publisher,
    /// Whether something was served in this turn.
    begun: bool,
}

impl Serving<'_> {
    fn serve(&mut self, merged: &Merged<'_>) {
        if !self.begun {
            self.begun = true;
            // The first has waited longest, or nearly: the latency of the batch is that of this frame.
            self.publisher.received(merged.received);
            self.publisher.batch_decoded(1);
        }
        self.spacecraft.merged(merged, self.publisher);
    }

    fn end(&mut self) {
        if self.begun {
            self.publisher.batch_done();
        }
    }
}
