//! The monitor: a live terminal view of the daemon, and the same as one plain text or JSON snapshot.

mod app;
mod books;
mod craft;
mod panes;
mod plain;
mod snapshot;
mod source;
mod threads;
mod view;

#[cfg(test)]
mod pictures;

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyEvent};
use fep_control::api::Done;

use crate::cli::MonitorArgs;
use crate::daemon::Daemon;
use crate::failure::{Failure, output};
use crate::signals::Ending;
use crate::terminal;
use app::{Action, App, Request, Target};
pub(crate) use craft::{antenna_account, heard};
use snapshot::{Health, Snapshot};
use source::Sampler;
pub(crate) use source::{link_details, thread_in_words};

/// Time between the two samples that `--once` needs for rates.
const ONCE_APART: Duration = Duration::from_millis(500);
/// Events of the terminal taken between two drawings at most: pasted text does not stop the view.
const EVENTS_A_TURN: usize = 64;
/// How long another event is waited for. With no time at all the library looks at nothing.
const MORE_WITHIN: Duration = Duration::from_millis(5);

/// Runs the command.
pub(crate) fn run(args: &MonitorArgs) -> Result<(), Failure> {
    let interval = Duration::from_millis(args.interval_ms);
    let daemon = args.target.daemon()?;
    if args.once || args.json {
        return print(daemon, args.once, args.json, interval);
    }
    if !io::IsTerminal::is_terminal(&io::stdout()) {
        return Err(Failure::usage("standard output is no terminal: nothing to draw the view on")
            .hint("use --once for one snapshot as text, or --json for one JSON object a line"));
    }
    // Said before the screen changes: a daemon that does not answer at the start is a mistake, later it is an event.
    daemon.get::<fep_control::api::Status>("/status")?;
    let ending = Ending::watch()?;
    watch(daemon, interval, &ending, Vec::new(), || None)
}

fn print(daemon: Daemon, once: bool, json: bool, interval: Duration) -> Result<(), Failure> {
    let mut sampler = Sampler::new(daemon);
    let mut out = terminal::out(json);
    sampler.sample()?;
    let mut pause = if once { ONCE_APART } else { interval };
    loop {
        std::thread::sleep(pause);
        let now = sampler.sample()?;
        let written = if json {
            serde_json::to_writer(&mut out, &now).map_err(io::Error::from).and_then(|()| writeln!(out))
        } else {
            plain::write(&mut out, &now)
        };
        written.and_then(|()| out.flush()).map_err(output)?;
        if once {
            return Ok(());
        }
        pause = interval;
    }
}

/// What the sampling thread sends to the screen.
enum News {
    Snapshot(Box<Snapshot>),
    /// The daemon could not be asked, and why.
    Silence(Failure),
    /// The answer to a command.
    Answer(String, Health),
}

/// Shows the view until the operator leaves or `over` gives a reason to, which is returned as a failure after the
/// terminal has been given back. `notices` are shown among the events: what went wrong before the view began.
pub(crate) fn watch(
    daemon: Daemon,
    interval: Duration,
    ending: &Ending,
    notices: Vec<String>,
    mut over: impl FnMut() -> Option<Failure>,
) -> Result<(), Failure> {
    let (news_out, news) = channel();
    let (commands, commands_in) = channel::<(Action, Target)>();
    let stop = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        // The screen must never wait for the daemon: all requests are made on another thread.
        scope.spawn(move || sample_until(stop, daemon, interval, &commands_in, &news_out));
        let mut terminal = ratatui::try_init()
            .map_err(|error| Failure::new(format!("cannot take over the terminal: {error}")));
        let done = match &mut terminal {
            Ok(terminal) => interact(terminal, notices, &news, &commands, ending, &mut over),
            Err(_) => Ok(()),
        };
        if terminal.is_ok() {
            ratatui::restore();
        }
        stop.store(true, Ordering::Relaxed);
        terminal.map(|_| ())?;
        done
    })
}

