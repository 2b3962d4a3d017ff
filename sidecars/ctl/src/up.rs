//! `fepctl up`: the set on one workstation. Simulated stations are threads of this process, the daemon is a child.
//!
//! Order matters: stations listen before the daemon connects, and at the end the stations fall silent before the daemon
//! stops, so that nothing is lost that was sent.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fep_control::api::{Done, Status};
use fep_sim::{Simulation, SourceSpec, captures};

use crate::cli::UpArgs;
use crate::daemon::Daemon;
use crate::failure::{Failure, output};
use crate::places::load_config;
use crate::programs::find_program;
use crate::sidecars::Sidecars;
use crate::signals::Ending;
use crate::stations::{self, Stations};
use crate::terminal::{self, say};
use crate::{figures, monitor};

/// Lines of the daemon's log kept for the case that it dies.
const LOG_LINES_KEPT: usize = 200;
/// Lines shown then.
const LOG_LINES_SHOWN: usize = 20;
/// A daemon that does not answer by then is reported as ill.
const HEALTHY_WITHIN: Duration = Duration::from_secs(30);
/// An orderly stop that takes longer is ended by force.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
/// A daemon that broke off an answer and still runs after that is only slow.
const DIES_WITHIN: Duration = Duration::from_millis(500);
/// Time between two lines of figures when there is no view.
const FIGURES_EVERY: Duration = Duration::from_secs(5);
/// Time between two samples of the view.
const VIEW_INTERVAL: Duration = Duration::from_millis(500);

/// Runs the command.
pub(crate) fn run(args: &UpArgs) -> Result<(), Failure> {
    let config = load_config(args.config.as_deref())?;
    let simulation =
        if args.no_sim { None } else { Some(playable(stations::load(args.stations.as_deref())?)?) };
    let show_view = args.monitor || (!args.no_monitor && io::stdout().is_terminal());
    let program = find_program("fepd")?;
    let socket = config.control_socket();
    if let Ok(running) = Daemon::at(socket.clone())?.get::<Status>("/status") {
        return Err(Failure::new(format!(
            "a daemon is already running (pid {}) on {}",
            running.pid,
            socket.display()
        ))
        .hint(
            "`fepctl monitor` shows it, `fepctl stop` stops it; or give another daemon.run_dir with --config",
        ));
    }

    if args.config.is_some() && args.stations.is_none() && !args.no_sim {
        say!(
            "fepctl: the built-in simulated stations run beside it: --no-sim leaves them out, --stations names others"
        );
    }
    let ending = Ending::watch()?;
    let stations = simulation.as_ref().map(Stations::start);
    let mut notices = Vec::new();
    if let Some(stations) = &stations {
        stations.refused.iter().for_each(|refusal| say!("fepctl: {refusal}"));
        notices.extend(stations.refused.iter().cloned());
        say!("{} on the air", figures::counted(stations.count(), "simulated station", "simulated stations"));
    }
    let mut fepd = Fepd::start(&program, args, !show_view)?;
    let mut sidecars = None;
    let outcome = (|| {
        let status = fepd.wait_healthy(&Daemon::at(socket.clone())?, &ending)?;
        let Some(status) = status else { return Ok(()) };
        say!("fepd {} runs as pid {}, control socket {}", status.version, status.pid, socket.display());
        status.warnings.iter().for_each(|warning| say!("fepd warns: {warning}"));
        let sidecars = sidecars.insert(Sidecars::start(&config, args, !show_view)?);
        notices.extend(sidecars.missing.iter().cloned());
        let until = args.run_for.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let daemon = Daemon::at(socket.clone())?;
        if show_view {
            let over = || {
                if until.is_some_and(|until| Instant::now() >= until) {
                    return Some(Failure::PipeClosed);
                }
                sidecars.report_deaths();
                fepd.death()
            };
            match monitor::watch(daemon, VIEW_INTERVAL, &ending, notices, over) {
                // The time that was asked for is over, or the daemon was stopped: no failure.
                Err(Failure::PipeClosed) => Ok(()),
                done => done,
            }
        } else {
            print_figures(&daemon, &mut fepd, sidecars, &ending, until)
        }
    })();
    if fepd.was_stopped() {
        say!("fepctl: the daemon was stopped");
    }
    // In order, whatever happened: first the stations, then the daemon, then those who record what it received.
    let reports = stations.map(Stations::stop).unwrap_or_default();
    let stopped = fepd.stop(&socket);
    if let Some(sidecars) = sidecars {
        sidecars.stop();
    }
    for report in &reports {
        say!("{}", stations::line(report));
    }
    match outcome {
        Err(Failure::PipeClosed) | Ok(()) => stopped,
        failed => failed,
    }
}

/// Leaves out the stations whose recordings are not on this machine, and says so.
fn playable(mut simulation: Simulation) -> Result<Simulation, Failure> {
    let is_capture = |source: &SourceSpec| matches!(source, SourceSpec::Capture { .. });
    if !simulation.station.iter().any(|station| is_capture(&station.source)) {
        return Ok(simulation);
    }
    if let Err(error) = captures::find() {
        simulation.station.retain(|station| !is_capture(&station.source));
        say!("fepctl: {error}");
        if simulation.station.is_empty() {
            return Err(Failure::new("every station of this file plays a capture, and there is none"));
        }
        let names: Vec<&str> = simulation.station.iter().map(|station| station.name.as_str()).collect();
        say!("fepctl: running the synthetic stations only: {}", names.join(", "));
    }
    Ok(simulation)
}

/// The daemon as a child process.
struct Fepd {
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
    reaped: Option<ExitStatus>,
}

