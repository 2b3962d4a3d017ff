//! One TCP connection, plain or within TLS, as octets.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fep_identity::Credentials;
use fep_route::{Certificates, peer_of};
use rustls::ServerConnection;

use crate::outq;

/// Most octets of plain text in one record of TLS (RFC 8446 section 5.1).
const RECORD_MAX: usize = 16 << 10;

/// A connection to a client.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    tls: Option<Tls>,
}

#[derive(Debug)]
struct Tls {
    session: Box<ServerConnection>,
    /// Octets of plain text that were taken last; part of them may not be with the system yet.
    taken: usize,
}

impl Connection {
    /// Without TLS.
    pub(crate) fn plain(stream: TcpStream) -> Connection {
        Connection { stream, tls: None }
    }

    /// With TLS: does the handshake, of both ends, until `deadline`. The stream is blocking.
    ///
    /// # Errors
    /// The system's, the client's mistakes, the time.
    pub(crate) fn accept(
        stream: TcpStream,
        certificates: &Certificates,
        deadline: Instant,
    ) -> io::Result<Connection> {
        let session = ServerConnection::new(certificates.config()).map_err(io::Error::other)?;
        let mut tls = Tls { session: Box::new(session), taken: 0 };
        let mut stream = stream;
        while tls.session.is_handshaking() || tls.session.wants_write() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"));
            }
            stream.set_read_timeout(Some(left))?;
            stream.set_write_timeout(Some(left))?;
            if tls.session.wants_write() {
                tls.session.write_tls(&mut stream)?;
            } else {
                tls.receive(&mut stream)?;
            }
        }
        stream.set_write_timeout(None)?;
        Ok(Connection { stream, tls: Some(tls) })
    }

    /// What the other end has proved.
    pub(crate) fn credentials(&self) -> Credentials {
        let certificate = self.tls.as_ref().and_then(|tls| peer_of(&tls.session));
        certificate.map_or(Credentials::None, |certificate| Credentials::Certificate(certificate.into()))
    }

    /// The socket, for waiting and its options.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Gives the system what TLS has made ready. Whether anything is left.
    ///
    /// # Errors
    /// The system's, but not that it takes nothing now.
    pub(crate) fn flush_ready(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(false) };
        while tls.session.wants_write() {
            match tls.session.write_tls(&mut self.stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// How many of the octets that were written may not be with the client yet: exact without TLS, and an upper bound with it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn unconfirmed(&self) -> io::Result<u64> {
        let queued = outq::unacknowledged(&self.stream)?;
        let Some(tls) = &self.tls else { return Ok(queued) };
        let ready = if tls.session.wants_write() { tls.taken as u64 } else { 0 };
        // Cipher text is longer than what is in it. Of a record that has not arrived whole, the client can read nothing.
        Ok(if queued + ready == 0 { 0 } else { queued + ready + RECORD_MAX as u64 })
    }

    /// Says the last, within `within`, and ends the connection. The client may be gone; then nobody reads it.
    pub(crate) fn end_with(&mut self, last: &[u8], within: Duration) {
        let _ = self.stream.set_nonblocking(false);
        let _ = self.stream.set_write_timeout(Some(within));
        let _ = self.write_all(last);
        if let Some(tls) = &mut self.tls {
            tls.session.send_close_notify();
        }
        let _ = self.flush_ready();
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

impl Tls {
    /// Takes octets off the socket. `Ok(false)`: the client has closed the connection.
    fn receive(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        let taken = self.session.read_tls(stream)?;
        if let Err(error) = self.session.process_new_packets() {
            // The alert says to the client what is wrong; it may not read it.
            let _ = self.session.write_tls(stream);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        if taken == 0 && self.session.is_handshaking() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(taken > 0)
    }
}

impl Read for Connection {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.read(octets) };
        loop {
            match tls.session.reader().read(octets) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Cut off without a farewell of TLS: no more comes all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            tls.receive(&mut self.stream)?;
        }
    }
}

impl Write for Connection {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.flush_ready()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let Some(tls) = &mut self.tls else { return self.stream.write(octets) };
        // One record at a time: what is not with the system yet is never more than one.
        let taken = tls.session.writer().write(&octets[..octets.len().min(RECORD_MAX)])?;
        tls.taken = taken;
        self.flush_ready()?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_ready().map(drop)
    }
}
