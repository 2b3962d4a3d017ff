//! A stream of octets that ends when the other end does not read what is written to it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Whoever reads fewer octets within the time while more wait for them is not served any longer.
const LEAST_OCTETS: usize = 4096;

/// A stream with a write time-out.
pub(crate) struct Timed<S> {
    stream: S,
    limit: Duration,
    /// Runs while octets wait.
    waiting: Option<Pin<Box<Sleep>>>,
    written: usize,
}

impl<S> Timed<S> {
    pub(crate) fn new(stream: S, limit: Duration) -> Timed<S> {
        Timed { stream, limit, waiting: None, written: 0 }
    }

    /// Octets wait: an error when too few went in the time.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let limit = self.limit;
        let sleep = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        while sleep.as_mut().poll(context).is_ready() {
            if self.written < LEAST_OCTETS {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")));
            }
            self.written = 0;
            sleep.as_mut().reset(Instant::now() + limit);
        }
        Poll::Pending
    }

    fn all_gone(&mut self) {
        self.waiting = None;
        self.written = 0;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> Timed<S> {
    fn after_write(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match poll {
            Poll::Pending => self.wait(context),
            Poll::Ready(Ok(octets)) => {
                self.written = self.written.saturating_add(octets);
                Poll::Ready(Ok(octets))
            }
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, octets);
        self.after_write(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.after_write(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Pending => self.wait(context),
            done @ Poll::Ready(_) => {
                self.all_gone();
                done
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(context) {
            Poll::Pending => self.wait(context),
            done @ Poll::Ready(_) => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    // REQ: FEP-KIT-115
    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_or_trickles_ends_the_stream_and_a_slow_but_steady_one_does_not() {
        for (octets, every_s, ends) in [(0, 1, true), (1, 1, true), (2048, 1, false)] {
            let (near, mut far) = tokio::io::duplex(1024);
            let mut timed = Timed::new(near, Duration::from_secs(10));
            let reader = tokio::spawn(async move {
                let mut buffer = vec![0; octets];
                loop {
                    tokio::time::sleep(Duration::from_secs(every_s)).await;
                    if octets > 0 && far.read(&mut buffer).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
            });
            let written = timed.write_all(&[7; 100_000]).await;
            assert_eq!(written.is_err(), ends, "{octets} octets every {every_s} s: {written:?}");
            if let Err(error) = written {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            }
            reader.abort();
        }
    }
}
