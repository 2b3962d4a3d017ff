//! A supervised role: work on a thread of its own that ends for a fault, a panic or a failed open and is tried again.
//!
//! The control thread holds a [`Role`] for each; it looks at it a thousand times a second and never waits for the thread. A
//! life ends in one of three ways: it was commanded to stop, it failed, or it panicked. A failed one is tried again after a
//! pause that grows (`daemon.restart_min_ms`, `daemon.restart_max_ms`); what it kept, its rings, is the next one's. A panic
//! takes everything with it, and the next life builds rings and pages anew: rings continue their sequence numbers. A thread
//! that does not stop in `daemon.stop_timeout_ms` is reported and abandoned; nothing of it is used again before it has ended.

mod thread;

use fep_time::Monotonic;

use crate::plan::Seat;
use fep_net::Backoff;
use thread::RoleThread;
pub(crate) use thread::{Command, Ended, Granted, Line};

/// What a role does.
pub(crate) trait Job: Clone + Send + 'static {
    /// What outlives a life that ended without a panic.
    type Kept: Send + 'static;

    /// Name of the thread, and of the role in messages.
    fn name(&self) -> &str;

    /// One life, on its own thread. It takes its seat by itself, reports when it is ready, and looks at `line` often.
    fn run(self, kept: Option<Self::Kept>, seat: Seat, line: &Line) -> Ended<Self::Kept>;

    /// Signs of life for what is kept while no thread runs.
    fn keep_alive(kept: &mut Self::Kept, now: Monotonic);
}

/// How patient a supervisor is with its roles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// First and longest pause before a role that failed is tried again.
    pub(crate) restart_min_ms: u32,
    pub(crate) restart_max_ms: u32,
    /// How long a thread may take to stop.
    pub(crate) stop_timeout_ms: u32,
}

/// Something that happened to a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// Its thread runs, and its rings and pages exist.
    Ready,
    /// It ended by itself; it is tried again after `retry_ms`, if it is to run at all.
    Failed { cause: String, retry_ms: Option<u64> },
    /// It stopped as commanded.
    Stopped,
    /// It does not stop.
    Abandoned { after_ms: u64 },
    /// It has been removed, and nothing of it is left.
    Removed,
}

/// What comes after the life that is being stopped.
enum Next<J> {
    Same,
    Replace(J),
    Remove,
}

enum Body<J: Job> {
    Resting { kept: Option<J::Kept>, retry_at: Monotonic },
    Running { thread: RoleThread<J::Kept>, since: Monotonic, ready: bool },
    Stopping { thread: RoleThread<J::Kept>, since: Monotonic, abandoned: bool },
}

/// A role as the control thread sees it.
pub(crate) struct Role<J: Job> {
    job: J,
    next: Next<J>,
    wanted: bool,
    body: Body<J>,
    failure: Option<String>,
    seat: Option<Seat>,
    /// A seat that the thread has not been sent yet.
    unsent: Option<Seat>,
    backoff: Backoff,
    patience: Patience,
    restarts: u64,
}

impl<J: Job> Role<J> {
    /// A role that rests. With `wanted` it is due at once.
    pub(crate) fn new(job: J, wanted: bool, patience: Patience) -> Role<J> {
        Role {
            job,
            next: Next::Same,
            wanted,
            body: Body::Resting { kept: None, retry_at: Monotonic::PAST },
            failure: None,
            seat: None,
            unsent: None,
            backoff: Backoff::new(patience.restart_min_ms, patience.restart_max_ms, Backoff::seed()),
            patience,
            restarts: 0,
        }
    }

    pub(crate) fn job(&self) -> &J {
        &self.job
    }

    /// Whether it shall run.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether a thread runs for it, or still does.
    pub(crate) fn is_running(&self) -> bool {
        !matches!(self.body, Body::Resting { .. })
    }

    /// Whether its thread is on its way to the end.
    pub(crate) fn is_stopping(&self) -> bool {
        matches!(self.body, Body::Stopping { abandoned: false, .. })
    }

