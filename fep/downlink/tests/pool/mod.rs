//! A pool of real threads that finish in any order, for tests.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::thread::JoinHandle;

use fep_downlink::{DecodeJob, DecodePool};

/// Every job has a thread of its own; some of them fail.
pub(crate) struct Pool {
    capacity: usize,
    outstanding: VecDeque<JoinHandle<DecodeJob>>,
    submitted: usize,
    failing: Vec<usize>,
}

impl Pool {
    /// Holds so many jobs at most. Jobs of these numbers, counted from 0, come back failed.
    pub(crate) fn new(capacity: usize, failing: &[usize]) -> Pool {
        Pool { capacity, outstanding: VecDeque::new(), submitted: 0, failing: failing.to_vec() }
    }
}

impl DecodePool for Pool {
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn submit(&mut self, mut job: DecodeJob) {
        assert!(self.outstanding.len() < self.capacity, "more jobs than the pool holds");
        let fails = self.failing.contains(&self.submitted);
        self.submitted += 1;
        self.outstanding.push_back(std::thread::spawn(move || {
            if fails {
                job.fail();
            } else {
                job.run();
            }
            job
        }));
    }

    fn collect(&mut self, wait: bool) -> Option<DecodeJob> {
        if !wait && !self.outstanding.front()?.is_finished() {
            return None;
        }
        Some(self.outstanding.pop_front()?.join().expect("a job"))
    }
}
