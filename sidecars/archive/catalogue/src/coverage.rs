//! Whether what one link missed came by another: counting over several receptions of one channel.

use crate::continuity::{Rates, Step, judge};
use crate::model::{Cause, Gap, Run};

/// How far apart two antennas may receive (or time-stamp) the same unit.
pub const ANTENNA_SPREAD_NS: i64 = 2_000_000_000;

/// Whether `runs` of the gap's own channel, whatever the link, hold every unit that is missing in it.
pub(crate) fn covers<'r>(runs: impl Iterator<Item = &'r Run>, gap: &Gap) -> bool {
    // After a reset on board nobody knows what is missing.
    if gap.lost == 0 || gap.cause == Cause::Reset {
        return false;
    }
    // Places in the gap, from 0 to lost, that each run holds.
    let mut spans: Vec<(u64, u64)> = runs.filter_map(|run| span(run, gap)).collect();
    spans.sort_unstable();
    let mut reached = 0;
    for (from, to) in spans {
        if from > reached {
            return false;
        }
        reached = reached.max(to);
    }
    reached >= gap.lost
}

/// Which places of the gap, half-open, a run holds.
///
/// Counts of few bits come again after a turn, so the unit of the run that has the gap's first count must also have come
/// at its time: within [`ANTENNA_SPREAD_NS`], and where the counter turns faster, within a quarter of a turn.
fn span(run: &Run, gap: &Gap) -> Option<(u64, u64)> {
    let modulus = gap.modulus;
    let gap_time_ns = (gap.stop_tai_ns - gap.start_tai_ns) as f64;
    let first_missing_ns = gap.start_tai_ns as f64 + gap_time_ns / (gap.lost + 1) as f64;
    // Time from unit to unit, of the run where it has two.
    let interval_ns = match run.units {
        0 | 1 => gap_time_ns / (gap.lost + 1) as f64,
        units => (run.last_rx_tai_ns - run.first_rx_tai_ns) as f64 / (units - 1) as f64,
    };
    let spread_ns = (ANTENNA_SPREAD_NS as f64).min(interval_ns * modulus as f64 / 4.0);
    // Number, within the run, of the unit that the gap begins with: congruent to the counts, nearest to the times.
    let by_count = offset(run.first_count, gap.from_count, modulus) as f64;
    let by_time = (first_missing_ns - run.first_rx_tai_ns as f64) / interval_ns.max(1.0);
    let turns = ((by_time - by_count) / modulus as f64).round();
    let number = by_count + turns * modulus as f64;
    let is_narrow = interval_ns * (modulus as f64) < 60e9;
    let off_ns = if is_narrow {
        (number - by_time).abs() * interval_ns
    } else {
        // Such a counter does not turn within a contact: the run only has to be there at the time.
        let (first, last) = (run.first_rx_tai_ns as f64, run.last_rx_tai_ns as f64);
        (first - gap.stop_tai_ns as f64).max(gap.start_tai_ns as f64 - last).max(0.0)
    };
    if off_ns > spread_ns {
        return None;
    }
    let number = number as i64;
    let from = (-number).max(0) as u64;
    let to = (run.units as i64 - number).clamp(0, gap.lost as i64) as u64;
    (from < to).then_some((from, to))
}

/// How far on `count` is from `from`.
fn offset(from: u64, count: u64, modulus: u64) -> u64 {
    (count + modulus - from % modulus) % modulus
}

/// Units received and lost of one channel over all its receptions together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) resets: u64,
}

