//! Signs the days that are over. A clock that is wrong for a while signs nothing, and what cannot be signed is tried again
//! every minute and reported.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use fep_segments::{SegmentError, roots};
use fep_time::clock::unix_now_ns;
use serde_json::json;

use crate::event::{Event, EventCode};
use crate::sealer::{SealerFigures, tell};

/// When days that could not be signed are tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// How long a clock has to run steadily after it made a step forward, before days are signed by it.
const SETTLING: Duration = Duration::from_secs(600);
/// A step: the wall clock went so much further than the monotonic one.
const STEP_NS: u64 = 60_000_000_000;
/// At a start, the clock may be so far ahead of the newest sealed segment without being doubted.
const AHEAD_NS: u64 = 2 * 86_400_000_000_000;

/// What both clocks say in one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    pub(crate) unix_ns: u64,
    pub(crate) monotonic: Instant,
}

impl Clocks {
    pub(crate) fn now() -> Clocks {
        Clocks { unix_ns: unix_now_ns(), monotonic: Instant::now() }
    }
}

/// The days of one archive.
pub(crate) struct Signing {
    archive: PathBuf,
    key_file: PathBuf,
    last: Option<Clocks>,
    /// Not before then.
    after: Option<Instant>,
    /// The day on which past days were signed last.
    signed_on: Option<NaiveDate>,
    failing: bool,
    /// The day on which it was last reported that they cannot be.
    reported_on: Option<NaiveDate>,
}

impl Signing {
    pub(crate) fn new(archive: &Path, key_file: PathBuf) -> Signing {
        Signing {
            archive: archive.to_owned(),
            key_file,
            last: None,
            after: None,
            signed_on: None,
            failing: false,
            reported_on: None,
        }
    }

    /// Looks at the clocks, and signs what is to be signed.
    pub(crate) fn turn(&mut self, now: Clocks, outbox: &Sender<Event>, figures: &SealerFigures) {
        let ahead_ns = match self.last {
            Some(last) => {
                let passed = now.monotonic.saturating_duration_since(last.monotonic).as_nanos() as u64;
                now.unix_ns.saturating_sub(last.unix_ns).saturating_sub(passed)
            }
            None => 0,
        };
        let ahead_of_segments_ns = match self.last {
            Some(_) => 0,
            // A disk that cannot be read is found when the day is signed.
            None => match roots::newest_sealing(&self.archive).unwrap_or(0) {
                0 => 0,
                newest_unix_ns => now.unix_ns.saturating_sub(newest_unix_ns),
            },
        };
        self.last = Some(now);
        if ahead_ns >= STEP_NS || ahead_of_segments_ns >= AHEAD_NS {
            self.after = Some(now.monotonic + SETTLING);
            let ahead_s = ahead_ns.max(ahead_of_segments_ns) / 1_000_000_000;
            let detail = json!({
                "ahead_s": ahead_s,
                "since": if ahead_ns >= STEP_NS { "it stepped" } else { "the newest sealed segment" },
                "hint": "if the clock is wrong, set it right: days are signed after ten minutes without another step",
            });
            tell(outbox, EventCode::ClockDoubted, detail);
        }
        let today = roots::day_of(now.unix_ns);
        if self.signed_on == Some(today) || self.after.is_some_and(|after| now.monotonic < after) {
            return;
        }
        match self.sign(now, outbox) {
            Ok(()) => {
                (self.signed_on, self.after) = (Some(today), None);
                if std::mem::take(&mut self.failing) {
                    tell(outbox, EventCode::SigningRecovered, json!({}));
                }
            }
            Err(error) => {
                self.after = Some(now.monotonic + AGAIN);
                self.failing = true;
                // Tried every minute, reported once a day; the figure shows it all the time.
                if self.reported_on != Some(today) {
                    // Fails only when nobody listens any more, at the end of the process.
                    let _ = outbox.send(Event::signing_failed(&self.archive, &self.key_file, &error));
                    self.reported_on = Some(today);
                }
            }
        }
        figures.signing_failed.store(u64::from(self.failing), Ordering::Relaxed);
    }

