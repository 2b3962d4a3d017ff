//! Files, FIFOs and standard input: read as fast as the sink takes them, or paced; a file once or repeatedly.
//!
//! A FIFO is read as a stream. A pass of it lasts from the first octet until the last writer has closed; before that the link listens.
//! Opening never waits for a writer. Devices, sockets and folders are refused.

use std::fs::{File, FileType};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use fep_time::Monotonic;
use rustix::fs::{Mode, OFlags};

use crate::event::EndReason;
use crate::link::LinkState;
use crate::pace::Pacer;
use crate::ring::{Completion, Request};
use crate::spec::FileSpec;
use crate::turn::{Turn, os_error};

/// A paced pipe that had nothing to give for a while does not make up for more than this: 100 ms worth of octets.
const PIPE_BACKLOG_DIVISOR: u64 = 80;

/// A link that reads.
pub(crate) struct Reader {
    source: Source,
    pacer: Option<Pacer>,
    pace_bps: u64,
    /// Passes after this one; `None` for ever.
    passes_left: Option<u32>,
    /// Octets in the ring's own buffer, not yet delivered.
    held: Range<usize>,
    reading: bool,
    /// A pass has begun and not ended.
    in_pass: bool,
}

enum Source {
    File {
        file: File,
        offset: u64,
    },
    /// `waited`: it has been found readable.
    Fifo {
        path: PathBuf,
        file: File,
        waited: bool,
    },
    Stdin,
}

impl Source {
    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Source::File { file, .. } | Source::Fifo { file, .. } => file.as_fd(),
            Source::Stdin => rustix::stdio::stdin(),
        }
    }
}

impl Reader {
    /// Opens a regular file or a FIFO.
    pub(crate) fn file(spec: &FileSpec, buffer_bytes: usize) -> io::Result<Reader> {
        let passes_left = (spec.repeat > 0).then(|| spec.repeat - 1);
        let source = open(&spec.path)?;
        Ok(Reader::new(source, passes_left, spec.pace_bps, buffer_bytes))
    }

    /// Reads standard input; leaves its descriptor and flags alone, which other processes share.
    pub(crate) fn stdin(pace_bps: Option<u64>, buffer_bytes: usize) -> Reader {
        Reader::new(Source::Stdin, Some(0), pace_bps, buffer_bytes)
    }

    fn new(source: Source, passes_left: Option<u32>, pace_bps: Option<u64>, buffer_bytes: usize) -> Reader {
        let pacer = pace_bps.map(|bps| Pacer::new(bps, buffer_bytes));
        let pace_bps = pace_bps.unwrap_or(0);
        Reader { source, pacer, pace_bps, passes_left, held: 0..0, reading: false, in_pass: false }
    }

