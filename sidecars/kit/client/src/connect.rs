//! Connections: one for each request, over a socket of the system, TCP or TLS.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::TlsFault;
use crate::tls::{fault_in, plain};
use crate::{Address, Error};

/// A connection of any kind.
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What is needed for TLS to one service.
#[derive(Clone)]
pub(crate) struct Secure {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

pub(crate) async fn connect(service: &Address, secure: Option<&Secure>) -> Result<TokioIo<Stream>, Error> {
    let away = |error: io::Error| Error::Unreachable {
        service: service.clone(),
        kind: error.kind(),
        why: plain(&error),
        hint: hint_of(service, error.kind()).to_owned(),
    };
    let stream = match (service, secure) {
        (Address::Unix(path), _) => Stream::Unix(UnixStream::connect(path).await.map_err(away)?),
        (Address::Http { host, port }, _) | (Address::Https { host, port }, None) => {
            Stream::Tcp(tcp(host, *port).await.map_err(away)?)
        }
        (Address::Https { host, port }, Some(secure)) => {
            let stream = tcp(host, *port).await.map_err(away)?;
            let connector = TlsConnector::from(Arc::clone(&secure.config));
            let stream = connector.connect(secure.name.clone(), stream).await.map_err(|error| {
                let fault = fault_in(&error).unwrap_or_else(|| match error.kind() {
                    ErrorKind::UnexpectedEof => {
                        TlsFault::Other("the other end closed the connection".to_owned())
                    }
                    _ => TlsFault::Other(plain(&error)),
                });
                Error::Tls { service: service.clone(), fault }
            })?;
            Stream::Tls(Box::new(stream))
        }
    };
    Ok(TokioIo::new(stream))
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn hint_of(service: &Address, kind: ErrorKind) -> &'static str {
    match (service, kind) {
        (Address::Unix(_), ErrorKind::PermissionDenied) => {
            "your user must be in the group that owns the socket: see `ls -l` of it and `id`"
        }
        _ => "start it, or give the address where it is",
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, octets),
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, octets),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
