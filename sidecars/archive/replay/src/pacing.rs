//! When the next record of a replay is due. Sans-I/O: the time is an argument, nanoseconds of any clock that does not
//! jump; the times of records are their reception times, nanoseconds of TAI.
//!
//! A *head* moves through archive time at the speed asked for; a record is due when the head has reached its time. Pausing
//! holds the head, a step moves it to the next record, seeking puts it somewhere else, a change of speed changes how
//! fast it goes on from where it is. So the spacing of records is the original one divided by the speed, without drift:
//! every record's time is computed from where the head was last set, never from the record before.

use serde::{Deserialize, Serialize};

/// A record that is later than this (the receiver was slow, the machine was busy) is not made up for: the head is set back to
/// it, so that the spacing of those that follow stays the original one.
pub const LATENESS_MAX_NS: i64 = 1_000_000_000;

/// A record that was received so much before its predecessor shows a step of the station's clock: the head follows it.
const STEP_BACK_NS: i64 = 1_000_000_000;

/// How fast archive time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SpeedForm", into = "SpeedForm")]
pub enum Speed {
    /// As fast as the receiver takes it.
    Fastest,
    /// Original time times this many thousandths: 100 (×0.1) to 1 000 000 (×1000).
    Thousandths(u32),
}

/// How a speed is written: a number, or `"fastest"`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum SpeedForm {
    Times(f64),
    Word(String),
}

/// Not a speed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0} is not a speed: 0.1 to 1000 times the original one, or \"fastest\"")]
pub struct SpeedInvalid(String);

impl Speed {
    /// The original timing.
    pub const ORIGINAL: Speed = Speed::Thousandths(1000);

    /// `times` the original speed.
    ///
    /// # Errors
    /// Outside 0.1 to 1000.
    pub fn times(times: f64) -> Result<Speed, SpeedInvalid> {
        // Not a number compares with nothing and is refused too.
        if (0.1..=1000.0).contains(&times) {
            Ok(Speed::Thousandths((times * 1000.0).round() as u32))
        } else {
            Err(SpeedInvalid(times.to_string()))
        }
    }
}

impl std::str::FromStr for Speed {
    type Err = SpeedInvalid;

    fn from_str(text: &str) -> Result<Speed, SpeedInvalid> {
        if text == "fastest" {
            return Ok(Speed::Fastest);
        }
        let times = text.strip_prefix('x').unwrap_or(text);
        times.parse().map_err(|_| SpeedInvalid(format!("{text:?}"))).and_then(Speed::times)
    }
}

impl TryFrom<SpeedForm> for Speed {
    type Error = SpeedInvalid;

    fn try_from(form: SpeedForm) -> Result<Speed, SpeedInvalid> {
        match form {
            SpeedForm::Times(times) => Speed::times(times),
            SpeedForm::Word(word) => word.parse(),
        }
    }
}

impl From<Speed> for SpeedForm {
    fn from(speed: Speed) -> SpeedForm {
        match speed {
            Speed::Fastest => SpeedForm::Word("fastest".to_owned()),
            Speed::Thousandths(thousandths) => SpeedForm::Times(f64::from(thousandths) / 1000.0),
        }
    }
}

/// Whether the next record may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Send it, then say [`Pacer::sent`].
    Now,
    /// Not before this time; ask again then, or after any order.
    At(i64),
    /// Not before an order: the replay is paused.
    Held,
}

/// Where the head was at some time.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// In thousandths of nanoseconds, as speeds are: orders must not round it, or a thousand of them would move it.
    archive: i128,
    /// While paused the head stands, and this means nothing.
    at_ns: i64,
}

/// Decides when each record of one replay is due.
#[derive(Debug, Clone)]
pub struct Pacer {
    speed: Speed,
    paused: bool,
    steps: u64,
    /// `None` until the first record: it is due at once.
    head: Option<Head>,
    last_record_ns: Option<i64>,
    idle_max_ns: Option<i64>,
    slipped_ns: i64,
}

impl Pacer {
    /// A replay at this speed, its first record due at once. With `idle_max_ns`, a silence of the original (between two
    /// contacts, say) lasts no longer than that.
    #[must_use]
    pub fn new(speed: Speed, idle_max_ns: Option<i64>) -> Pacer {
        Pacer { speed, paused: false, steps: 0, head: None, last_record_ns: None, idle_max_ns, slipped_ns: 0 }
    }

    /// The speed.
    #[must_use]
    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// By how much records were later than their time and not made up for, in total.
    #[must_use]
    pub fn slipped_ns(&self) -> i64 {
        self.slipped_ns
    }

    /// Where the head is; `None` before the first record.
    #[must_use]
    pub fn head_ns(&self, now_ns: i64) -> Option<i64> {
        self.head_at(now_ns).map(|archive| saturated(archive.div_euclid(1000)))
    }