    fn sign(&self, now: Clocks, outbox: &Sender<Event>) -> Result<(), SegmentError> {
        let key = roots::key_for(&self.archive, &self.key_file)?;
        let signed = roots::sign_past_days(&self.archive, now.unix_ns, &key)?;
        for path in signed.set_aside {
            let detail = json!({
                "file": path.display().to_string(),
                "problem": "it is the root of a day that has not come: the clock was wrong when it was signed",
                "hint": "what it names is signed again on its day; a copy of the head from that time says nothing",
            });
            tell(outbox, EventCode::RootSetAside, detail);
        }
        if let Some(replaced) = signed.head_replaced {
            let detail = json!({
                "file": roots::head_file(&self.archive).display().to_string(),
                "problem": replaced.problem,
                "aside": replaced.aside.map(|aside| aside.display().to_string()),
            });
            tell(outbox, EventCode::HeadReplaced, detail);
        }
        if signed.days > 0 {
            let head = roots::head_file(&self.archive).display().to_string();
            let hint = "copy the head elsewhere: it shows that nothing newest is missing";
            tell(outbox, EventCode::DaySigned, json!({"days": signed.days, "head": head, "hint": hint}));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc::{Receiver, channel};

    use fep_bus::{Colour, Position, Tag};
    use fep_segments::{Chain, SegmentHeader, SegmentWriter, Stream};

    use super::*;

    struct Site {
        directory: tempfile::TempDir,
        signing: Signing,
        outbox: Sender<Event>,
        events: Receiver<Event>,
        figures: SealerFigures,
        now: Clocks,
    }

    impl Site {
        /// With one segment, sealed now.
        fn new() -> Site {
            let directory = tempfile::tempdir().unwrap();
            let header = SegmentHeader {
                stream: Stream::new(Colour::Black, "cso-1.frames"),
                schema: "ccsds.frame.v1".to_owned(),
                id: 7,
                instance: 1,
                series: 1,
                base: Position { seq: 1, pos: 0, payload: 0 },
                created_unix_ns: 1,
                previous: None,
            };
            let archive = directory.path().join("segments");
            let mut writer = SegmentWriter::create(&archive, header).unwrap();
            writer.record(Tag::default(), b"frame").unwrap();
            writer.seal(Chain::default()).unwrap();
            let signing = Signing::new(&archive, directory.path().join("keys/root.key"));
            let (outbox, events) = channel();
            Site { directory, signing, outbox, events, figures: SealerFigures::default(), now: Clocks::now() }
        }

        fn turn(&mut self) -> Vec<EventCode> {
            self.signing.turn(self.now, &self.outbox, &self.figures);
            self.events.try_iter().map(|event| event.code).collect()
        }

        /// Both clocks go on.
        fn pass(&mut self, time: Duration) {
            self.now.monotonic += time;
            self.now.unix_ns += time.as_nanos() as u64;
        }

        fn roots(&self) -> usize {
            let entries = std::fs::read_dir(self.directory.path().join("segments/roots"));
            entries.map_or(0, |entries| entries.count())
        }
    }

    const DAY: Duration = Duration::from_secs(86_400);

    // REQ: FEP-REC-150
    #[test]
    fn a_key_that_cannot_be_used_is_reported_once_a_day_and_days_are_signed_within_a_minute_after_it_can() {
        let mut site = Site::new();
        let key = site.directory.path().join("keys/root.key");
        std::fs::create_dir(key.parent().unwrap()).unwrap();
        std::fs::write(&key, "11".repeat(32)).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(site.turn(), [EventCode::SigningFailed]);
        assert_eq!(site.figures.signing_failed.load(Ordering::Relaxed), 1);
        for _ in 0..3 {
            site.pass(AGAIN);
            assert_eq!(site.turn(), []);
        }
        site.pass(DAY);
        assert_eq!(site.turn(), [EventCode::SigningFailed], "once more on the next day");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        site.pass(AGAIN);
        assert_eq!(site.turn(), [EventCode::DaySigned, EventCode::SigningRecovered]);
        assert_eq!(site.figures.signing_failed.load(Ordering::Relaxed), 0);
        assert_eq!(site.roots(), 2, "the root of the day, and the head");
    }

    /// The first event of this turn that says that nothing can be signed: its hint.
    fn hint(site: &mut Site) -> String {
        site.signing.reported_on = None;
        site.pass(AGAIN);
        site.signing.turn(site.now, &site.outbox, &site.figures);
        let failed = site.events.try_iter().find(|event| event.code == EventCode::SigningFailed);
        failed.expect("it fails").detail["hint"].as_str().expect("a text").to_owned()
    }

    // REQ: FEP-ARC-193
    #[test]
    fn the_event_says_what_to_do_by_what_stands_in_the_way_of_signing() {
        let mut site = Site::new();
        let key = site.directory.path().join("keys/root.key");
        let archive = site.directory.path().join("segments");
        let kept = site.directory.path().join("kept");
        site.turn();
        site.pass(DAY);
        assert_eq!(site.turn(), [EventCode::DaySigned]);
        site.pass(DAY);
        std::fs::rename(&key, &kept).unwrap();
        assert!(hint(&mut site).contains("as the reason says"));
        std::fs::create_dir(&key).unwrap();
        let told = hint(&mut site);
        assert!(told.contains("remove ") && told.contains("keys/root.key"), "{told}");
        std::fs::remove_dir(&key).unwrap();
        std::fs::write(&key, "not a key").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(hint(&mut site).starts_with("chmod 600 "));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(hint(&mut site).starts_with("restore the key from its copy"));
        std::fs::rename(&kept, &key).unwrap();
        let root = roots::root_files(&archive).unwrap().pop().unwrap();
        let text = std::fs::read(&root).unwrap();
        std::fs::write(&root, "{").unwrap();
        let told = hint(&mut site);
        assert!(told.contains("from a backup") && told.contains(&root.display().to_string()), "{told}");
        std::fs::write(&root, text).unwrap();
        let (directory, aside) = (archive.join("roots"), archive.join("aside"));
        std::fs::rename(&directory, &aside).unwrap();
        std::fs::write(&directory, "").unwrap();
        let told = hint(&mut site);
        assert!(told.contains("a directory is expected") && !told.contains("key"), "{told}");
        std::fs::remove_file(&directory).unwrap();
        std::fs::rename(&aside, &directory).unwrap();
        // What stands in the place of the head keeps nobody from signing.
        let head = roots::head_file(&archive);
        std::fs::remove_file(&head).unwrap();
        std::fs::create_dir(&head).unwrap();
        site.pass(AGAIN);
        assert_eq!(site.turn(), [EventCode::HeadReplaced, EventCode::DaySigned, EventCode::SigningRecovered]);
        assert!(roots::read_head(&head).is_ok());
    }

    // REQ: FEP-REC-151
    #[test]
    fn a_clock_that_steps_forward_signs_nothing_until_it_has_been_steady() {
        let mut site = Site::new();
        site.turn();
        site.now.unix_ns += 30 * DAY.as_nanos() as u64;
        assert_eq!(site.turn(), [EventCode::ClockDoubted]);
        site.pass(SETTLING / 2);
        assert_eq!(site.turn(), []);
        assert_eq!(site.roots(), 0);
        // It is set right again; the day is over only tomorrow.
        site.now.unix_ns -= 30 * DAY.as_nanos() as u64;
        site.pass(SETTLING);
        assert_eq!(site.turn(), []);
        assert_eq!(site.roots(), 0);
        site.pass(DAY);
        assert_eq!(site.turn(), [EventCode::DaySigned]);
    }

    // REQ: FEP-REC-151
    #[test]
    fn a_start_with_a_clock_far_ahead_of_the_segments_waits_and_roots_of_the_future_are_put_aside_and_reported()
     {
        let mut site = Site::new();
        let right = site.now;
        site.pass(4 * DAY);
        assert_eq!(site.turn(), [EventCode::ClockDoubted]);
        assert_eq!(site.roots(), 0);
        // Nobody sets it right: days are signed.
        site.pass(SETTLING);
        assert_eq!(site.turn(), [EventCode::DaySigned]);
        assert_eq!(site.roots(), 5);
        // Somebody does, and starts the recorder again.
        let key = site.signing.key_file.clone();
        let archive = site.signing.archive.clone();
        site.signing = Signing::new(&archive, key);
        site.now = right;
        assert_eq!(site.turn(), [EventCode::RootSetAside; 4]);
        site.pass(DAY);
        assert_eq!(site.turn(), [EventCode::DaySigned], "signing goes on");
    }
}