    /// The `kind` of its transport.
    pub(crate) fn kind(&self) -> &'static str {
        match self.source {
            Source::File { .. } | Source::Fifo { .. } => "file",
            Source::Stdin => "stdin",
        }
    }

    /// Delivers what is due and reads on; returns when the next octets are due.
    pub(crate) fn drive(&mut self, turn: &mut Turn<'_>) -> io::Result<Monotonic> {
        if turn.status.state == LinkState::Ended {
            return Ok(Monotonic::NEVER);
        }
        match self.source {
            _ if self.in_pass => {}
            Source::Fifo { .. } => turn.status.state = LinkState::Listening,
            Source::File { .. } | Source::Stdin => self.begin_pass(turn),
        }
        let due_at = self.release(turn);
        if self.held.is_empty() && !self.reading {
            self.reading = true;
            self.ask(turn)?;
        }
        Ok(due_at)
    }

    /// Takes one completion.
    pub(crate) fn complete(&mut self, turn: &mut Turn<'_>, completion: Completion) -> io::Result<()> {
        match (completion.token.request, completion.result) {
            (Request::Read, Ok(0)) => {
                self.reading = false;
                self.end_of_pass(turn)?;
            }
            (Request::Read, Ok(len)) => {
                self.reading = false;
                self.held = 0..len;
                if !self.in_pass {
                    self.begin_pass(turn);
                }
                match (&mut self.source, &mut self.pacer) {
                    (Source::File { offset, .. }, _) => *offset += len as u64,
                    (_, Some(pacer)) => {
                        pacer.limit_backlog(turn.now, self.pace_bps / PIPE_BACKLOG_DIVISOR + 1);
                    }
                    (_, None) => {}
                }
            }
            // Standard input may have been made non-blocking by somebody: wait until it is readable.
            (Request::Read, Err(libc::EAGAIN)) => {
                if let Source::Fifo { waited, .. } = &mut self.source {
                    *waited = false;
                }
                turn.ring.readable(self.source.descriptor(), 0)?;
            }
            (Request::Readable, _) => {
                if let Source::Fifo { waited, .. } = &mut self.source {
                    *waited = true;
                }
                self.ask(turn)?;
            }
            (Request::Read, Err(libc::EINTR)) => self.ask(turn)?,
            (Request::Read, Err(errno)) => return Err(os_error(errno)),
            _ => {}
        }
        Ok(())
    }

    /// Ends the link: the rest of its data is of no use to whoever ended it.
    pub(crate) fn end(&mut self, turn: &mut Turn<'_>, reason: EndReason) -> io::Result<()> {
        self.held = 0..0;
        self.in_pass = false;
        turn.report_end(reason);
        turn.status.state = match reason {
            EndReason::Us => LinkState::Ended,
            reason => LinkState::Failed(reason.to_string()),
        };
        Ok(())
    }

    /// Asks for octets. A FIFO is waited for first: without a writer it would read as ended.
    fn ask(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        match &self.source {
            Source::File { file, offset } => turn.ring.read(file.as_fd(), Some(*offset), 0),
            Source::Fifo { file, waited: false, .. } => turn.ring.readable(file.as_fd(), 0),
            Source::Fifo { file, waited: true, .. } => turn.ring.read(file.as_fd(), None, 0),
            Source::Stdin => turn.ring.read(rustix::stdio::stdin(), None, 0),
        }
    }

    fn begin_pass(&mut self, turn: &mut Turn<'_>) {
        self.in_pass = true;
        turn.connected(None);
    }

    fn end_of_pass(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        let had_octets = match &self.source {
            Source::File { offset, .. } => *offset > 0,
            Source::Fifo { .. } | Source::Stdin => self.in_pass,
        };
        self.in_pass = false;
        turn.report_end(EndReason::EndOfData);
        if let Source::Fifo { path, file, waited } = &mut self.source
            && !(had_octets && self.passes_left == Some(0))
        {
            // What the writer left behind (its hang-up) stays with the old descriptor. The new one is opened first, so that octets of
            // the next writer are not lost between the two.
            let Source::Fifo { file: again, .. } = open(path)? else {
                return Err(io::Error::other(format!("{} is no FIFO any more", path.display())));
            };
            *waited = false;
            let before: OwnedFd = std::mem::replace(file, again).into();
            turn.ring.close(before)?;
            if had_octets {
                self.passes_left = self.passes_left.map(|left| left - 1);
                turn.counters.repeats += 1;
            }
            return Ok(());
        }
        // An empty file would be repeated for ever without an octet.
        if let Source::File { offset, .. } = &mut self.source
            && had_octets
            && self.passes_left != Some(0)
        {
            *offset = 0;
            self.passes_left = self.passes_left.map(|left| left - 1);
            turn.counters.repeats += 1;
            return Ok(());
        }
        turn.status.state = LinkState::Ended;
        Ok(())
    }

    /// Delivers what is due; returns when the next release is.
    fn release(&mut self, turn: &mut Turn<'_>) -> Monotonic {
        if self.held.is_empty() {
            return Monotonic::NEVER;
        }
        let Some(pacer) = &mut self.pacer else {
            let all = std::mem::replace(&mut self.held, 0..0);
            turn.deliver_own(all);
            return Monotonic::NEVER;
        };
        let due = pacer.due(turn.now);
        let wanted = pacer.quantum().min(self.held.len() as u64);
        if due >= wanted {
            turn.counters.pace_late += u64::from(due > 2 * pacer.quantum());
            let len = usize::try_from(due).unwrap_or(usize::MAX).min(self.held.len());
            pacer.release(len as u64);
            let part = self.held.start..self.held.start + len;
            self.held.start = part.end;
            turn.deliver_own(part);
        }
        if self.held.is_empty() {
            return Monotonic::NEVER;
        }
        pacer.due_at(pacer.quantum().min(self.held.len() as u64))
    }
}

fn open(path: &Path) -> io::Result<Source> {
    // Looked at before it is opened: opening some devices does something.
    check(std::fs::metadata(path)?.file_type())?;
    // Without waiting for a writer, should it be a FIFO.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    // Looked at again: the name may mean something else by now.
    let kind = file.metadata()?.file_type();
    check(kind)?;
    if kind.is_fifo() {
        return Ok(Source::Fifo { path: path.to_owned(), file, waited: false });
    }
    rustix::io::ioctl_fionbio(&file, false)?;
    Ok(Source::File { file, offset: 0 })
}

fn check(kind: FileType) -> io::Result<()> {
    if kind.is_file() || kind.is_fifo() {
        return Ok(());
    }
    let text = "neither a regular file nor a FIFO; use kind = \"serial\" for lines, kind = \"stdin\" for what a program pipes";
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}
