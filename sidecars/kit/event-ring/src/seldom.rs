//! Events that strangers can cause as often as they like.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two events of one kind.
const EVERY: Duration = Duration::from_secs(10);

/// Lets one event through at once, and then one for all of every ten seconds: what anybody can cause must neither hide what
/// else is reported nor fill the archive.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Option<Since>>);

#[derive(Debug)]
struct Since {
    at: Instant,
    unreported: u64,
}

impl Seldom {
    /// Notes that it happened once more; how many to report now, this one included, if any.
    pub fn note(&self, now: Instant) -> Option<u64> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *since {
            Some(since) if now.saturating_duration_since(since.at) < EVERY => {
                since.unreported += 1;
                None
            }
            since => {
                let unreported = since.take().map_or(0, |since| since.unreported);
                *since = Some(Since { at: now, unreported: 0 });
                Some(unreported + 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-KIT-256
    #[test]
    fn a_thousand_times_are_a_few_events_that_count_each() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let mut reported = Vec::new();
        for number in 0..1000_u64 {
            reported.extend(seldom.note(start + Duration::from_millis(25 * number)));
        }
        assert_eq!(reported, [1, 400, 400], "at 0 s, 10 s and 20 s");
    }
}