    /// Whether its thread did not stop in time and has not ended yet.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self.body, Body::Stopping { abandoned: true, .. })
    }

    /// Whether it is to be removed as soon as its thread has ended.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.next, Next::Remove)
    }

    /// Whether what was asked of it has happened or failed.
    pub(crate) fn is_settled(&self, now: Monotonic) -> bool {
        match &self.body {
            Body::Resting { .. } => !self.is_due(now),
            Body::Running { ready, .. } => *ready,
            Body::Stopping { abandoned, .. } => *abandoned,
        }
    }

    /// Whether a thread should be started now.
    pub(crate) fn is_due(&self, now: Monotonic) -> bool {
        self.wanted && matches!(self.body, Body::Resting { retry_at, .. } if now >= retry_at)
    }

    /// Why it does not run, or why it last did not.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// How long until it is tried again.
    pub(crate) fn retry_ms(&self, now: Monotonic) -> Option<u64> {
        match self.body {
            Body::Resting { retry_at, .. } if self.wanted && self.failure.is_some() => {
                Some(u64::try_from(retry_at.ns_since(now)).unwrap_or(0) / 1_000_000)
            }
            _ => None,
        }
    }

    /// How often it was started again after a failure.
    pub(crate) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// What its thread was granted.
    pub(crate) fn granted(&self) -> Granted {
        match &self.body {
            Body::Resting { .. } => Granted::default(),
            Body::Running { thread, .. } | Body::Stopping { thread, .. } => thread.granted(),
        }
    }

    /// Where its thread sits, or was sent.
    pub(crate) fn seat(&self) -> Option<&Seat> {
        self.seat.as_ref()
    }

    /// It shall run. An earlier failure is tried again at once.
    pub(crate) fn enable(&mut self) {
        self.wanted = true;
        self.backoff.reset();
        if let Body::Resting { retry_at, .. } = &mut self.body {
            *retry_at = Monotonic::PAST;
        }
    }

    /// It shall not run.
    pub(crate) fn disable(&mut self, now: Monotonic) {
        self.wanted = false;
        self.failure = None;
        self.stop(now);
    }

    /// It shall do something else: what it kept is dropped.
    pub(crate) fn replace(&mut self, job: J, wanted: bool, now: Monotonic) {
        self.wanted = wanted;
        self.next = Next::Replace(job);
        self.stop(now);
        self.apply_next();
    }

    /// It shall go. [`News::Removed`] says when nothing of it is left.
    pub(crate) fn remove(&mut self, now: Monotonic) {
        self.wanted = false;
        self.next = Next::Remove;
        self.stop(now);
    }

    fn stop(&mut self, now: Monotonic) {
        let resting = Body::Resting { kept: None, retry_at: Monotonic::PAST };
        self.body = match std::mem::replace(&mut self.body, resting) {
            Body::Running { thread, .. } => {
                thread.send(Command::Stop);
                Body::Stopping { thread, since: now, abandoned: false }
            }
            other => other,
        };
    }

    fn apply_next(&mut self) {
        if !matches!((&self.body, &self.next), (Body::Resting { .. }, Next::Replace(_))) {
            return;
        }
        if let Next::Replace(job) = std::mem::replace(&mut self.next, Next::Same) {
            self.job = job;
            self.failure = None;
            self.restarts = 0;
            self.backoff.reset();
            self.body = Body::Resting { kept: None, retry_at: Monotonic::PAST };
        }
    }

    /// Starts a thread on a seat. Failing to is news like any other failure.
    pub(crate) fn start(&mut self, seat: Seat, now: Monotonic) -> Option<News> {
        let kept = match &mut self.body {
            Body::Resting { kept, .. } => kept.take(),
            Body::Running { .. } | Body::Stopping { .. } => return None,
        };
        self.restarts += u64::from(self.failure.is_some());
        self.seat = Some(seat);
        self.unsent = None;
        let job = self.job.clone();
        match RoleThread::start(self.job.name(), move |line| job.run(kept, seat, line)) {
            Ok(thread) => {
                self.body = Body::Running { thread, since: now, ready: false };
                None
            }
            Err(error) => Some(self.ended(
                Ended { kept: None, failure: Some(format!("no thread: {error}")) },
                now,
                now,
                false,
            )),
        }
    }

    /// Moves a running thread to another seat.
    pub(crate) fn sit(&mut self, seat: &Seat) {
        if matches!(self.body, Body::Running { .. }) && self.seat.as_ref() != Some(seat) {
            self.seat = Some(*seat);
            self.unsent = Some(*seat);
            self.send_seat();
        }
    }

    fn send_seat(&mut self) {
        if let (Body::Running { thread, .. }, Some(seat)) = (&self.body, &self.unsent)
            && thread.send(Command::Sit(*seat))
        {
            self.unsent = None;
        }
    }

    /// Sends a command to a running thread. `false` when none runs, or when its queue is full.
    pub(crate) fn command(&self, command: Command) -> bool {
        matches!(&self.body, Body::Running { thread, .. } if thread.send(command))
    }

    /// To be called about every millisecond. Never waits.
    pub(crate) fn look_after(&mut self, now: Monotonic) -> Option<News> {
        self.send_seat();
        let resting = Body::Resting { kept: None, retry_at: Monotonic::PAST };
        match std::mem::replace(&mut self.body, resting) {
            Body::Resting { kept: _, .. } if self.is_leaving() => Some(News::Removed),
            Body::Resting { mut kept, retry_at } => {
                if let Some(kept) = &mut kept {
                    J::keep_alive(kept, now);
                }
                self.body = Body::Resting { kept, retry_at };
                None
            }
            Body::Running { thread, since, .. } if thread.is_finished() => {
                Some(self.ended(thread.settle(), since, now, false))
            }
            Body::Running { thread, since, ready } => {
                let news = (!ready && thread.is_ready()).then_some(News::Ready);
                self.body = Body::Running { ready: ready || news.is_some(), thread, since };
                news
            }
            Body::Stopping { thread, since, .. } if thread.is_finished() => {
                Some(self.ended(thread.settle(), since, now, true))
            }
            Body::Stopping { thread, since, abandoned } => {
                let waited_ms = now.ns_since(since) / 1_000_000;
                let late = !abandoned && waited_ms >= i64::from(self.patience.stop_timeout_ms);
                if late {
                    self.failure = Some(format!("its thread has not stopped in {waited_ms} ms"));
                }
                self.body = Body::Stopping { thread, since, abandoned: abandoned || late };
                late.then_some(News::Abandoned { after_ms: waited_ms.unsigned_abs() })
            }
        }
    }

    /// A life has ended.
    fn ended(&mut self, ended: Ended<J::Kept>, since: Monotonic, now: Monotonic, commanded: bool) -> News {
        let Ended { kept, failure } = ended;
        if commanded {
            // What was asked of it after it had been abandoned counts from here.
            self.failure.clone_from(&failure);
            self.body = Body::Resting { kept, retry_at: Monotonic::PAST };
            self.apply_next();
            return match failure {
                Some(cause) => News::Failed { cause, retry_ms: None },
                None => News::Stopped,
            };
        }
        let cause = failure.unwrap_or_else(|| "ended without a reason".to_owned());
        self.failure = Some(cause.clone());
        // A life that lasted this long has proven that the cause of the failures before is gone.
        if now.ns_since(since) >= i64::from(self.patience.restart_max_ms) * 1_000_000 {
            self.backoff.reset();
        }
        let pause_ns = self.backoff.pause_ns();
        self.body = Body::Resting { kept, retry_at: now.plus_ns(pause_ns) };
        let retry_ms = self.wanted.then_some(pause_ns.unsigned_abs() / 1_000_000);
        News::Failed { cause, retry_ms }
    }

    /// A life that is ready has proven that the last failure is over.
    pub(crate) fn clear_failure(&mut self) {
        self.failure = None;
    }
}

#[cfg(test)]
mod tests;
