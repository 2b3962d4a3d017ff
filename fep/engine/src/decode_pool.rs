//! Threads that decode blocks for a link of which one core is not enough.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use fep_downlink::{DecodeJob, DecodePool};

use crate::realtime;

/// Jobs that a thread has before it at most: one at work, one waiting.
const QUEUE: usize = 2;

/// Threads that decode. Jobs are dealt to them in turn and collected in the same turn, so that the order stays.
pub(crate) struct DecodeThreads {
    workers: Vec<Worker>,
    /// Whose turn it is to be given a job, and to give one back.
    next_in: usize,
    next_out: usize,
    outstanding: usize,
}

struct Worker {
    /// `None` once it shall end.
    jobs: Option<SyncSender<DecodeJob>>,
    done: Receiver<DecodeJob>,
    handle: Option<JoinHandle<()>>,
}

impl DecodeThreads {
    /// Starts `count` threads, or as many as the system allows; `None` when it allows none.
    pub(crate) fn start(count: usize) -> Option<DecodeThreads> {
        // Fewer threads decode the same.
        let workers: Vec<Worker> = (0..count).map_while(|number| Worker::start(number).ok()).collect();
        (!workers.is_empty()).then_some(DecodeThreads { workers, next_in: 0, next_out: 0, outstanding: 0 })
    }
}

impl Worker {
    fn start(number: usize) -> std::io::Result<Worker> {
        let (jobs, jobs_in) = sync_channel::<DecodeJob>(QUEUE);
        let (done_out, done) = sync_channel(QUEUE);
        let handle = std::thread::Builder::new().name(format!("fep-decode-{number}")).spawn(move || {
            // Where it was started from is pinned. If the kernel refuses, it shares that core.
            let _ = realtime::run_on(&realtime::allowed_cores());
            for mut job in jobs_in {
                // A decoder that panics costs its own blocks, counted, and a restart of the link; not the daemon.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.run())).is_err() {
                    job.fail();
                }
                if done_out.send(job).is_err() {
                    return;
                }
            }
        })?;
        Ok(Worker { jobs: Some(jobs), done, handle: Some(handle) })
    }
}

impl DecodePool for DecodeThreads {
    fn capacity(&self) -> usize {
        self.workers.len() * QUEUE
    }

    fn submit(&mut self, job: DecodeJob) {
        let worker = &self.workers[self.next_in];
        let sent = worker.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        assert!(sent, "a decode thread has ended");
        self.next_in = (self.next_in + 1) % self.workers.len();
        self.outstanding += 1;
    }

    fn collect(&mut self, wait: bool) -> Option<DecodeJob> {
        if self.outstanding == 0 {
            return None;
        }
        let done = &self.workers[self.next_out].done;
        let job = if wait { done.recv().ok() } else { done.try_recv().ok() };
        assert!(job.is_some() || !wait, "a decode thread has ended");
        if job.is_some() {
            self.next_out = (self.next_out + 1) % self.workers.len();
            self.outstanding -= 1;
        }
        job
    }
}

impl Drop for DecodeThreads {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.jobs = None;
        }
        for worker in &mut self.workers {
            if let Some(handle) = worker.handle.take() {
                // The queue of what is done has room for everything it can still send.
                let _ = handle.join();
            }
        }
    }
}
