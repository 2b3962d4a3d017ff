//! One io_uring together with all the memory its requests may touch.
//!
//! The invariant that keeps this sound: **memory the kernel may still write is never freed and never lent out.** `in_flight` counts requests
//! whose last completion has not been reaped; dropping a [`Ring`] cancels them, waits until the count is 0, and only then frees.
//! Where that is impossible (dropped by another thread than the one that polled, which the kernel refuses to serve),
//! the memory is leaked on purpose.
#![allow(unsafe_code)]

use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use socket2::SockAddr;

use crate::buffers::ProvidedBuffers;
use crate::datagram::{self, CONTROL_BYTES, Datagram, MULTISHOT_HEADER_BYTES};

const GROUP: u16 = 0;
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
    Cancel,
}

impl Request {
    const ALL: [Request; 7] = [
        Request::Connect,
        Request::Accept,
        Request::ReceiveMulti,
        Request::ReceiveSingle,
        Request::Read,
        Request::Readable,
        Request::Cancel,
    ];

    /// The request writes into the one buffer of our own.
    fn uses_own_buffer(self) -> bool {
        matches!(self, Request::ReceiveSingle | Request::Read)
    }
}

/// Names a request: what it does, and for which of the successive connections of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) request: Request,
    pub(crate) generation: u32,
}

impl Token {
    fn user_data(self) -> u64 {
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
}

/// All memory the kernel may touch on behalf of the ring, at fixed addresses (boxed, never moved).
struct KernelMemory {
    provided: Option<ProvidedBuffers>,
    own: Box<[u8]>,
    /// What `header` points to in single-shot receives of datagrams.
    parts: libc::iovec,
    /// Control messages of single-shot receives; u64 for alignment.
    control: [u64; CONTROL_BYTES / 8],
    header: libc::msghdr,
    address: Option<SockAddr>,
}

// SAFETY: the raw pointers in `parts` and `header` point into the same structure's own memory.
unsafe impl Send for KernelMemory {}

/// An io_uring and its memory. Used by one thread from the first [`Ring::enter`] on.
pub(crate) struct Ring {
    uring: ManuallyDrop<IoUring>,
    memory: ManuallyDrop<Box<KernelMemory>>,
    in_flight: u32,
    own_in_flight: bool,
    enabled: bool,
    needs_enabling: bool,
    entries: u64,
    /// Octets of the kernel's framing in front of the payload of a provided buffer.
    before_payload: usize,
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
        let before_payload = if plan.datagrams { MULTISHOT_HEADER_BYTES + CONTROL_BYTES } else { 0 };
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
        // SAFETY: both are plain C structures for which all zeroes is a valid value.
        let (parts, header) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let own = vec![0; plan.own_bytes].into_boxed_slice();
        let control = [0; CONTROL_BYTES / 8];
        let mut memory = Box::new(KernelMemory { provided, own, parts, control, header, address: None });
        if plan.datagrams {
            memory.header.msg_controllen = CONTROL_BYTES as _;
        }
        Ok(Ring {
            uring: ManuallyDrop::new(uring),
            memory: ManuallyDrop::new(memory),
            in_flight: 0,
            own_in_flight: false,
            enabled: false,
            needs_enabling,
            entries: 0,
            before_payload,
        })
    }

    /// Provided buffers are there, so multishot receives can be tried.
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
        let waiting = !self.uring.completion().is_empty();
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
            Ok(_) => Ok(()),
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

