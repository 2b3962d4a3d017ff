//! One io_uring together with all the memory its requests may touch.
//!
//! The invariant that keeps this sound: **memory the kernel may still write is never freed and never shown, memory it may still
//! read is never freed and never changed.** `in_flight` counts requests whose last completion has not been reaped; dropping a
//! [`Ring`] cancels them, waits until the count is 0, and only then frees. Where that is impossible (dropped by another thread than
//! the one that polled, which the kernel refuses to serve), the memory is leaked on purpose.
//!
//! The requests themselves are made in `requests.rs`, which has no unsafe code.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use socket2::SockAddr;

use crate::buffers::ProvidedBuffers;
use crate::datagram::{self, CONTROL_BYTES, Datagram, MULTISHOT_HEADER_BYTES, SENDER_BYTES};

/// The group of provided buffers.
pub(crate) const GROUP: u16 = 0;
const SUBMISSIONS: u32 = 32;
/// Cancelling waits for the kernel only; a request that takes longer than this is one on a broken disk.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// What a request does. One request of a kind is in flight at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Request {
    Connect = 1,
    Accept,
    ReceiveMulti,
    ReceiveSingle,
    Read,
    Readable,
    Send,
    Write,
    Writable,
    Wake,
    Cancel,
}

impl Request {
    const ALL: [Request; 11] = [
        Request::Connect,
        Request::Accept,
        Request::ReceiveMulti,
        Request::ReceiveSingle,
        Request::Read,
        Request::Readable,
        Request::Send,
        Request::Write,
        Request::Writable,
        Request::Wake,
        Request::Cancel,
    ];

    /// The request writes into the one buffer of our own.
    fn uses_own_buffer(self) -> bool {
        matches!(self, Request::ReceiveSingle | Request::Read)
    }

    /// The request reads from the transmit memory.
    fn sends(self) -> bool {
        matches!(self, Request::Send | Request::Write)
    }
}

/// Names a request: what it does, and for which of the successive connections of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) request: Request,
    pub(crate) generation: u32,
}

impl Token {
    pub(crate) fn user_data(self) -> u64 {
        u64::from(self.generation) << 8 | self.request as u64
    }

    fn of(user_data: u64) -> Token {
        let index = (user_data & 0xff) as usize - 1;
        Token { request: Request::ALL[index], generation: (user_data >> 8) as u32 }
    }
}

/// What the kernel said about a request.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) token: Token,
    /// Octets received, or an error.
    pub(crate) result: Result<usize, i32>,
    /// The request stays armed and will complete again.
    pub(crate) more: bool,
    /// The provided buffer that was filled; to be given back.
    pub(crate) buffer: Option<u16>,
    /// The connection that was accepted.
    pub(crate) accepted: Option<OwnedFd>,
}

/// Memory to be set up for a ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingPlan {
    /// Provided buffers: number and octets of payload each; `None`: no multishot wanted.
    pub(crate) provided: Option<(u16, usize)>,
    /// Octets of the single buffer of our own.
    pub(crate) own_bytes: usize,
    /// Datagrams with control messages, rather than a stream.
    pub(crate) datagrams: bool,
    /// The senders of datagrams are wanted.
    pub(crate) senders: bool,
    /// Octets of the memory for what is to be sent; 0 for a link that only receives.
    pub(crate) transmit_bytes: usize,
}

/// All memory the kernel may touch on behalf of the ring, at fixed addresses (boxed, never moved).
pub(crate) struct KernelMemory {
    pub(crate) provided: Option<ProvidedBuffers>,
    pub(crate) own: Box<[u8]>,
    /// What `header` points to in single-shot receives of datagrams.
    pub(crate) parts: libc::iovec,
    /// Control messages of single-shot receives; u64 for alignment.
    pub(crate) control: [u64; CONTROL_BYTES / 8],
    /// Sender of a datagram received by a single-shot receive.
    pub(crate) sender: [u8; SENDER_BYTES],
    pub(crate) header: libc::msghdr,
    /// Where we connect to.
    pub(crate) address: Option<SockAddr>,
    /// What is to be sent.
    pub(crate) transmit: Box<[u8]>,
    /// What `send_header` points to when a datagram is sent.
    pub(crate) send_parts: libc::iovec,
    pub(crate) send_header: libc::msghdr,
    /// Where it is sent.
    pub(crate) send_address: Option<SockAddr>,
}

// SAFETY: the raw pointers in the headers and parts point into the same structure's own memory.
unsafe impl Send for KernelMemory {}