impl Fepd {
    fn start(program: &PathBuf, args: &UpArgs, echo: bool) -> Result<Fepd, Failure> {
        let mut command = Command::new(program);
        if let Some(file) = &args.config {
            command.arg("--config").arg(file);
        }
        // A group of its own: Ctrl-C goes to us, and we stop it when the stations are silent.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|error| Failure::file("start", program, &error))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&log);
        let reader = child.stderr.take().map(|lines| {
            std::thread::spawn(move || {
                for line in BufReader::new(lines).lines().map_while(Result::ok) {
                    if echo {
                        say!("{line}");
                    }
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    if kept.len() == LOG_LINES_KEPT {
                        kept.pop_front();
                    }
                    kept.push_back(line);
                }
            })
        });
        Ok(Fepd { child, log, reader, reaped: None })
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        if self.reaped.is_none() {
            self.reaped = self.child.try_wait().ok().flatten();
        }
        self.reaped
    }

    /// Whether somebody has stopped it in order.
    fn was_stopped(&mut self) -> bool {
        self.exited().is_some_and(|status| status.success())
    }

    /// Why the set is over, if the daemon has ended: a failure that reports its death, or the quiet end where it was stopped.
    fn death(&mut self) -> Option<Failure> {
        let status = self.exited()?;
        if status.success() {
            return Some(Failure::PipeClosed);
        }
        // Whatever it said last has been written before it died; let the reader come to the end of it.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<&str> =
            log.iter().skip(log.len().saturating_sub(LOG_LINES_SHOWN)).map(String::as_str).collect();
        let failure = Failure::new(format!("the daemon has died ({status})"));
        Some(if last.is_empty() {
            failure.hint("it wrote no log line")
        } else {
            failure.hint(format!("its last words:\n  | {}", last.join("\n  | ")))
        })
    }

    /// As [`Fepd::death`] of one that does not answer: it may be about to end.
    fn death_within(&mut self, time: Duration) -> Option<Failure> {
        let until = Instant::now() + time;
        while self.exited().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.death()
    }

    /// Waits until it answers; `None` when somebody ended us meanwhile.
    fn wait_healthy(&mut self, daemon: &Daemon, ending: &Ending) -> Result<Option<Status>, Failure> {
        let until = Instant::now() + HEALTHY_WITHIN;
        loop {
            if let Some(death) = self.death() {
                return Err(death);
            }
            match daemon.get::<Status>("/status") {
                Ok(status) => return Ok(Some(status)),
                Err(failure) if !failure.is_no_daemon() => return Err(failure),
                Err(failure) if Instant::now() >= until => {
                    return Err(Failure::new(format!(
                        "the daemon did not become healthy within {} s: {failure}",
                        HEALTHY_WITHIN.as_secs()
                    )));
                }
                Err(_) => {}
            }
            if !ending.sleep(Duration::from_millis(50)) {
                return Ok(None);
            }
        }
    }

    /// Stops it in order, by force if it does not hear.
    fn stop(mut self, socket: &std::path::Path) -> Result<(), Failure> {
        if self.exited().is_none() {
            let asked = Daemon::at(socket.to_owned()).and_then(|daemon| daemon.post::<Done>("/stop"));
            let until = Instant::now() + if asked.is_ok() { STOPPED_WITHIN } else { Duration::from_secs(1) };
            while self.exited().is_none() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        match self.exited() {
            Some(status) if status.success() => Ok(()),
            Some(_) => self.death().map_or(Ok(()), Err),
            None => {
                let killed = self.child.kill().and_then(|()| self.child.wait());
                Err(Failure::new(match killed {
                    Ok(_) => "the daemon did not stop when asked and was killed".to_owned(),
                    Err(error) => format!("the daemon does not stop and cannot be killed: {error}"),
                }))
            }
        }
    }
}

/// One line of figures now and then, until somebody ends us.
fn print_figures(
    daemon: &Daemon,
    fepd: &mut Fepd,
    sidecars: &mut Sidecars,
    ending: &Ending,
    until: Option<Instant>,
) -> Result<(), Failure> {
    let mut next = Instant::now() + FIGURES_EVERY;
    loop {
        let over = until.is_some_and(|until| Instant::now() >= until);
        if over || Instant::now() >= next {
            next += FIGURES_EVERY;
            let links = match daemon.get::<Status>("/status") {
                Ok(status) => status.links,
                Err(failure) if failure.is_no_daemon() => {
                    if let Some(death) = fepd.death_within(DIES_WITHIN) {
                        return Err(death);
                    }
                    say!("fepctl: {failure}: it runs all the same, and is asked again");
                    Vec::new()
                }
                Err(failure) => return Err(failure),
            };
            let mut out = terminal::text_out();
            let written = links.iter().filter(|link| link.enabled).try_for_each(|link| {
                let counts = &link.ledger.counts;
                writeln!(
                    out,
                    "{:<19} {:<10} {:<9} {:>11}  good {:>6} corrected {:>6} uncorrectable {:>6} lost {:>6} packets {:>6}",
                    link.name,
                    link.state,
                    figures::lock(&link.sync),
                    figures::bit_rate(link.rates.bits_per_s),
                    figures::count(counts.good),
                    figures::count(counts.corrected),
                    figures::count(counts.uncorrectable),
                    figures::count(counts.lost),
                    figures::count(counts.packets)
                )
            });
            written.and_then(|()| writeln!(out)).and_then(|()| out.flush()).map_err(output)?;
        }
        if over {
            return Ok(());
        }
        sidecars.report_deaths();
        if let Some(death) = fepd.death() {
            return Err(death);
        }
        if !ending.sleep(Duration::from_millis(100)) {
            return Ok(());
        }
    }
}