/// Where keys come from: standard input, or the terminal itself where that is something else.
fn keyboard() -> io::Result<OwnedFd> {
    if io::IsTerminal::is_terminal(&io::stdin()) {
        return io::stdin().as_fd().try_clone_to_owned();
    }
    Ok(std::fs::File::open("/dev/tty")?.into())
}

/// Whether something was typed within this time.
///
/// # Errors
/// The terminal is gone: its window was closed. Whoever reads from it then reads nothing, for ever and without waiting.
fn has_input(keyboard: &OwnedFd, time: Duration) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut wanted = [PollFd::new(keyboard, PollFlags::IN)];
    let time = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
    match poll(&mut wanted, Some(&time)) {
        // A signal, also that of another window size: it is time to draw again.
        Err(rustix::io::Errno::INTR) => return Ok(false),
        polled => polled?,
    };
    let found = wanted[0].revents();
    if found.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        return Err(io::Error::new(io::ErrorKind::BrokenPipe, "it was closed"));
    }
    Ok(found.contains(PollFlags::IN))
}

/// The keys that were pressed. All events are taken that came: one left behind would be seen with the next key only, which
/// then acts late. A window that changed its size is such an event.
fn pressed() -> io::Result<Vec<KeyEvent>> {
    let mut keys = Vec::new();
    for _ in 0..EVENTS_A_TURN {
        if !event::poll(MORE_WITHIN)? {
            break;
        }
        if let Event::Key(key) = event::read()? {
            keys.push(key);
        }
    }
    Ok(keys)
}

fn interact(
    terminal: &mut ratatui::DefaultTerminal,
    notices: Vec<String>,
    news: &Receiver<News>,
    commands: &Sender<(Action, Target)>,
    ending: &Ending,
    over: &mut impl FnMut() -> Option<Failure>,
) -> Result<(), Failure> {
    let broken = |error: io::Error| Failure::new(format!("the terminal failed: {error}"));
    let mut app = App::with_notices(notices);
    let keyboard = keyboard().map_err(broken)?;
    loop {
        for one in news.try_iter() {
            match one {
                News::Snapshot(snapshot) => app.update(*snapshot),
                News::Silence(problem) => app.lost_sight(&problem),
                News::Answer(text, health) => app.say(text, health),
            }
        }
        terminal.draw(|frame| view::draw(frame, &app)).map_err(broken)?;
        // Short enough that news and the end are seen soon, long enough to cost nothing.
        if has_input(&keyboard, Duration::from_millis(100)).map_err(broken)? {
            for key in pressed().map_err(broken)? {
                match app.on_key(key) {
                    Request::Nothing => {}
                    Request::Quit => return Ok(()),
                    Request::Command { action, target } => {
                        app.say(format!("{} {} ...", action.verb(), target.name), Health::Off);
                        // Nobody listens any more only while we are leaving.
                        let _ = commands.send((action, target));
                    }
                }
            }
        }
        if ending.asked() {
            return Ok(());
        }
        if let Some(failure) = over() {
            return Err(failure);
        }
    }
}

/// Samples every `interval` and carries out commands in between.
fn sample_until(
    stop: &AtomicBool,
    daemon: Daemon,
    interval: Duration,
    commands: &Receiver<(Action, Target)>,
    news: &Sender<News>,
) {
    let mut sampler = Sampler::new(daemon);
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let wait = next.saturating_duration_since(Instant::now()).min(Duration::from_millis(50));
        if let Ok((action, target)) = commands.recv_timeout(wait) {
            let answer = match sampler.daemon().post::<Done>(&target.path(action)) {
                Ok(done) => News::Answer(done.message, Health::Good),
                Err(failure) => News::Answer(failure.to_string().replace('\n', " "), Health::Bad),
            };
            let _ = news.send(answer);
            next = Instant::now();
        }
        if Instant::now() >= next {
            next = Instant::now() + interval;
            let _ = news.send(match sampler.sample() {
                Ok(snapshot) => News::Snapshot(Box::new(snapshot)),
                Err(failure) => News::Silence(failure),
            });
        }
    }
}
