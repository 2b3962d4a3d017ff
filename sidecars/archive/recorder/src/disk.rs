//! Writes and commits on their way to the disk: io_uring, or plain calls where the system has none.
//!
//! The invariant that keeps this sound: a buffer that the kernel may read belongs to this queue, at a fixed address on the
//! heap, until its completion was reaped. Dropping the queue waits for every completion first.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use fep_segments::PAGE_LEN;
use io_uring::types::{Fd, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode};

use crate::buffer::{BlockBuffer, Slots};

/// Requests in flight, over all files.
const DEPTH: u32 = 256;
/// Buffers that are registered with the kernel, at most. What is more is written all the same.
const SLOTS: u16 = 1024;
/// Shorter ones are not worth a number.
const REGISTERED_LEN_MIN: usize = 64 << 10;

/// A request that has ended.
#[derive(Debug)]
pub struct Done {
    /// What the request was called.
    pub token: u64,
    /// The buffer of a write.
    pub buffer: Option<BlockBuffer>,
    /// Whether it was done whole.
    pub result: io::Result<()>,
}

struct Request {
    token: u64,
    file: Arc<File>,
    work: Work,
}

enum Work {
    Write(Write),
    /// Of data and what is needed to find it.
    Commit,
    /// Of the names in a directory.
    CommitNames,
}

impl Work {
    fn buffer(self) -> Option<BlockBuffer> {
        match self {
            Work::Write(write) => Some(write.buffer),
            Work::Commit | Work::CommitNames => None,
        }
    }
}

struct Write {
    buffer: BlockBuffer,
    len: usize,
    offset: u64,
    written: usize,
}

/// The queue.
pub struct Disk {
    uring: Option<IoUring>,
    /// Numbers of registered buffers, as long as the kernel registers any.
    slots: Option<Arc<Slots>>,
    /// By the number in the completion.
    requests: Vec<Option<Request>>,
    free: Vec<usize>,
    /// Requests that found the queue full.
    waiting: VecDeque<usize>,
    in_flight: usize,
    done: VecDeque<Done>,
}

impl Disk {
    /// A queue. `want_uring`: io_uring if the kernel allows; the text says why not, if so.
    pub fn new(want_uring: bool) -> (Disk, Option<String>) {
        let (uring, refusal) = match want_uring.then(|| IoUring::new(DEPTH)) {
            None => (None, None),
            Some(Ok(uring)) if uring.params().is_feature_ext_arg() && uring.params().is_feature_nodrop() => {
                (Some(uring), None)
            }
            Some(Ok(_)) => (None, Some("io_uring of this kernel is too old, 5.11 is needed".to_owned())),
            Some(Err(error)) => (None, Some(format!("io_uring: {error}"))),
        };
        let table =
            uring.as_ref().filter(|uring| uring.submitter().register_buffers_sparse(SLOTS.into()).is_ok());
        let disk = Disk {
            slots: table.map(|_| Slots::new(SLOTS)),
            uring,
            requests: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            in_flight: 0,
            done: VecDeque::new(),
        };
        (disk, refusal)
    }

    /// Whether it is io_uring.
    pub fn is_uring(&self) -> bool {
        self.uring.is_some()
    }

    /// Requests that have not ended.
    pub fn in_flight(&self) -> usize {
        self.in_flight + self.waiting.len()
    }

    /// Writes the first `len` octets of `buffer` at `offset`.
    ///
    /// # Panics
    /// When the buffer is shorter.
    pub fn write(&mut self, token: u64, file: &Arc<File>, mut buffer: BlockBuffer, len: usize, offset: u64) {
        assert!(len <= buffer.len(), "a write within its buffer");
        self.register(&mut buffer);
        let work = Work::Write(Write { buffer, len, offset, written: 0 });
        self.submit(Request { token, file: Arc::clone(file), work });
    }

    /// Makes everything durable whose write has ended (`fdatasync`).
    pub fn commit(&mut self, token: u64, file: &Arc<File>) {
        self.submit(Request { token, file: Arc::clone(file), work: Work::Commit });
    }

    /// Makes the names in a directory durable (`fsync`).
    pub fn commit_names(&mut self, token: u64, directory: &Arc<File>) {
        self.submit(Request { token, file: Arc::clone(directory), work: Work::CommitNames });
    }

