//! Whether processes stay as they are over time: their memory, descriptors and threads, sampled and judged.

use std::fs;

/// What one process has at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Memory of its own, in KiB: mappings of files and shared memory are not counted.
    pub memory_kib: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

impl Sample {
    /// Of a process that runs; `None` once it has ended.
    #[must_use]
    pub fn of(pid: u32) -> Option<Sample> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let number = |name: &str| -> Option<u64> {
            status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
        Some(Sample { memory_kib: number("RssAnon:")?, descriptors, threads: number("Threads:")? })
    }
}

/// A third of all samples, in the middle, beside the last third: medians. The first third is the time to warm up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// Medians of the middle third.
    pub before: Sample,
    /// Medians of the last third.
    pub after: Sample,
    /// Most memory ever seen.
    pub memory_max_kib: u64,
}

impl Judged {
    /// `None` for fewer than nine samples.
    #[must_use]
    pub fn of(samples: &[Sample]) -> Option<Judged> {
        if samples.len() < 9 {
            return None;
        }
        let third = samples.len() / 3;
        let median = |part: &[Sample], of: fn(&Sample) -> u64| -> u64 {
            let mut values: Vec<u64> = part.iter().map(of).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        let medians = |part: &[Sample]| Sample {
            memory_kib: median(part, |sample| sample.memory_kib),
            descriptors: median(part, |sample| sample.descriptors),
            threads: median(part, |sample| sample.threads),
        };
        Some(Judged {
            before: medians(&samples[third..2 * third]),
            after: medians(&samples[2 * third..]),
            memory_max_kib: samples.iter().map(|sample| sample.memory_kib).max().unwrap_or_default(),
        })
    }

    /// Whether it stays as it is: memory within 5 % and 8 MiB, descriptors within 4, threads within 2.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        let Judged { before, after, .. } = self;
        after.memory_kib <= before.memory_kib + before.memory_kib / 20 + (8 << 10)
            && after.descriptors <= before.descriptors + 4
            && after.threads <= before.threads + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(memory_kib: impl Fn(u64) -> u64) -> Vec<Sample> {
        (0..90).map(|nth| Sample { memory_kib: memory_kib(nth), descriptors: 20, threads: 4 }).collect()
    }

    #[test]
    fn what_grows_is_found_and_what_warms_up_or_swings_is_not() {
        let is_flat = |samples: &[Sample]| Judged::of(samples).is_some_and(|judged| judged.is_flat());
        assert!(is_flat(&samples(|_| 100_000)));
        assert!(is_flat(&samples(|nth| 100_000 + 1_000 * nth.min(29))), "it warms up");
        assert!(is_flat(&samples(|nth| 100_000 + 5_000 * (nth % 10))), "it swings");
        assert!(!is_flat(&samples(|nth| 100_000 + 1_000 * nth)), "it grows");
        let mut leaking = samples(|_| 100_000);
        (0_u64..).zip(&mut leaking).for_each(|(nth, sample)| sample.descriptors += nth / 5);
        assert!(!is_flat(&leaking), "it leaks descriptors");
        assert_eq!(Judged::of(&leaking[..8]), None, "too short to be judged");
    }

    #[test]
    fn this_process_has_memory_descriptors_and_threads() {
        let sample = Sample::of(std::process::id()).expect("it runs");
        assert!(sample.memory_kib > 0 && sample.descriptors > 2 && sample.threads > 0, "{sample:?}");
    }
}
