//! Ctrl-C and `kill`: as a flag that loops look at, so that a command ends in order and says what it has; or as the end at
//! once, with nothing half-written left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, plain};

/// Set once somebody asked the process to end.
#[derive(Clone)]
pub(crate) struct Ending(Arc<AtomicBool>);

/// From now on SIGINT, SIGTERM and SIGHUP end the process at once, and remove the files that it has not finished.
pub(crate) fn end_at_once() -> Result<(), Failure> {
    Ending::begin(true).map(|_| ())
}

impl Ending {
    /// Begins to watch for SIGINT, SIGTERM and SIGHUP. A second one ends the process at once.
    pub(crate) fn watch() -> Result<Ending, Failure> {
        Ending::begin(false)
    }

    fn begin(at_once: bool) -> Result<Ending, Failure> {
        let refused =
            |error: std::io::Error| Failure::new(format!("cannot watch for signals: {}", plain(&error)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let flag = Arc::new(AtomicBool::new(false));
        let seen = flag.clone();
        let streams = {
            let _inside = runtime.enter();
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal)
        };
        let [interrupt, terminate, hangup] = streams;
        let (mut interrupt, mut terminate, mut hangup) =
            (interrupt.map_err(refused)?, terminate.map_err(refused)?, hangup.map_err(refused)?);
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                runtime.block_on(async {
                    loop {
                        tokio::select! {
                            _ = interrupt.recv() => {}
                            _ = terminate.recv() => {}
                            _ = hangup.recv() => {}
                        }
                        if seen.swap(true, Ordering::SeqCst) || at_once {
                            let _no_more_files = fep_sim::whole_file::remove_unfinished();
                            // 128 + SIGINT, as a shell would report it.
                            std::process::exit(130);
                        }
                    }
                });
            })
            .map_err(refused)?;
        Ok(Ending(flag))
    }

    /// Whether it is time to end.
    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Sleeps, but not longer than until somebody asks for the end; `false` when that happened.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        const STEP: Duration = Duration::from_millis(20);
        let until = Instant::now() + time;
        loop {
            if self.asked() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(STEP));
        }
    }
}