    /// Lets the kernel know a buffer before it is written for the first time: it looks for its pages once, not at each write.
    fn register(&mut self, buffer: &mut BlockBuffer) {
        let (Some(uring), Some(slots)) = (&self.uring, &self.slots) else { return };
        let is_known = buffer.slot.as_ref().is_some_and(|slot| slot.number_in(slots).is_some());
        if is_known || buffer.len() < REGISTERED_LEN_MIN {
            return;
        }
        let Some(slot) = slots.take() else { return };
        let memory = buffer.as_mut_slice();
        let iovec = [libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory.len() }];
        let number = slot.number_in(slots).unwrap_or_default();
        // SAFETY: the memory is valid now, when the kernel takes hold of its pages. They stay its own after the memory was freed,
        // and no request uses the number then: it belongs to the buffer, which outlives its requests.
        match unsafe { uring.submitter().register_buffers_update(number.into(), &iovec, None) } {
            Ok(()) => buffer.slot = Some(slot),
            Err(error) => {
                tracing::info!(
                    "{error}: no more memory is registered with io_uring (LimitMEMLOCK), writes cost more"
                );
                self.slots = None;
            }
        }
    }

    fn submit(&mut self, request: Request) {
        if self.uring.is_none() {
            self.done.push_back(plainly(request));
            return;
        }
        let index = match self.free.pop() {
            Some(index) => {
                self.requests[index] = Some(request);
                index
            }
            None => {
                self.requests.push(Some(request));
                self.requests.len() - 1
            }
        };
        self.waiting.push_back(index);
        self.push();
    }

    /// Hands waiting requests to the kernel, as many as it takes.
    fn push(&mut self) {
        let Some(uring) = &mut self.uring else { return };
        while self.in_flight < DEPTH as usize {
            let Some(index) = self.waiting.pop_front() else { break };
            let Some(request) = &self.requests[index] else { continue };
            let fd = Fd(request.file.as_raw_fd());
            let entry = match &request.work {
                Work::Write(write) => {
                    let rest = &write.buffer.as_slice()[write.written..write.len];
                    let (memory, len) = (rest.as_ptr(), rest.len() as u32);
                    let offset = write.offset + write.written as u64;
                    let slots = self.slots.as_ref();
                    match write
                        .buffer
                        .slot
                        .as_ref()
                        .zip(slots)
                        .and_then(|(slot, slots)| slot.number_in(slots))
                    {
                        Some(number) => {
                            opcode::WriteFixed::new(fd, memory, len, number).offset(offset).build()
                        }
                        None => opcode::Write::new(fd, memory, len).offset(offset).build(),
                    }
                }
                Work::Commit => opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build(),
                Work::CommitNames => opcode::Fsync::new(fd).build(),
            };
            // SAFETY: the buffer and the file of the request are kept in `requests` until its completion is reaped
            // (see `reap` and `Drop`), and the buffer's memory is on the heap, so it does not move.
            let pushed = unsafe { uring.submission().push(&entry.user_data(index as u64)) };
            if pushed.is_err() {
                self.waiting.push_front(index);
                break;
            }
            self.in_flight += 1;
        }
        // Busy: the kernel wants completions reaped first; the next turn does.
        let _ = uring.submit();
    }

    /// The next request that has ended, if any.
    pub fn next_done(&mut self) -> Option<Done> {
        if self.done.is_empty() {
            self.reap();
        }
        self.done.pop_front()
    }

    fn reap(&mut self) {
        let Some(uring) = &mut self.uring else { return };
        let completed: Vec<(u64, i32)> =
            uring.completion().map(|entry| (entry.user_data(), entry.result())).collect();
        for (index, result) in completed {
            let index = index as usize;
            self.in_flight = self.in_flight.saturating_sub(1);
            let Some(mut request) = self.requests.get_mut(index).and_then(Option::take) else { continue };
            let result = match (&mut request.work, usize::try_from(result)) {
                (_, Err(_)) => Err(io::Error::from_raw_os_error(-result)),
                (Work::Commit | Work::CommitNames, Ok(_)) => Ok(()),
                (Work::Write(write), Ok(octets)) => {
                    write.written += octets;
                    if write.written >= write.len {
                        Ok(())
                    } else if octets > 0 && write.written.is_multiple_of(PAGE_LEN) {
                        // Short, as near a limit: the rest is tried for its reason.
                        self.requests[index] = Some(request);
                        self.waiting.push_back(index);
                        continue;
                    } else {
                        Err(io::ErrorKind::WriteZero.into())
                    }
                }
            };
            self.free.push(index);
            self.done.push_back(Done { token: request.token, buffer: request.work.buffer(), result });
        }
        self.push();
    }

    /// Waits until something ends, at most `limit`. Returns at once when nothing is on its way.
    pub fn wait(&mut self, limit: Duration) {
        self.push();
        if self.in_flight == 0 || !self.done.is_empty() {
            return;
        }
        let Some(uring) = &mut self.uring else { return };
        let limit = Timespec::from(limit);
        // Time out and interruption are both reasons to look.
        let _ = uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&limit));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What the kernel has not begun need not be done; what it has must end before its memory goes.
        self.waiting.clear();
        while self.in_flight > 0 {
            let Some(uring) = &mut self.uring else { break };
            if uring.submit_and_wait(1).is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
                // Nothing can be known any more: the memory is left to the kernel on purpose.
                std::mem::forget(std::mem::take(&mut self.requests));
                break;
            }
            let reaped = uring.completion().count();
            self.in_flight = self.in_flight.saturating_sub(reaped);
        }
    }
}

