//! Whether what one link missed came by another: counting over several receptions of one channel.

use crate::continuity::{Rates, Step, judge};
use crate::model::{Cause, Gap, Run};

/// How far apart two antennas may receive (or time-stamp) the same unit.
pub const ANTENNA_SPREAD_NS: i64 = 2_000_000_000;

/// Whether `runs` of the gap's own channel, whatever the link, hold every unit that is missing in it.
pub(crate) fn covers(runs: &[Run], gap: &Gap) -> bool {
    // A run that goes on over the whole gap has all of it, even where nobody knows how many.
    let over = |run: &Run| {
        run.first_rx_tai_ns <= gap.start_tai_ns.saturating_add(ANTENNA_SPREAD_NS)
            && run.last_rx_tai_ns >= gap.stop_tai_ns.saturating_sub(ANTENNA_SPREAD_NS)
            && !is_edge(run, gap)
            && holds_edges(run, gap)
    };
    if runs.iter().any(over) {
        return true;
    }
    if gap.cause != Cause::Loss || gap.lost >= gap.modulus {
        return false;
    }
    // Offsets into the gap, from 0 to lost - 1, that each run holds.
    let mut spans: Vec<(u64, u64)> = runs.iter().filter(|run| !is_edge(run, gap)).filter_map(|run| span(run, gap)).collect();
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

/// The runs that end and begin at the gap are the ones that miss its units.
fn is_edge(run: &Run, gap: &Gap) -> bool {
    run.channel == gap.channel
        && (run.last_seq == gap.after_seq || run.first_seq == gap.before_seq)
}

/// Counts of a run from just before the gap to just after it. A run of less than a turn says by its counts whether it
/// reaches over; a longer one was there all the time.
fn holds_edges(run: &Run, gap: &Gap) -> bool {
    if run.units > gap.modulus {
        return true;
    }
    let from_first = offset(run.first_count, gap.from_count, gap.modulus);
    let length = run.units - 1;
    from_first + gap.lost.saturating_sub(1) <= length
}

/// How far on `count` is from `from`.
fn offset(from: u64, count: u64, modulus: u64) -> u64 {
    (count + modulus - from % modulus) % modulus
}

/// Offsets of the gap that a run holds: half-open.
fn span(run: &Run, gap: &Gap) -> Option<(u64, u64)> {
    let modulus = gap.modulus;
    let to_first = offset(gap.from_count, run.first_count, modulus);
    let reach = run.units.min(modulus);
    if to_first < gap.lost {
        return Some((to_first, (to_first + reach).min(gap.lost)));
    }
    // It begins before the gap: how much of it lies within?
    let before = offset(run.first_count, gap.from_count, modulus);
    (before < reach).then(|| (0, (reach - before).min(gap.lost)))
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
            let turns = ((run.units.saturating_sub(known) as f64 - estimate) / run.modulus as f64).round().max(0.0);
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