    /// The next completion, if one is there.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        let entry = self.uring.completion().next()?;
        let token = Token::of(entry.user_data());
        let more = cqueue::more(entry.flags());
        if !more {
            assert!(self.in_flight > 0, "a completion without a request");
            self.in_flight -= 1;
            if token.request.uses_own_buffer() {
                self.own_in_flight = false;
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
            return datagram::multishot(provided.bytes(id, len));
        }
        let header = &self.memory.header;
        let control_len = header.msg_controllen.min(CONTROL_BYTES);
        // SAFETY: u64s seen as octets, within the array, which no request writes to (`own` asserts it below).
        let control =
            unsafe { std::slice::from_raw_parts(self.memory.control.as_ptr().cast::<u8>(), control_len) };
        let truncated = header.msg_flags & libc::MSG_TRUNC != 0;
        Some(datagram::with_control(self.own(0..len), control, truncated))
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

    /// Connects `socket` to `address`.
    pub(crate) fn connect(
        &mut self,
        socket: BorrowedFd<'_>,
        address: SocketAddr,
        generation: u32,
    ) -> io::Result<()> {
        let address = self.memory.address.insert(SockAddr::from(address));
        let entry =
            opcode::Connect::new(Fd(socket.as_raw_fd()), address.as_ptr().cast(), address.len()).build();
        self.push(entry, Token { request: Request::Connect, generation })?;
        // The kernel copies the address when it takes the request (IORING_FEAT_SUBMIT_STABLE), so that the next attempt may overwrite it.
        self.flush()
    }

    /// Accepts one connection.
    pub(crate) fn accept(&mut self, listener: BorrowedFd<'_>, generation: u32) -> io::Result<()> {
        let entry = opcode::Accept::new(Fd(listener.as_raw_fd()), std::ptr::null_mut(), std::ptr::null_mut())
            .flags(libc::SOCK_CLOEXEC)
            .build();
        self.push(entry, Token { request: Request::Accept, generation })
    }

    /// Receives from a stream into provided buffers until something stops it.
    pub(crate) fn receive_multi(&mut self, socket: BorrowedFd<'_>, generation: u32) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP).build();
        self.push(entry, Token { request: Request::ReceiveMulti, generation })
    }

    /// Receives once from a stream.
    pub(crate) fn receive_single(&mut self, socket: BorrowedFd<'_>, generation: u32) -> io::Result<()> {
        let (start, len) = self.lend_own();
        let entry = opcode::Recv::new(Fd(socket.as_raw_fd()), start, len).build();
        self.push(entry, Token { request: Request::ReceiveSingle, generation })
    }

    /// Receives datagrams into provided buffers until something stops it.
    pub(crate) fn receive_datagrams_multi(
        &mut self,
        socket: BorrowedFd<'_>,
        generation: u32,
    ) -> io::Result<()> {
        let entry =
            opcode::RecvMsgMulti::new(Fd(socket.as_raw_fd()), &raw const self.memory.header, GROUP).build();
        self.push(entry, Token { request: Request::ReceiveMulti, generation })
    }

    /// Receives one datagram.
    pub(crate) fn receive_datagram_single(
        &mut self,
        socket: BorrowedFd<'_>,
        generation: u32,
    ) -> io::Result<()> {
        let (start, len) = self.lend_own();
        let memory = &mut **self.memory;
        memory.parts = libc::iovec { iov_base: start.cast(), iov_len: len as usize };
        memory.header.msg_iov = &raw mut memory.parts;
        memory.header.msg_iovlen = 1;
        memory.header.msg_control = memory.control.as_mut_ptr().cast();
        memory.header.msg_controllen = CONTROL_BYTES as _;
        let entry = opcode::RecvMsg::new(Fd(socket.as_raw_fd()), &raw mut memory.header).build();
        self.push(entry, Token { request: Request::ReceiveSingle, generation })
    }

    /// Reads once from a file, at `offset` or at its own position.
    pub(crate) fn read(
        &mut self,
        file: BorrowedFd<'_>,
        offset: Option<u64>,
        generation: u32,
    ) -> io::Result<()> {
        let (start, len) = self.lend_own();
        let entry =
            opcode::Read::new(Fd(file.as_raw_fd()), start, len).offset(offset.unwrap_or(u64::MAX)).build();
        self.push(entry, Token { request: Request::Read, generation })
    }

    /// Completes when `file` has something to read.
    pub(crate) fn readable(&mut self, file: BorrowedFd<'_>, generation: u32) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(file.as_raw_fd()), libc::POLLIN as u32).build();
        self.push(entry, Token { request: Request::Readable, generation })
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
        while self.in_flight > 0 {
            self.enter(Some(100_000_000))?;
            while let Some(completion) = self.next() {
                leftover += self.payload_octets(&completion);
                self.give_back(&completion);
            }
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(leftover)
    }

    /// Hands pending requests to the kernel now, so that their descriptors and arguments are taken.
    fn flush(&mut self) -> io::Result<()> {
        self.entries += 1;
        match self.uring.submit() {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn lend_own(&mut self) -> (*mut u8, u32) {
        assert!(!self.own_in_flight, "one request at a time writes to the buffer");
        self.own_in_flight = true;
        (self.memory.own.as_mut_ptr(), self.memory.own.len() as u32)
    }

    fn push(&mut self, entry: squeue::Entry, token: Token) -> io::Result<()> {
        let entry = entry.user_data(token.user_data());
        if self.uring.submission().is_full() {
            self.flush()?;
        }
        // SAFETY: whatever the entry points to is in `memory`, which outlives the request (see Drop); descriptors are
        // open now and flushed or cancelled before they are closed.
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
    use super::*;

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
        let plan = RingPlan { provided: Some((4, 2048)), own_bytes: 2048, datagrams: true };
        let mut ring = Ring::new(plan).unwrap();
        ring.receive_datagrams_multi(std::os::fd::AsFd::as_fd(&socket), 1).unwrap();
        ring.enter(None).unwrap();
        assert_eq!(ring.in_flight, 1);
        ring.quiesce().unwrap();
        assert_eq!(ring.in_flight, 0);
        drop(ring);
    }

    // REQ: FEP-NET-003
    #[test]
    fn a_ring_dropped_by_another_thread_than_its_user_leaks_rather_than_frees_early() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let plan = RingPlan { provided: Some((4, 2048)), own_bytes: 2048, datagrams: true };
        let mut ring = Ring::new(plan).unwrap();
        let mut ring = std::thread::scope(|scope| {
            let user = scope.spawn(|| {
                ring.receive_datagrams_multi(std::os::fd::AsFd::as_fd(&socket), 1).unwrap();
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
