//! Serial lines: raw, exclusive, reopened with back-off when they hang up (an adapter was unplugged).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::termios::{self, ControlModes, InputModes, OptionalActions};

use crate::backoff::Backoff;
use crate::link::LinkState;
use crate::ring::{Completion, Request, Token};
use crate::spec::{LinkSpec, Parity, SerialSpec};
use crate::turn::{NEVER_NS, Turn, os_error};

/// A serial link.
pub(crate) struct Serial {
    spec: SerialSpec,
    backoff: Backoff,
    phase: Phase,
    /// Counts openings, so that completions of an earlier one are recognised.
    generation: u32,
}

enum Phase {
    Apart { until_ns: i64, first: bool },
    Open { line: OwnedFd, pending: Option<Request>, next: Request, fresh: bool },
}

impl Serial {
    /// A line that is opened in the first turn; `seed` decides the jitter of its pauses.
    pub(crate) fn new(serial: &SerialSpec, spec: &LinkSpec, seed: u64) -> Serial {
        let backoff = Backoff::new(spec.reconnect_min_ms, spec.reconnect_max_ms, seed);
        let phase = Phase::Apart { until_ns: i64::MIN, first: true };
        Serial { spec: serial.clone(), backoff, phase, generation: 0 }
    }

    /// Timers and new requests; returns when the next timer runs out.
    pub(crate) fn drive(&mut self, turn: &mut Turn<'_>) -> io::Result<i64> {
        if let Phase::Apart { until_ns, first } = self.phase {
            if turn.now_ns < until_ns {
                return Ok(until_ns);
            }
            turn.counters.reconnect_attempts += u64::from(!first);
            self.generation = self.generation.wrapping_add(1);
            match open(&self.spec) {
                Ok(line) => {
                    turn.counters.connections += 1;
                    turn.status.state = LinkState::Connected;
                    self.phase = Phase::Open { line, pending: None, next: Request::Readable, fresh: true };
                }
                Err(error) => {
                    turn.counters.connect_errors += 1;
                    turn.status.fault(self.spec.device.display(), error);
                    return Ok(self.apart(turn));
                }
            }
        }
        if let Phase::Open { line, pending: pending @ None, next, .. } = &mut self.phase {
            *pending = Some(*next);
            match next {
                Request::Read => turn.ring.read(line.as_fd(), None, self.generation)?,
                _ => turn.ring.readable(line.as_fd(), self.generation)?,
            }
        }
        Ok(NEVER_NS)
    }

    /// Takes one completion. The line is non-blocking: wait until it is readable, then read until it is empty.
    pub(crate) fn complete(&mut self, turn: &mut Turn<'_>, completion: Completion) {
        let Phase::Open { pending, next, fresh, .. } = &mut self.phase else { return };
        if completion.token.generation != self.generation || *pending != Some(completion.token.request) {
            return;
        }
        *pending = None;
        match (completion.token.request, completion.result) {
            (Request::Readable, Ok(_)) => *next = Request::Read,
            (Request::Read, Ok(len)) if len > 0 => {
                turn.hand_on_own(0..len, std::mem::take(fresh));
                self.backoff.reset();
            }
            (_, Err(libc::EAGAIN | libc::EINTR)) => *next = Request::Readable,
            // A raw line read returns 0 octets, or EIO, when the line has hung up.
            (_, Ok(_) | Err(libc::EIO)) => {
                turn.counters.disconnects_by_peer += 1;
                turn.status.fault(self.spec.device.display(), "the line hung up");
                self.disconnected(turn);
            }
            (_, Err(errno)) => {
                turn.counters.disconnects_by_error += 1;
                turn.status.fault(self.spec.device.display(), os_error(errno));
                self.disconnected(turn);
            }
        }
    }

    /// Closes the line, if it is open, because we want to.
    pub(crate) fn close(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        if let Phase::Open { pending, .. } = &self.phase {
            if let Some(request) = *pending {
                turn.ring.cancel(Token { request, generation: self.generation })?;
            }
            turn.counters.disconnects_by_us += 1;
            self.disconnected(turn);
        }
        Ok(())
    }

    fn disconnected(&mut self, turn: &mut Turn<'_>) {
        turn.counters.disconnects += 1;
        self.apart(turn);
    }

    fn apart(&mut self, turn: &mut Turn<'_>) -> i64 {
        turn.status.state = LinkState::Connecting;
        let until_ns = turn.now_ns + self.backoff.pause_ns();
        self.phase = Phase::Apart { until_ns, first: false };
        until_ns
    }
}

/// Opens the line raw. Never waits for a carrier.
fn open(spec: &SerialSpec) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let line = rustix::fs::open(&spec.device, flags, Mode::empty())?;
    let mut settings = termios::tcgetattr(&line)?;
    settings.make_raw();
    settings.input_modes.remove(InputModes::IXON | InputModes::IXOFF | InputModes::IXANY);
    settings.input_modes.set(InputModes::INPCK, spec.parity != Parity::None);
    let modes = &mut settings.control_modes;
    modes.remove(ControlModes::CSIZE);
    modes.insert(match spec.data_bits {
        5 => ControlModes::CS5,
        6 => ControlModes::CS6,
        7 => ControlModes::CS7,
        _ => ControlModes::CS8,
    });
    modes.set(ControlModes::PARENB, spec.parity != Parity::None);
    modes.set(ControlModes::PARODD, spec.parity == Parity::Odd);
    modes.set(ControlModes::CSTOPB, spec.stop_bits == 2);
    modes.set(ControlModes::CRTSCTS, spec.rts_cts);
    modes.insert(ControlModes::CREAD | ControlModes::CLOCAL);
    settings.set_speed(spec.baud)?;
    termios::tcsetattr(&line, OptionalActions::Now, &settings)?;
    // Another program reading the same line would take octets from us.
    termios::ioctl_tiocexcl(&line)?;
    Ok(line)
}