fn plainly(request: Request) -> Done {
    let result = match &request.work {
        Work::Write(write) => request.file.write_all_at(&write.buffer.as_slice()[..write.len], write.offset),
        Work::Commit => request.file.sync_data(),
        Work::CommitNames => request.file.sync_all(),
    };
    Done { token: request.token, buffer: request.work.buffer(), result }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-REC-011
    #[test]
    fn what_is_written_and_committed_is_in_the_file_either_way() {
        for want_uring in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file");
            let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
            let file = Arc::new(file);
            let (mut disk, refusal) = Disk::new(want_uring);
            println!("io_uring: {} {refusal:?}", disk.is_uring());
            for block in 0..300_u64 {
                let mut buffer = BlockBuffer::new(5000);
                assert_eq!(buffer.as_slice().as_ptr().align_offset(PAGE_LEN), 0);
                buffer.as_mut_slice().fill(block as u8);
                disk.write(block, &file, buffer, 2 * PAGE_LEN, block * 2 * PAGE_LEN as u64);
            }
            disk.commit(1000, &file);
            let mut ended = std::collections::BTreeSet::new();
            while ended.len() < 301 {
                disk.wait(Duration::from_millis(100));
                while let Some(done) = disk.next_done() {
                    done.result.unwrap();
                    assert_eq!(done.buffer.is_some(), done.token < 1000);
                    assert!(ended.insert(done.token), "each once");
                }
            }
            assert_eq!(disk.in_flight(), 0);
            let octets = std::fs::read(&path).unwrap();
            assert_eq!(octets.len(), 300 * 2 * PAGE_LEN);
            let right = octets
                .chunks(2 * PAGE_LEN)
                .zip(0..)
                .all(|(chunk, block)| chunk.iter().all(|octet| *octet == block as u8));
            assert!(right);
        }
    }

    // REQ: FEP-REC-011
    #[test]
    fn a_write_that_the_system_refuses_says_so_and_gives_its_memory_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"x").unwrap();
        for want_uring in [true, false] {
            let file = Arc::new(File::open(&path).unwrap());
            let (mut disk, _) = Disk::new(want_uring);
            disk.write(7, &file, BlockBuffer::new(1), PAGE_LEN, 0);
            disk.wait(Duration::from_secs(10));
            let done = disk.next_done().unwrap();
            assert!(done.result.is_err() && done.buffer.is_some() && done.token == 7);
        }
    }

    fn write_whole(disk: &mut Disk, file: &Arc<File>, buffer: BlockBuffer, offset: u64) -> BlockBuffer {
        let len = buffer.len();
        disk.write(1, file, buffer, len, offset);
        loop {
            disk.wait(Duration::from_secs(10));
            if let Some(done) = disk.next_done() {
                done.result.unwrap();
                return done.buffer.unwrap();
            }
        }
    }

    // REQ: FEP-REC-160
    #[test]
    fn memory_that_is_registered_once_is_written_as_it_is_now_and_its_number_is_free_when_it_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        let file = Arc::new(file);
        let (mut disk, _) = Disk::new(true);
        let (mut other, _) = Disk::new(true);
        if disk.slots.is_none() {
            eprintln!("io_uring registers no memory here: it is written by plain requests");
        }
        let len = 2 * REGISTERED_LEN_MIN;
        let mut expected = Vec::new();
        let mut buffer = BlockBuffer::new(len);
        let mut numbers = std::collections::BTreeSet::new();
        for turn in 0..40_u8 {
            buffer.as_mut_slice().fill(turn + 1);
            expected.extend_from_slice(buffer.as_slice());
            // Now and then memory goes and other memory comes, or another queue has it in between.
            let disk = if turn % 7 == 3 { &mut other } else { &mut disk };
            buffer = write_whole(disk, &file, buffer, u64::from(turn) * len as u64);
            let number =
                disk.slots.as_ref().zip(buffer.slot.as_ref()).and_then(|(slots, slot)| slot.number_in(slots));
            assert_eq!(number.is_some(), disk.slots.is_some());
            numbers.extend(number);
            if turn % 5 == 4 {
                buffer = BlockBuffer::new(len);
            }
        }
        assert!(std::fs::read(&path).unwrap() == expected);
        assert!(numbers.len() <= 1, "one piece of memory at a time needs one number: {numbers:?}");
        // What is short has none.
        let page = write_whole(&mut disk, &file, BlockBuffer::new(PAGE_LEN), 0);
        assert!(page.slot.is_none());
    }
}
