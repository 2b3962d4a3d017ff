//! The requests that links make of their ring.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::opcode;
use io_uring::types::Fd;
use socket2::SockAddr;

use crate::datagram::{CONTROL_BYTES, SENDER_BYTES};
use crate::ring::{GROUP, Request, Ring, Token};

impl Ring {
    /// Connects `socket` to `address`.
    pub(crate) fn connect(
        &mut self,
        socket: BorrowedFd<'_>,
        address: SocketAddr,
        generation: u32,
    ) -> io::Result<()> {
        // The kernel copies the address when it takes the request (IORING_FEAT_SUBMIT_STABLE): only after that may it be overwritten.
        self.flush()?;
        if self.has_pending() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let address = self.memory.address.insert(SockAddr::from(address));
        let entry =
            opcode::Connect::new(Fd(socket.as_raw_fd()), address.as_ptr().cast(), address.len()).build();
        self.push(entry, Token { request: Request::Connect, generation })
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
        let sender_bytes = self.sender_bytes;
        let memory = &mut **self.memory;
        memory.parts = libc::iovec { iov_base: start.cast(), iov_len: len as usize };
        memory.header.msg_iov = &raw mut memory.parts;
        memory.header.msg_iovlen = 1;
        memory.header.msg_control = memory.control.as_mut_ptr().cast();
        memory.header.msg_controllen = CONTROL_BYTES as _;
        if sender_bytes > 0 {
            memory.sender = [0; SENDER_BYTES];
            memory.header.msg_name = memory.sender.as_mut_ptr().cast();
            memory.header.msg_namelen = sender_bytes as _;
        }
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

    /// Sends a part of the transmit memory on a stream; the kernel may take less than all of it.
    pub(crate) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        range: Range<usize>,
        generation: u32,
    ) -> io::Result<()> {
        let (start, len) = self.lend_transmit(range);
        let entry = opcode::Send::new(Fd(socket.as_raw_fd()), start, len).flags(libc::MSG_NOSIGNAL).build();
        self.push(entry, Token { request: Request::Send, generation })
    }

    /// Sends a part of the transmit memory as one datagram to `address`.
    pub(crate) fn send_datagram(
        &mut self,
        socket: BorrowedFd<'_>,
        range: Range<usize>,
        address: SocketAddr,
        generation: u32,
    ) -> io::Result<()> {
        let (start, len) = self.lend_transmit(range);
        let memory = &mut **self.memory;
        let address = memory.send_address.insert(SockAddr::from(address));
        memory.send_parts = libc::iovec { iov_base: start.cast_mut().cast(), iov_len: len as usize };
        memory.send_header.msg_iov = &raw mut memory.send_parts;
        memory.send_header.msg_iovlen = 1;
        memory.send_header.msg_name = address.as_ptr().cast_mut().cast();
        memory.send_header.msg_namelen = address.len();
        let entry = opcode::SendMsg::new(Fd(socket.as_raw_fd()), &raw const memory.send_header)
            .flags(libc::MSG_NOSIGNAL as u32)
            .build();
        self.push(entry, Token { request: Request::Send, generation })
    }

    /// Writes a part of the transmit memory to a line; the kernel may take less than all of it.
    pub(crate) fn write(
        &mut self,
        line: BorrowedFd<'_>,
        range: Range<usize>,
        generation: u32,
    ) -> io::Result<()> {
        let (start, len) = self.lend_transmit(range);
        let entry = opcode::Write::new(Fd(line.as_raw_fd()), start, len).offset(u64::MAX).build();
        self.push(entry, Token { request: Request::Write, generation })
    }

    /// Completes when `line` has room for octets.
    pub(crate) fn writable(&mut self, line: BorrowedFd<'_>, generation: u32) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(line.as_raw_fd()), libc::POLLOUT as u32).build();
        self.push(entry, Token { request: Request::Writable, generation })
    }

    /// Completes whenever `event` is signalled.
    pub(crate) fn wake_on(&mut self, event: BorrowedFd<'_>) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(event.as_raw_fd()), libc::POLLIN as u32).multi(true).build();
        self.push(entry, Token { request: Request::Wake, generation: 0 })
    }
}
