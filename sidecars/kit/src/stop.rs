//! Orderly stop: one signal handler, any number of tasks and threads that hear of it.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether the process shall stop. Clones share one state; it never goes back.
#[derive(Debug, Clone)]
pub struct Stop {
    state: Arc<watch::Sender<bool>>,
}

impl Default for Stop {
    fn default() -> Stop {
        Stop { state: Arc::new(watch::Sender::new(false)) }
    }
}

impl Stop {
    /// Is told by SIGTERM and SIGINT. Works in processes with and without a runtime of their own: the signals are heard
    /// by a thread that does nothing else.
    ///
    /// # Errors
    /// When the thread or the handlers cannot be made.
    pub fn on_signals() -> io::Result<Stop> {
        let stop = Stop::default();
        let told = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut terminate, mut interrupt) = {
            let _inside = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async move {
                loop {
                    let name = tokio::select! {
                        _ = terminate.recv() => "SIGTERM",
                        _ = interrupt.recv() => "SIGINT",
                    };
                    tracing::info!("{name}: stopping");
                    told.now();
                }
            });
        })?;
        Ok(stop)
    }

    /// Tells everybody to stop.
    pub fn now(&self) {
        self.state.send_replace(true);
    }

    /// Whether to stop; for loops of threads.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.state.borrow()
    }

    /// Returns when it is time to stop; for tasks.
    pub async fn wait(&self) {
        // The sender lives in `self`: the wait ends by the value only.
        let _ = self.state.subscribe().wait_for(|stopping| *stopping).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-KIT-003
    #[tokio::test]
    async fn everybody_who_waits_hears_of_a_stop_and_latecomers_do_too() {
        let stop = Stop::default();
        let waiter = tokio::spawn({
            let stop = stop.clone();
            async move { stop.wait().await }
        });
        assert!(!stop.is_stopping());
        stop.now();
        waiter.await.expect("the task ends");
        assert!(stop.is_stopping());
        stop.wait().await;
    }
}