    /// Where the head is, in thousandths of nanoseconds.
    fn head_at(&self, now_ns: i64) -> Option<i128> {
        let head = self.head?;
        match self.speed {
            Speed::Thousandths(thousandths) if !self.paused => {
                let passed = i128::from(now_ns.saturating_sub(head.at_ns).max(0));
                Some(head.archive + passed * i128::from(thousandths))
            }
            _ => Some(head.archive),
        }
    }

    /// Holds the head where it is.
    pub fn pause(&mut self, now_ns: i64) {
        if !self.paused {
            self.set_head(self.head_at(now_ns), now_ns);
            self.paused = true;
        }
    }

    /// Goes on from where the head is; steps not yet made are forgotten.
    pub fn resume(&mut self, now_ns: i64) {
        self.set_head(self.head_at(now_ns), now_ns);
        self.paused = false;
        self.steps = 0;
    }

    /// Lets `records` more records go at once and holds again; pauses if it was not.
    pub fn step(&mut self, records: u64, now_ns: i64) {
        self.pause(now_ns);
        self.steps = self.steps.saturating_add(records);
    }

    /// Goes on at another speed from where the head is.
    pub fn set_speed(&mut self, speed: Speed, now_ns: i64) {
        self.set_head(self.head_at(now_ns), now_ns);
        self.speed = speed;
    }

    /// Puts the head at a time of the archive; the caller goes on with the first record at or after it.
    pub fn seek(&mut self, archive_ns: i64, now_ns: i64) {
        self.set_head(Some(exact(archive_ns)), now_ns);
        self.last_record_ns = None;
    }

    /// The records begin again (a loop): the next one is due at once.
    pub fn rewind(&mut self) {
        self.head = None;
        self.last_record_ns = None;
    }

    /// Whether the next record, received at `record_ns`, is due.
    pub fn due(&mut self, record_ns: i64, now_ns: i64) -> Due {
        if self.steps > 0 {
            return Due::Now;
        }
        if self.paused {
            return Due::Held;
        }
        let Speed::Thousandths(thousandths) = self.speed else { return Due::Now };
        let Some(head) = self.head else { return Due::Now };
        if self.last_record_ns.is_some_and(|last| record_ns < last.saturating_sub(STEP_BACK_NS)) {
            self.set_head(Some(exact(record_ns)), now_ns);
            self.last_record_ns = Some(record_ns);
            return Due::Now;
        }
        // Rounded up: never early, not even by a nanosecond.
        let ahead = exact(record_ns) - head.archive;
        let wait = -((-ahead).div_euclid(i128::from(thousandths)));
        let due_ns = saturated(i128::from(head.at_ns) + wait);
        if due_ns <= now_ns {
            let late = now_ns.saturating_sub(due_ns);
            if late > LATENESS_MAX_NS {
                self.slipped_ns = self.slipped_ns.saturating_add(late);
                self.set_head(Some(exact(record_ns)), now_ns);
            }
            return Due::Now;
        }
        match self.idle_max_ns {
            Some(idle_max_ns) if self.silence_ns(record_ns, thousandths) > i128::from(idle_max_ns) => {
                // The head jumps: so far before the record that it takes the longest silence to get there.
                let lead = i128::from(idle_max_ns) * i128::from(thousandths);
                self.set_head(Some(exact(record_ns) - lead), now_ns);
                self.last_record_ns = Some(record_ns);
                Due::At(now_ns.saturating_add(idle_max_ns))
            }
            _ => Due::At(due_ns),
        }
    }

    /// The record was sent.
    pub fn sent(&mut self, record_ns: i64, now_ns: i64) {
        let stepped = self.steps > 0;
        self.steps = self.steps.saturating_sub(1);
        // At a speed the head is ahead of the record already and must not be set back, or the spacing would drift.
        if stepped || self.head.is_none() || self.speed == Speed::Fastest {
            self.set_head(Some(exact(record_ns)), now_ns);
        }
        self.last_record_ns = Some(record_ns);
    }

    /// How long the silence before the record would last.
    fn silence_ns(&self, record_ns: i64, thousandths: u32) -> i128 {
        let last = self.last_record_ns.map(exact);
        let from = last.or(self.head.map(|head| head.archive)).unwrap_or(exact(record_ns));
        (exact(record_ns) - from) / i128::from(thousandths)
    }

    fn set_head(&mut self, archive: Option<i128>, at_ns: i64) {
        if let Some(archive) = archive {
            self.head = Some(Head { archive, at_ns });
        }
    }
}

/// Nanoseconds as thousandths of such.
fn exact(ns: i64) -> i128 {
    i128::from(ns) * 1000
}

fn saturated(ns: i128) -> i64 {
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}
