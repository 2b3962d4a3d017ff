//! Serial lines: raw, exclusive, reopened with back-off when they hang up (an adapter was unplugged).

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use fep_time::Monotonic;
use rustix::fs::{Mode, OFlags};
use rustix::termios::{self, ControlModes, InputModes, OptionalActions};

use crate::backoff::Backoff;
use crate::event::{EndReason, TransmitRefused};
use crate::link::LinkState;
use crate::outgoing::Outgoing;
use crate::ring::{Completion, Request, Ring, Token};
use crate::spec::{LinkSpec, Parity, SerialSpec};
use crate::turn::{Turn, os_error};

/// A serial link.
pub(crate) struct Serial {
    spec: SerialSpec,
    backoff: Backoff,
    phase: Phase,
    /// Counts openings, so that completions of an earlier one are recognised.
    generation: u32,
}

enum Phase {
    Apart { until: Monotonic, first: bool },
    Open(Open),
}

/// The line is non-blocking: in either direction it is waited for, then used until the kernel has no more.
struct Open {
    line: OwnedFd,
    /// The request in flight for reading, and what comes next.
    reading: Option<Request>,
    next: Request,
    /// The request in flight for writing, and whether the line has to be waited for first.
    writing: Option<Request>,
    full: bool,
}

impl Serial {
    /// A line that is opened in the first turn; `seed` decides the jitter of its pauses.
    pub(crate) fn new(serial: &SerialSpec, spec: &LinkSpec, seed: u64) -> Serial {
        let backoff = Backoff::new(spec.reconnect_min_ms, spec.reconnect_max_ms, seed);
        let phase = Phase::Apart { until: Monotonic::PAST, first: true };
        Serial { spec: serial.clone(), backoff, phase, generation: 0 }
    }

    pub(crate) fn may_transmit(&self) -> Result<(), TransmitRefused> {
        match self.phase {
            Phase::Open(_) => Ok(()),
            Phase::Apart { .. } => Err(TransmitRefused::NotConnected),
        }
    }

    /// Asks the kernel to write what waits, or first for room.
    pub(crate) fn pump(&mut self, ring: &mut Ring, outgoing: &mut Outgoing) -> io::Result<()> {
        let Phase::Open(open @ Open { writing: None, .. }) = &mut self.phase else { return Ok(()) };
        if !ring.has_room() {
            return Ok(());
        }
        let Some(range) = outgoing.next() else { return Ok(()) };
        if open.full {
            open.writing = Some(Request::Writable);
            return ring.writable(open.line.as_fd(), self.generation);
        }
        open.writing = Some(Request::Write);
        outgoing.started(range.len());
        ring.write(open.line.as_fd(), range, self.generation)
    }

    /// Timers and new requests; returns when the next timer runs out.
    pub(crate) fn drive(&mut self, turn: &mut Turn<'_>) -> io::Result<Monotonic> {
        if let Phase::Apart { until, first } = self.phase {
            if turn.now < until {
                return Ok(until);
            }
            turn.counters.reconnect_attempts += u64::from(!first);
            self.generation = self.generation.wrapping_add(1);
            match open(&self.spec) {
                Ok(line) => {
                    turn.counters.connections += 1;
                    self.phase = Phase::Open(Open {
                        line,
                        reading: None,
                        next: Request::Readable,
                        writing: None,
                        full: false,
                    });
                    turn.connected(None);
                }
                Err(error) => {
                    turn.counters.connect_errors += 1;
                    turn.connect_failed(self.spec.device.display(), error);
                    return self.apart(turn);
                }
            }
        }
        if let Phase::Open(open @ Open { reading: None, .. }) = &mut self.phase {
            match open.next {
                // The buffer may still be with the cancelled read of the line before.
                Request::Read if !turn.ring.own_is_free() => return Ok(Monotonic::NEVER),
                Request::Read => turn.ring.read(open.line.as_fd(), None, self.generation)?,
                _ => turn.ring.readable(open.line.as_fd(), self.generation)?,
            }
            open.reading = Some(open.next);
        }
        Ok(Monotonic::NEVER)
    }

