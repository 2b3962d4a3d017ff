//! Files and standard input: read as fast as the sink takes them, or paced; a file once or repeatedly.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use crate::link::LinkState;
use crate::pace::Pacer;
use crate::ring::{Completion, Request};
use crate::spec::FileSpec;
use crate::turn::{NEVER_NS, Turn, os_error};

/// A paced pipe that had nothing to give for a while does not make up for more than this: 100 ms worth of octets.
const PIPE_BACKLOG_DIVISOR: u64 = 80;

/// A link that reads.
pub(crate) struct Reader {
    source: Source,
    pacer: Option<Pacer>,
    pace_bps: u64,
    /// Octets in the ring's own buffer, not yet handed on.
    held: Range<usize>,
    reading: bool,
    /// The next octet is the first of a pass.
    fresh: bool,
}

enum Source {
    File { file: File, offset: u64, passes_left: Option<u32> },
    Stdin,
}

impl Source {
    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Source::File { file, .. } => file.as_fd(),
            Source::Stdin => rustix::stdio::stdin(),
        }
    }
}

impl Reader {
    /// Opens a regular file.
    pub(crate) fn file(spec: &FileSpec, buffer_bytes: usize) -> io::Result<Reader> {
        let file = open_regular(&spec.path)?;
        let passes_left = (spec.repeat > 0).then(|| spec.repeat - 1);
        Ok(Reader::new(Source::File { file, offset: 0, passes_left }, spec.pace_bps, buffer_bytes))
    }

    /// Reads standard input; leaves its descriptor and flags alone, which other processes share.
    pub(crate) fn stdin(pace_bps: Option<u64>, buffer_bytes: usize) -> Reader {
        Reader::new(Source::Stdin, pace_bps, buffer_bytes)
    }

    fn new(source: Source, pace_bps: Option<u64>, buffer_bytes: usize) -> Reader {
        let pacer = pace_bps.map(|bps| Pacer::new(bps, buffer_bytes));
        Reader { source, pacer, pace_bps: pace_bps.unwrap_or(0), held: 0..0, reading: false, fresh: true }
    }

    /// Hands on what is due and reads on; returns when the next octets are due.
    pub(crate) fn drive(&mut self, turn: &mut Turn<'_>) -> io::Result<i64> {
        if turn.status.state == LinkState::Idle {
            turn.status.state = LinkState::Connected;
        }
        let due_at_ns = self.release(turn);
        if self.held.is_empty() && !self.reading && turn.status.state == LinkState::Connected {
            self.reading = true;
            turn.ring.read(self.source.descriptor(), self.offset(), 0)?;
        }
        Ok(due_at_ns)
    }

    /// Takes one completion.
    pub(crate) fn complete(&mut self, turn: &mut Turn<'_>, completion: Completion) -> io::Result<()> {
        match (completion.token.request, completion.result) {
            (Request::Read, Ok(0)) => {
                self.reading = false;
                self.end_of_pass(turn);
            }
            (Request::Read, Ok(len)) => {
                self.reading = false;
                self.held = 0..len;
                match (&mut self.source, &mut self.pacer) {
                    (Source::File { offset, .. }, _) => *offset += len as u64,
                    (Source::Stdin, Some(pacer)) => {
                        pacer.limit_backlog(turn.now_ns, self.pace_bps / PIPE_BACKLOG_DIVISOR + 1)
                    }
                    (Source::Stdin, None) => {}
                }
            }
            // Standard input may have been made non-blocking by somebody: wait until it is readable.
            (Request::Read, Err(libc::EAGAIN)) => turn.ring.readable(self.source.descriptor(), 0)?,
            (Request::Read, Err(libc::EINTR)) | (Request::Readable, _) => {
                turn.ring.read(self.source.descriptor(), self.offset(), 0)?;
            }
            (Request::Read, Err(errno)) => return Err(os_error(errno)),
            _ => {}
        }
        Ok(())
    }

    fn offset(&self) -> Option<u64> {
        match self.source {
            Source::File { offset, .. } => Some(offset),
            Source::Stdin => None,
        }
    }

    fn end_of_pass(&mut self, turn: &mut Turn<'_>) {
        if let Source::File { offset, passes_left, .. } = &mut self.source {
            // An empty file would be repeated for ever without an octet.
            if *passes_left != Some(0) && *offset > 0 {
                *passes_left = passes_left.map(|left| left - 1);
                *offset = 0;
                self.fresh = true;
                turn.counters.repeats += 1;
                return;
            }
        }
        turn.status.state = LinkState::Ended;
    }

    /// Hands on what is due; returns when the next release is.
    fn release(&mut self, turn: &mut Turn<'_>) -> i64 {
        if self.held.is_empty() {
            return NEVER_NS;
        }
        let Some(pacer) = &mut self.pacer else {
            let all = std::mem::replace(&mut self.held, 0..0);
            turn.hand_on_own(all, std::mem::take(&mut self.fresh));
            return NEVER_NS;
        };
        let due = pacer.due(turn.now_ns);
        let wanted = pacer.quantum().min(self.held.len() as u64);
        if due >= wanted {
            turn.counters.pace_late += u64::from(due > 2 * pacer.quantum());
            let len = usize::try_from(due).unwrap_or(usize::MAX).min(self.held.len());
            pacer.release(len as u64);
            let part = self.held.start..self.held.start + len;
            self.held.start = part.end;
            turn.hand_on_own(part, std::mem::take(&mut self.fresh));
        }
        if self.held.is_empty() {
            return NEVER_NS;
        }
        pacer.due_at_ns(pacer.quantum().min(self.held.len() as u64))
    }
}

fn open_regular(path: &Path) -> io::Result<File> {
    // Looked at before it is opened: opening a FIFO without a writer would block.
    if !std::fs::metadata(path)?.is_file() {
        let text = "not a regular file; use kind = \"stdin\" for pipes and \"serial\" for devices";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    File::open(path)
}