/// An io_uring and its memory. Used by one thread from the first [`Ring::enter`] on.
pub(crate) struct Ring {
    uring: ManuallyDrop<IoUring>,
    pub(crate) memory: ManuallyDrop<Box<KernelMemory>>,
    in_flight: u32,
    own_in_flight: bool,
    /// The part of the transmit memory that the kernel may be reading.
    sending: Option<Range<usize>>,
    /// Completions that were reaped while waiting for another one.
    stashed: VecDeque<Completion>,
    /// Descriptors that requests not yet submitted may name.
    closing: Vec<OwnedFd>,
    enabled: bool,
    needs_enabling: bool,
    entries: u64,
    /// Octets of the kernel's framing in front of the payload of a provided buffer.
    before_payload: usize,
    /// Of these, room for the address of the sender.
    pub(crate) sender_bytes: usize,
}

impl Ring {
    /// Sets up the ring. The thread that enters it first becomes its only user.
    pub(crate) fn new(plan: RingPlan) -> io::Result<Ring> {
        let completions = plan.provided.map_or(64, |(count, _)| u32::from(count) * 2 + 64);
        let (uring, needs_enabling) = build(completions)?;
        if !uring.params().is_feature_ext_arg() || !uring.params().is_feature_submit_stable() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "io_uring of this kernel is too old, 5.11 is needed",
            ));
        }
        let sender_bytes = if plan.senders { SENDER_BYTES } else { 0 };
        let before_payload =
            if plan.datagrams { MULTISHOT_HEADER_BYTES + sender_bytes + CONTROL_BYTES } else { 0 };
        let mut provided = None;
        if let Some((count, payload)) = plan.provided {
            let buffers = ProvidedBuffers::new(count, before_payload + payload);
            // SAFETY: the entries are page-aligned, `count` long, and stay where they are until the ring is gone (see Drop).
            let registered = unsafe {
                let (address, count) = (buffers.ring_address(), buffers.count());
                uring.submitter().register_buf_ring_with_flags(address, count, GROUP, 0)
            };
            // Kernels before 5.19 have no buffer rings: the link then receives one by one.
            provided = registered.is_ok().then_some(buffers);
        }
        // SAFETY: all are plain C structures for which all zeroes is a valid value.
        let (parts, header, send_parts, send_header) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed(), std::mem::zeroed(), std::mem::zeroed()) };
        let mut memory = Box::new(KernelMemory {
            provided,
            own: vec![0; plan.own_bytes].into_boxed_slice(),
            parts,
            control: [0; CONTROL_BYTES / 8],
            sender: [0; SENDER_BYTES],
            header,
            address: None,
            transmit: vec![0; plan.transmit_bytes].into_boxed_slice(),
            send_parts,
            send_header,
            send_address: None,
        });
        if plan.datagrams {
            memory.header.msg_controllen = CONTROL_BYTES as _;
            memory.header.msg_namelen = sender_bytes as _;
        }
        Ok(Ring {
            uring: ManuallyDrop::new(uring),
            memory: ManuallyDrop::new(memory),
            in_flight: 0,
            own_in_flight: false,
            sending: None,
            stashed: VecDeque::new(),
            closing: Vec::new(),
            enabled: false,
            needs_enabling,
            entries: 0,
            before_payload,
            sender_bytes,
        })
    }

    /// Provided buffers exist, so multishot receives can be tried.
    pub(crate) fn has_provided_buffers(&self) -> bool {
        self.memory.provided.is_some()
    }

    /// Calls of `io_uring_enter` so far.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Submits what is pending and lets the kernel post completions; sleeps up to `sleep_ns` if none is there.
    /// Makes no system call when there is nothing to submit, nothing to run and no wish to sleep.
    pub(crate) fn enter(&mut self, sleep_ns: Option<u64>) -> io::Result<()> {
        if !self.enabled {
            if self.needs_enabling {
                self.uring.submitter().register_enable_rings()?;
            }
            self.enabled = true;
        }
        let waiting = !self.uring.completion().is_empty() || !self.stashed.is_empty();
        let submission = self.uring.submission();
        let pending = !submission.is_empty() || submission.taskrun() || submission.cq_overflow();
        drop(submission);
        let outcome = match sleep_ns {
            Some(sleep_ns) if !waiting => {
                let timeout = Timespec::from(Duration::from_nanos(sleep_ns));
                self.entries += 1;
                self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
            _ if pending => {
                self.entries += 1;
                self.uring.submit()
            }
            _ => return Ok(()),
        };
        match outcome {
            Ok(_) => {
                self.close_retired();
                Ok(())
            }
            // Nothing came in time; a signal; too many completions to be reaped first: the next turn tries again.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                Err(io::Error::other("a link can be polled only by the thread that polled it first"))
            }
            Err(error) => Err(error),
        }
    }

    /// The next completion, if one has come.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        self.stashed.pop_front().or_else(|| self.reap())
    }

    fn reap(&mut self) -> Option<Completion> {
        let entry = self.uring.completion().next()?;
        let token = Token::of(entry.user_data());
        let more = cqueue::more(entry.flags());
        if !more {
            assert!(self.in_flight > 0, "a completion without a request");
            self.in_flight -= 1;
            if token.request.uses_own_buffer() {
                self.own_in_flight = false;
            }
            if token.request.sends() {
                self.sending = None;
            }
        }
        let buffer = cqueue::buffer_select(entry.flags());
        if let (Some(id), Some(provided)) = (buffer, self.memory.provided.as_mut()) {
            provided.take(id);
        }
        let result = usize::try_from(entry.result()).map_err(|_| -entry.result());
        let accepted = match (token.request, result) {
            // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
            (Request::Accept, Ok(_)) => Some(unsafe { OwnedFd::from_raw_fd(entry.result()) }),
            _ => None,
        };
        Some(Completion { token, result, more, buffer, accepted })
    }

    /// The octets of a completed stream receive or read.
    pub(crate) fn bytes(&self, completion: &Completion) -> &[u8] {
        let len = completion.result.unwrap_or(0);
        match (completion.buffer, &self.memory.provided) {
            (Some(id), Some(provided)) => provided.bytes(id, len),
            _ => self.own(0..len),
        }
    }

    /// No request writes to the buffer of our own.
    pub(crate) fn own_is_free(&self) -> bool {
        !self.own_in_flight
    }

    /// A part of the buffer of our own, while no request writes to it.
    pub(crate) fn own(&self, range: std::ops::Range<usize>) -> &[u8] {
        assert!(!self.own_in_flight, "the kernel may be writing to the buffer");
        &self.memory.own[range]
    }

    /// The datagram of a completed receive; `None` if the kernel's framing of it makes no sense.
    pub(crate) fn datagram(&self, completion: &Completion) -> Option<Datagram<'_>> {
        let len = completion.result.ok()?;
        if let (Some(id), Some(provided)) = (completion.buffer, &self.memory.provided) {
            return datagram::multishot(provided.bytes(id, len), self.sender_bytes);
        }
        let header = &self.memory.header;
        let control_len = header.msg_controllen.min(CONTROL_BYTES);
        // SAFETY: u64s seen as octets, within the array, which no request writes to (`own` asserts it below).
        let control =
            unsafe { std::slice::from_raw_parts(self.memory.control.as_ptr().cast::<u8>(), control_len) };
        let truncated = header.msg_flags & libc::MSG_TRUNC != 0;
        let mut datagram = datagram::with_control(self.own(0..len), control, truncated);
        datagram.sender = datagram::address(&self.memory.sender[..self.sender_bytes]);
        Some(datagram)
    }

    /// Octets from the station in a completion: 0 for requests that bring none.
    pub(crate) fn payload_octets(&self, completion: &Completion) -> u64 {
        let len = completion.result.unwrap_or(0);
        match completion.token.request {
            Request::ReceiveMulti => len.saturating_sub(self.before_payload) as u64,
            Request::ReceiveSingle | Request::Read => len as u64,
            _ => 0,
        }
    }

    /// Gives the buffer of a completion back to the kernel.
    pub(crate) fn give_back(&mut self, completion: &Completion) {
        if let (Some(id), Some(provided)) = (completion.buffer, self.memory.provided.as_mut()) {
            provided.give_back(id);
        }
    }

    /// A part of the transmit memory, which no request reads, to be filled.
    pub(crate) fn transmit_memory(&mut self, range: Range<usize>) -> &mut [u8] {
        let free =
            self.sending.as_ref().is_none_or(|busy| range.end <= busy.start || busy.end <= range.start);
        assert!(free, "the kernel may be reading {:?}, which {range:?} would change", self.sending);
        &mut self.memory.transmit[range]
    }

    /// A part of the transmit memory, lent to the kernel until the completion of the request that sends it.
    pub(crate) fn lend_transmit(&mut self, range: Range<usize>) -> (*const u8, u32) {
        assert!(self.sending.is_none(), "one request at a time sends");
        let part = &self.memory.transmit[range.clone()];
        let lent = (part.as_ptr(), part.len() as u32);
        self.sending = Some(range);
        lent
    }

    /// Cancels a request and waits for its completion; other completions that come first are kept for [`Ring::next`].
    /// `None` when no such request is in flight.
    ///
    /// # Errors
    /// The kernel refuses this thread, or does not complete the request within 5 s.
    pub(crate) fn settle(&mut self, token: Token) -> io::Result<Option<Completion>> {
        // One request of a kind at a time: a send in flight is this one.
        if self.sending.is_none() || !token.request.sends() {
            return Ok(None);
        }
        self.cancel(token)?;
        let deadline = Instant::now() + CANCEL_TIMEOUT;
        loop {
            while let Some(completion) = self.reap() {
                if completion.token == token {
                    return Ok(Some(completion));
                }
                self.stashed.push_back(completion);
            }
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.wait_for_completions()?;
        }
    }

    /// Closes a descriptor as soon as no request that names it waits to be submitted: otherwise the request could reach whatever
    /// gets the same number next.
    pub(crate) fn close(&mut self, descriptor: OwnedFd) -> io::Result<()> {
        self.closing.push(descriptor);
        self.flush()
    }

    fn close_retired(&mut self) {
        if !self.closing.is_empty() && self.uring.submission().is_empty() {
            self.closing.clear();
        }
    }

    /// Cancels a request, if it is still there, before its descriptor is closed. Its last completion still comes.
    pub(crate) fn cancel(&mut self, token: Token) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(token.user_data()).build();
        self.push(entry, Token { request: Request::Cancel, generation: token.generation })?;
        self.flush()
    }

    /// Cancels everything and reaps until nothing is in flight; returns how many octets from the station still came.
    ///
    /// # Errors
    /// The kernel refuses this thread, or does not let go of a request within 5 s: memory must then be leaked.
    pub(crate) fn quiesce(&mut self) -> io::Result<u64> {
        let mut leftover = 0;
        if !self.enabled || self.in_flight == 0 {
            return Ok(leftover);
        }
        let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
        self.push(entry, Token { request: Request::Cancel, generation: 0 })?;
        let deadline = Instant::now() + CANCEL_TIMEOUT;
        loop {
            while let Some(completion) = self.next() {
                leftover += self.payload_octets(&completion);
                self.give_back(&completion);
            }
            if self.in_flight == 0 {
                break;
            }
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.wait_for_completions()?;
        }
        Ok(leftover)
    }

    /// Sleeps until a completion comes, at most 100 ms.
    fn wait_for_completions(&mut self) -> io::Result<()> {
        let stashed = std::mem::take(&mut self.stashed);
        let outcome = self.enter(Some(100_000_000));
        self.stashed = stashed;
        outcome
    }

    /// Submits pending requests now, so that the kernel has their descriptors and arguments. What it cannot take at the moment
    /// (no memory, too many completions to be reaped first) stays pending; later turns submit it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.uring.submission().is_empty() {
            self.entries += 1;
            match self.uring.submit() {
                Ok(_) => {}
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
                Err(error) => return Err(error),
            }
        }
        self.close_retired();
        Ok(())
    }

    /// A request can be queued now. Without room, the kernel is short of memory for the moment.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.uring.submission().is_full() {
            // An error shows again, and is reported, when the turn enters the ring.
            let _ = self.flush();
        }
        !self.uring.submission().is_full()
    }

    /// Requests wait to be submitted.
    pub(crate) fn has_pending(&mut self) -> bool {
        !self.uring.submission().is_empty()
    }

    /// The buffer of our own, lent to the kernel until the completion of the request that fills it.
    pub(crate) fn lend_own(&mut self) -> (*mut u8, u32) {
        assert!(!self.own_in_flight, "one request at a time writes to the buffer");
        self.own_in_flight = true;
        (self.memory.own.as_mut_ptr(), self.memory.own.len() as u32)
    }

    /// Queues a request. What it points to lies in `memory`.
    pub(crate) fn push(&mut self, entry: squeue::Entry, token: Token) -> io::Result<()> {
        let entry = entry.user_data(token.user_data());
        if self.uring.submission().is_full() {
            self.flush()?;
        }
        // SAFETY: whatever the entry points to is in `memory`, which outlives the request (see Drop); descriptors are open now and
        // stay so until the entry has been submitted (see `close`).
        let pushed = unsafe { self.uring.submission().push(&entry) };
        pushed.map_err(|_| io::Error::other("the submission queue is full"))?;
        self.in_flight += 1;
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let quiet = self.quiesce();
        if quiet.is_err() {
            // The kernel may still write to the memory: leak it. Closing the ring makes the kernel cancel by itself, later.
            // SAFETY: dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.uring) };
            return;
        }
        assert!(self.in_flight == 0 || !self.enabled, "memory is freed only when the kernel is done with it");
        // SAFETY: each dropped once, here; the ring first, so that the buffers are unregistered before they are freed.
        unsafe {
            ManuallyDrop::drop(&mut self.uring);
            ManuallyDrop::drop(&mut self.memory);
        }
    }
}

