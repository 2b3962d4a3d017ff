//! How much of what was written to a TCP socket its peer has not acknowledged: one system call that no library wraps.

#![allow(unsafe_code)]

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

/// Octets in the socket's send queue: not sent yet, or sent and not acknowledged by the peer's TCP.
///
/// # Errors
/// The system's.
pub(crate) fn unacknowledged(stream: &TcpStream) -> io::Result<u64> {
    let mut octets: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as `stream` lives, and TIOCOUTQ (SIOCOUTQ) writes one int through the
    // pointer, which points to one.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut octets) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(u64::try_from(octets).unwrap_or(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn what_the_peers_tcp_has_not_taken_is_told_to_the_octet() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut sender = TcpStream::connect(listener.local_addr()?)?;
        let (mut receiver, _) = listener.accept()?;
        sender.set_nonblocking(true)?;
        let mut written = 0;
        // Until both socket buffers are full.
        loop {
            match sender.write(&[7; 65_536]) {
                Ok(octets) => written += octets as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let waiting = unacknowledged(&sender)?;
        assert!(waiting > 0 && waiting < written, "{waiting} of {written}");
        let mut octets = vec![0; 1 << 20];
        let mut taken = 0;
        while taken < written {
            taken += receiver.read(&mut octets)? as u64;
        }
        // The last acknowledgement is on its way for a moment.
        while unacknowledged(&sender)? > 0 {
            std::thread::yield_now();
        }
        Ok(())
    }
}
