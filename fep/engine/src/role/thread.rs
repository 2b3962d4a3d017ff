//! The thread of a role, and the line between it and the control thread: commands one way, what the kernel granted the
//! other. Neither side ever waits for the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam::queue::ArrayQueue;
use fep_net::Waker;

use crate::plan::{Class, Seat};
use crate::realtime;

/// Commands that can wait for a thread.
const COMMANDS: usize = 16;

/// What a role can be commanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Stop: what has been received is decoded and published first.
    Stop,
    /// Forget synchronisation, frame counters and packets begun.
    Reset,
    /// Run there, in this class, and wait so from now on.
    Sit(Seat),
    /// Panic: a test switch.
    Panic,
}

/// What the kernel granted a thread, and what it refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) core: Option<usize>,
    /// The class that it has, as [`realtime::class_name`] says; empty while no thread runs.
    pub(crate) class: &'static str,
    pub(crate) warnings: Vec<String>,
}

/// The line between a role's thread and the control thread.
pub(crate) struct Line {
    name: String,
    /// Apart from the queue, so that a full queue cannot lose it.
    stop: AtomicBool,
    commands: ArrayQueue<Command>,
    ready: AtomicBool,
    granted: Mutex<Granted>,
    /// Ends the sleep of a thread that waits in the kernel.
    waker: Mutex<Option<Waker>>,
}

impl Line {
    pub(crate) fn new(name: &str) -> Line {
        Line {
            name: name.to_owned(),
            stop: AtomicBool::new(false),
            commands: ArrayQueue::new(COMMANDS),
            ready: AtomicBool::new(false),
            granted: Mutex::default(),
            waker: Mutex::default(),
        }
    }

    /// From now on commands end the sleep of the thread.
    pub(crate) fn wake_with(&self, waker: Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }

    /// The next command, for the thread. `Stop` comes before all others.
    pub(crate) fn next(&self) -> Option<Command> {
        if self.is_stopping() {
            return Some(Command::Stop);
        }
        self.commands.pop()
    }

    /// Whether the thread shall stop: for loops that look at nothing else.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The role's rings and pages exist and what it follows is open.
    pub(crate) fn report_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Asks the kernel for a seat, on the thread's own behalf, and reports what it granted.
    pub(crate) fn sit(&self, seat: &Seat) {
        let granted = ask_kernel(&self.name, seat);
        *self.granted.lock().unwrap_or_else(PoisonError::into_inner) = granted;
    }

    fn send(&self, command: Command) -> bool {
        let sent = match command {
            Command::Stop => {
                self.stop.store(true, Ordering::Relaxed);
                true
            }
            other => self.commands.push(other).is_ok(),
        };
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake();
        }
        sent
    }
}

fn ask_kernel(role: &str, seat: &Seat) -> Granted {
    let mut granted = Granted::default();
    let placed = match seat.core {
        Some(core) => realtime::pin_to(core),
        None => realtime::run_on(&realtime::allowed_cores()),
    };
    match (placed, seat.core) {
        (Ok(()), core) => granted.core = core,
        (Err(error), Some(core)) => {
            granted.warnings.push(format!("{role} is not pinned to core {core}: {error}"));
        }
        (Err(error), None) => granted.warnings.push(format!("{role} stays where it was pinned: {error}")),
    }
    let asked = match seat.class {
        Class::Normal => realtime::set_normal(),
        Class::RoundRobin(priority) => realtime::set_round_robin(priority),
        Class::Fifo(priority) => realtime::set_fifo(priority),
    };
    if let Err(error) = asked {
        granted.warnings.push(format!(
            "{role} runs without real-time priority: {error} (grant CAP_SYS_NICE or LimitRTPRIO, or set \
             daemon.realtime_priority = 0)"
        ));
    }
    granted.class = realtime::class_name();
    granted
}

/// What a life leaves behind.
pub(crate) struct Ended<K> {
    /// What the next life goes on with; `None` when it has to build everything anew.
    pub(crate) kept: Option<K>,
    /// Why it ended, unless it was commanded to stop.
    pub(crate) failure: Option<String>,
}

/// A running thread of a role.
pub(crate) struct RoleThread<K> {
    handle: JoinHandle<Ended<K>>,
    line: Arc<Line>,
}

impl<K: Send + 'static> RoleThread<K> {
    /// Starts a thread and does not wait for it.
    pub(crate) fn start(
        name: &str,
        life: impl FnOnce(&Line) -> Ended<K> + Send + 'static,
    ) -> std::io::Result<RoleThread<K>> {
        let line = Arc::new(Line::new(name));
        let theirs = line.clone();
        // The kernel keeps 15 characters.
        let thread_name: String = format!("fep-{name}").chars().take(15).collect();
        let handle = std::thread::Builder::new().name(thread_name).spawn(move || life(&theirs))?;
        Ok(RoleThread { handle, line })
    }

    /// `false` when the thread has not looked into its queue for so many commands. `Stop` always arrives.
    pub(crate) fn send(&self, command: Command) -> bool {
        self.line.send(command)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.line.ready.load(Ordering::Acquire)
    }

    pub(crate) fn granted(&self) -> Granted {
        self.line.granted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Takes what a finished thread left. A panic is a failure like any other; it took what was kept with it.
    pub(crate) fn settle(self) -> Ended<K> {
        self.handle.join().unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of an unknown kind");
            Ended { kept: None, failure: Some(format!("panic: {text}")) }
        })
    }
}