/// The best ring this kernel makes, and whether it has to be enabled by the thread that will use it.
fn build(completions: u32) -> io::Result<(IoUring, bool)> {
    let single = IoUring::builder()
        .setup_r_disabled()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(completions)
        .build(SUBMISSIONS);
    match single {
        Ok(uring) => Ok((uring, true)),
        // Kernels before 6.1 know no deferred task work.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let uring = IoUring::builder().setup_cqsize(completions).build(SUBMISSIONS)?;
            Ok((uring, false))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    const NOTHING: RingPlan =
        RingPlan { provided: None, own_bytes: 4096, datagrams: false, senders: false, transmit_bytes: 0 };

    #[test]
    fn a_token_survives_the_way_through_the_kernel() {
        for request in Request::ALL {
            let token = Token { request, generation: u32::MAX };
            assert_eq!(Token::of(token.user_data()), token);
        }
    }

    // REQ: FEP-NET-003
    #[test]
    fn dropping_a_ring_with_a_receive_in_flight_cancels_it_first() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let plan = RingPlan { provided: Some((4, 2048)), own_bytes: 2048, datagrams: true, ..NOTHING };
        let mut ring = Ring::new(plan).unwrap();
        ring.receive_datagrams_multi(socket.as_fd(), 1).unwrap();
        ring.enter(None).unwrap();
        assert_eq!(ring.in_flight, 1);
        ring.quiesce().unwrap();
        assert_eq!(ring.in_flight, 0);
        drop(ring);
    }

    // REQ: FEP-NET-003
    #[test]
    #[should_panic(expected = "the kernel may be reading")]
    fn what_is_being_sent_cannot_be_changed() {
        let mut ring = Ring::new(RingPlan { transmit_bytes: 4096, ..NOTHING }).unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        ring.send(socket.as_fd(), 100..200, 1).unwrap();
        ring.transmit_memory(0..100).fill(1);
        ring.transmit_memory(200..4096).fill(1);
        ring.transmit_memory(150..151).fill(1);
    }

    // REQ: FEP-NET-003, FEP-NET-104
    #[test]
    fn settling_a_send_that_waits_for_its_peer_ends_it_and_keeps_the_completions_of_others() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut ring = Ring::new(RingPlan { transmit_bytes: 4 << 20, ..NOTHING }).unwrap();
        let token = Token { request: Request::Send, generation: 7 };
        assert!(ring.settle(token).unwrap().is_none(), "nothing is in flight");
        // The peer never reads: what it has room for is sent, the rest waits.
        let mut sent = 0;
        loop {
            ring.send(ours.as_fd(), 0..4 << 20, 7).unwrap();
            ring.enter(None).unwrap();
            match ring.next() {
                Some(completion) => sent += completion.result.unwrap(),
                None => break,
            }
        }
        ring.readable(ours.as_fd(), 1).unwrap();
        ring.enter(None).unwrap();
        std::io::Write::write_all(&mut &theirs, b"x").unwrap();
        let settled = ring.settle(token).unwrap().unwrap();
        sent += settled.result.unwrap_or(0);
        ring.transmit_memory(0..4 << 20).fill(1);
        let mut others = Vec::new();
        while others.len() < 2 {
            ring.enter(Some(1_000_000)).unwrap();
            others.extend(std::iter::from_fn(|| ring.next()).map(|completion| completion.token.request));
        }
        assert!(others.contains(&Request::Readable) && others.contains(&Request::Cancel), "{others:?}");
        std::io::Read::read_exact(&mut &ours, &mut [0]).unwrap();
        drop((ring, ours));
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut &theirs, &mut read).unwrap();
        assert_eq!(read.len(), sent);
    }

    // REQ: FEP-NET-003
    #[test]
    fn a_ring_dropped_by_another_thread_than_its_user_leaks_rather_than_frees_early() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let plan = RingPlan { provided: Some((4, 2048)), own_bytes: 2048, datagrams: true, ..NOTHING };
        let mut ring = Ring::new(plan).unwrap();
        let mut ring = std::thread::scope(|scope| {
            let user = scope.spawn(|| {
                ring.receive_datagrams_multi(socket.as_fd(), 1).unwrap();
                ring.enter(None).unwrap();
                ring
            });
            user.join().unwrap()
        });
        if ring.needs_enabling {
            assert!(ring.quiesce().is_err());
        }
        drop(ring);
    }
}