/// Counts the units of runs of one channel by all links, each unit once. `same_contact` says whether what is missing
/// between two times was lost.
pub(crate) fn count_merged(runs: &mut [Run], same_contact: impl Fn(i64, i64) -> bool) -> Count {
    runs.sort_by_key(|run| (run.first_rx_tai_ns, run.channel, run.first_seq));
    let mut count = Count::default();
    let mut reached: Option<Run> = None;
    for run in runs.iter() {
        let Some(last) = &reached else {
            count.received += run.units;
            reached = Some(run.clone());
            continue;
        };
        if run.last_rx_tai_ns <= last.last_rx_tai_ns && run.channel != last.channel {
            continue;
        }
        let ahead = offset(last.last_count, run.first_count, run.modulus);
        let near = run.first_rx_tai_ns <= last.last_rx_tai_ns.saturating_add(ANTENNA_SPREAD_NS);
        if run.channel != last.channel && near && (ahead == 0 || ahead > run.modulus / 2) {
            // It begins within what is counted already: only the units after that are new.
            let known = offset(run.first_count, last.last_count, run.modulus) + 1;
            let time = (run.last_rx_tai_ns - run.first_rx_tai_ns).max(1) as f64;
            let new_time = (run.last_rx_tai_ns - last.last_rx_tai_ns) as f64;
            let estimate = run.units as f64 * new_time / time;
            let turns =
                ((run.units.saturating_sub(known) as f64 - estimate) / run.modulus as f64).round().max(0.0);
            let known = known.saturating_add((turns as u64).saturating_mul(run.modulus));
            count.received += run.units.saturating_sub(known);
        } else {
            count.received += run.units;
            if same_contact(last.last_rx_tai_ns, run.first_rx_tai_ns) {
                let rates = if run.channel == last.channel { Rates::of(last) } else { Rates::default() };
                match judge(run.modulus, last.last_unit(), run.first_unit(), rates) {
                    Step::Gap { lost, cause } => {
                        count.lost += lost;
                        count.resets += u64::from(cause == Cause::Reset);
                    }
                    Step::Next | Step::Duplicate => {}
                }
            }
        }
        reached = Some(run.clone());
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Channel, Colour, GapState};

    const MS: i64 = 1_000_000;
    const TM: u64 = 256;

    fn channel(link: u16) -> Channel {
        Channel { link, session: 0, tfvn: 0, scid: 1, vcid: 0, expedited: false, apid: None }
    }

    /// Units `from` to `to` (not included) at 100 a second; the unit of count 0 came at 0 s.
    fn run(link: u16, from: u64, to: u64) -> Run {
        Run {
            channel: channel(link),
            first_seq: from,
            last_seq: to - 1,
            first_rx_tai_ns: from as i64 * 10 * MS,
            last_rx_tai_ns: (to as i64 - 1) * 10 * MS,
            first_count: from % TM,
            last_count: (to - 1) % TM,
            units: to - from,
            duplicates: 0,
            modulus: TM,
            first_flags: 0,
        }
    }

    fn gap(from: u64, to: u64) -> Gap {
        Gap {
            id: String::new(),
            ring: String::new(),
            colour: Colour::Black,
            series: 0,
            channel: channel(1),
            from_count: from % TM,
            to_count: (to - 1) % TM,
            lost: to - from,
            modulus: TM,
            cause: Cause::Loss,
            after_seq: from - 1,
            before_seq: to,
            start_tai_ns: (from as i64 - 1) * 10 * MS,
            stop_tai_ns: to as i64 * 10 * MS,
            state: GapState::Open,
        }
    }

    fn is_covered(runs: &[Run], gap: &Gap) -> bool {
        covers(runs.iter(), gap)
    }

    // REQ: FEP-ARC-044
    #[test]
    fn a_gap_is_covered_by_one_run_over_it_or_by_several_that_meet() {
        let missing = gap(300, 340);
        assert!(is_covered(&[run(2, 100, 900)], &missing));
        assert!(is_covered(&[run(2, 300, 340)], &missing));
        assert!(is_covered(&[run(2, 290, 320), run(3, 320, 400)], &missing));
        assert!(is_covered(&[run(3, 320, 400), run(2, 290, 325)], &missing));
        assert!(!is_covered(&[run(2, 290, 320), run(3, 321, 400)], &missing));
        assert!(!is_covered(&[run(2, 301, 400)], &missing));
        assert!(!is_covered(&[], &missing));
    }

    // REQ: FEP-ARC-044
    #[test]
    fn the_same_counts_a_turn_earlier_or_later_cover_nothing() {
        let missing = gap(600, 640);
        assert!(!is_covered(&[run(1, 10, 600), run(1, 640, 1400)], &missing));
        assert!(!is_covered(&[run(2, 300, 500)], &missing));
        assert!(!is_covered(&[run(2, 850, 900)], &missing));
    }

    // REQ: FEP-ARC-044
    #[test]
    fn a_loss_of_several_turns_is_covered_by_a_run_that_goes_on_over_it() {
        let missing = gap(300, 1000);
        assert!(is_covered(&[run(2, 100, 1100)], &missing));
        assert!(!is_covered(&[run(2, 100, 900)], &missing));
    }

    // REQ: FEP-ARC-042
    #[test]
    fn what_two_antennas_received_counts_once() {
        let count = |runs: &[Run]| count_merged(&mut runs.to_vec(), |_, _| true);
        assert_eq!(count(&[run(1, 0, 200), run(1, 230, 600)]), Count { received: 570, lost: 30, resets: 0 });
        let both = [run(1, 0, 200), run(1, 230, 600), run(2, 100, 210)];
        assert_eq!(count(&both), Count { received: 580, lost: 20, resets: 0 });
        let filled = [run(1, 0, 200), run(1, 230, 600), run(2, 100, 260)];
        assert_eq!(count(&filled), Count { received: 600, lost: 0, resets: 0 });
        assert_eq!(count(&[run(1, 0, 900), run(2, 300, 400)]), Count { received: 900, lost: 0, resets: 0 });
        assert_eq!(count(&[run(1, 0, 900), run(2, 300, 1400)]), Count { received: 1400, lost: 0, resets: 0 });
    }
}