    /// Takes one completion.
    pub(crate) fn complete(&mut self, turn: &mut Turn<'_>, completion: Completion) -> io::Result<()> {
        let (Phase::Open(open), true) = (&mut self.phase, completion.token.generation == self.generation)
        else {
            turn.counters.discarded_bytes += turn.ring.payload_octets(&completion);
            return Ok(());
        };
        let request = completion.token.request;
        if open.reading == Some(request) {
            open.reading = None;
        } else if open.writing == Some(request) {
            open.writing = None;
        } else {
            return Ok(());
        }
        if request == Request::Write && !matches!(completion.result, Ok(1..)) {
            // Nothing of it was taken.
            turn.outgoing.abandon();
        }
        match (request, completion.result) {
            (Request::Readable, Ok(_)) => open.next = Request::Read,
            (Request::Read, Ok(len)) if len > 0 => {
                turn.deliver_own(0..len);
                self.backoff.reset();
            }
            (Request::Readable | Request::Read, Err(libc::EAGAIN | libc::EINTR)) => {
                open.next = Request::Readable;
            }
            (Request::Writable, Ok(_)) => {
                open.full = false;
                self.pump(turn.ring, turn.outgoing)?;
            }
            (Request::Write, Ok(len)) if len > 0 => {
                turn.sent(len);
                self.pump(turn.ring, turn.outgoing)?;
            }
            (Request::Write, Ok(_) | Err(libc::EAGAIN | libc::EINTR)) => {
                open.full = true;
                self.pump(turn.ring, turn.outgoing)?;
            }
            (Request::Writable, Err(libc::EINTR)) => {}
            // A raw line that has hung up reads 0 octets, or gives EIO in either direction.
            (Request::Read, Ok(_)) | (_, Err(libc::EIO)) => {
                turn.status.fault(self.spec.device.display(), "the line hung up");
                self.end(turn, EndReason::Peer)?;
            }
            (_, Err(errno)) => {
                turn.status.fault(self.spec.device.display(), os_error(errno));
                self.end(turn, EndReason::Error(errno))?;
            }
            (_, Ok(_)) => {}
        }
        Ok(())
    }

    /// Closes the line, if it is open.
    pub(crate) fn end(&mut self, turn: &mut Turn<'_>, reason: EndReason) -> io::Result<()> {
        let Phase::Open(open) = &self.phase else { return Ok(()) };
        turn.count_end(reason);
        let generation = self.generation;
        turn.disconnected(reason, Some(Token { request: Request::Write, generation }))?;
        let waiting = open.writing.filter(|request| *request == Request::Writable);
        for request in [open.reading, waiting].into_iter().flatten() {
            turn.ring.cancel(Token { request, generation })?;
        }
        self.apart(turn)?;
        Ok(())
    }

    fn apart(&mut self, turn: &mut Turn<'_>) -> io::Result<Monotonic> {
        turn.status.state = LinkState::Connecting;
        let until = turn.now.plus_ns(self.backoff.pause_ns());
        if let Phase::Open(open) = std::mem::replace(&mut self.phase, Phase::Apart { until, first: false }) {
            turn.ring.close(open.line)?;
        }
        Ok(until)
    }
}

/// Why a line could not be opened: what was being done, and the system's answer.
struct OpenFault {
    doing: &'static str,
    error: io::Error,
}

impl fmt::Display for OpenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.error)
    }
}

/// Opens the line raw. Never waits for a carrier.
fn open(spec: &SerialSpec) -> Result<OwnedFd, OpenFault> {
    let during = |doing| move |error: rustix::io::Errno| OpenFault { doing, error: error.into() };
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let line = rustix::fs::open(&spec.device, flags, Mode::empty()).map_err(during("opening the device"))?;
    let mut settings = termios::tcgetattr(&line).map_err(during("reading the settings of a serial line"))?;
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
    settings.set_speed(spec.baud).map_err(during("setting baud"))?;
    termios::tcsetattr(&line, OptionalActions::Now, &settings).map_err(during("setting the line"))?;
    // Another program reading the same line would take octets from us.
    termios::ioctl_tiocexcl(&line).map_err(during("taking the line for this process alone"))?;
    Ok(line)
}
