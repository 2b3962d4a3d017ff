//! Connections to the control interface and to the exporter, bounded in number, in time and in octets: a client that never
//! finishes its request, or never reads its answer, costs one place for a while and keeps nobody else out.
//!
//! A connection is either *busy* (a handler works for it; those end by themselves) or it is the client's turn: to send a
//! request, or to read an answer. The client's turn lasts [`PATIENCE`] at most. When all places are taken, a newcomer gets
//! that of the client whose turn has lasted longest.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Connections of one listener at a time: far below the descriptors that a process may have (1024 where nobody raised it),
/// which links need too.
pub(crate) const PLACES: usize = 64;
/// How long a client may take to send a request, or to read an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets that a client may send before it has an answer.
const REQUEST_MAX: usize = 64 << 10;

/// Serves `router` to at most [`PLACES`] clients at a time, until the task is aborted.
pub(crate) async fn serve<L>(listener: L, router: Router)
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let service = router.layer(from_fn(occupy)).into_make_service_with_connect_info::<Visitor>();
    let guarded = Guarded { listener, room: Room::default() };
    if let Err(error) = axum::serve(guarded, service).await {
        tracing::error!(%error, "the control interface or the exporter has ended");
    }
}

/// A listener whose connections are bounded.
struct Guarded<L> {
    listener: L,
    room: Room,
}

impl<L: Listener> Listener for Guarded<L> {
    type Io = Visit<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = self.listener.accept().await;
        let visitor = self.room.admit();
        let alarm = Box::pin(sleep_until(Instant::now() + PATIENCE));
        (Visit { stream, visitor, room: self.room.clone(), alarm }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// The clients that are connected.
#[derive(Clone, Default)]
struct Room(Arc<Mutex<Vec<Visitor>>>);

impl Room {
    fn visitors(&self) -> MutexGuard<'_, Vec<Visitor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a newcomer in. Where all places are taken, whose turn has lasted longest leaves; where all are busy, the newcomer.
    fn admit(&self) -> Visitor {
        let newcomer = Visitor::default();
        let mut visitors = self.visitors();
        if visitors.len() >= PLACES {
            let slowest = visitors
                .iter()
                .enumerate()
                .filter_map(|(place, visitor)| Some((visitor.turn_since()?, place)))
                .min();
            match slowest {
                Some((_, place)) => visitors.swap_remove(place).send_away(),
                None => {
                    newcomer.send_away();
                    return newcomer;
                }
            }
        }
        visitors.push(newcomer.clone());
        newcomer
    }

    fn leave(&self, visitor: &Visitor) {
        self.visitors().retain(|other| !Arc::ptr_eq(&other.0, &visitor.0));
    }
}

/// One client: what its connection and its handlers share.
#[derive(Clone, Default)]
struct Visitor(Arc<Mutex<State>>);

struct State {
    /// Handlers that work for it.
    busy: usize,
    /// Since when it is the client's turn.
    since: Instant,
    /// Octets it has sent in its turn.
    sent: usize,
    sent_away: bool,
    /// The task of the connection.
    waker: Option<Waker>,
}

impl Default for State {
    fn default() -> State {
        State { busy: 0, since: Instant::now(), sent: 0, sent_away: false, waker: None }
    }
}

impl Visitor {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when it is the client's turn; `None` while it is ours.
    fn turn_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.busy == 0).then_some(state.since)
    }

    fn send_away(&self) {
        let waker = {
            let mut state = self.state();
            state.sent_away = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<L: Listener> Connected<IncomingStream<'_, Guarded<L>>> for Visitor {
    fn connect_info(stream: IncomingStream<'_, Guarded<L>>) -> Visitor {
        stream.io().visitor.clone()
    }
}

/// While a handler works it is not the client's turn.
async fn occupy(ConnectInfo(visitor): ConnectInfo<Visitor>, request: Request, next: Next) -> Response {
    struct Busy(Visitor);
    impl Drop for Busy {
        fn drop(&mut self) {
            let mut state = self.0.state();
            state.busy -= 1;
            (state.since, state.sent) = (Instant::now(), 0);
        }
    }
    visitor.state().busy += 1;
    let _busy = Busy(visitor);
    next.run(request).await
}

/// The connection of one client.
struct Visit<S> {
    stream: S,
    visitor: Visitor,
    room: Room,
    /// Goes off when the client's turn may be over.
    alarm: Pin<Box<Sleep>>,
}

impl<S> Visit<S> {
    /// An error when the client has to leave; else it is seen to that the task learns of it.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        loop {
            let due = {
                let mut state = self.visitor.state();
                let now = Instant::now();
                let due = if state.busy == 0 { state.since } else { now } + PATIENCE;
                if state.sent_away || now >= due || state.sent > REQUEST_MAX {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                state.waker = Some(context.waker().clone());
                due
            };
            if self.alarm.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            self.alarm.as_mut().reset(due);
        }
    }
}

impl<S> Drop for Visit<S> {
    fn drop(&mut self) {
        self.room.leave(&self.visitor);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Visit<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        self.visitor.state().sent += into.filled().len() - before;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Visit<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-ENG-302
    #[tokio::test(start_paused = true)]
    async fn a_newcomer_gets_the_place_of_the_client_whose_turn_has_lasted_longest_and_never_that_of_a_busy_one()
     {
        let room = Room::default();
        let first = room.admit();
        first.state().busy = 1;
        let mut others = Vec::new();
        for _ in 1..PLACES {
            tokio::time::advance(Duration::from_millis(1)).await;
            others.push(room.admit());
        }
        let newcomer = room.admit();
        assert!(others[0].state().sent_away && !newcomer.state().sent_away && !first.state().sent_away);
        assert_eq!(room.visitors().len(), PLACES);
        // All busy: the newcomer leaves.
        room.visitors().iter().for_each(|visitor| visitor.state().busy = 1);
        assert!(room.admit().state().sent_away);
        assert_eq!(room.visitors().len(), PLACES);
        room.leave(&first);
        assert!(!room.admit().state().sent_away);
    }

    // REQ: FEP-ENG-302
    #[tokio::test(start_paused = true)]
    async fn a_turn_of_a_client_lasts_as_long_as_the_patience_and_a_handler_as_long_as_it_likes() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let visit = |room: &Room, stream| Visit {
            stream,
            visitor: room.admit(),
            room: room.clone(),
            alarm: Box::pin(sleep_until(Instant::now() + PATIENCE)),
        };
        let room = Room::default();
        // One octet now and then does not help.
        let (mut client, server) = tokio::io::duplex(64);
        let mut slow = visit(&room, server);
        let trickle = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let start = Instant::now();
        let error = slow.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert!(start.elapsed() >= PATIENCE);
        drop(slow);
        trickle.await.unwrap();
        assert!(room.visitors().is_empty());
        // Nor does an answer that is not read.
        let (_client, server) = tokio::io::duplex(64);
        let mut deaf = visit(&room, server);
        deaf.write_all(&[0; 1000]).await.unwrap_err();
        // A handler may take longer.
        let (mut client, server) = tokio::io::duplex(64);
        let mut patient = visit(&room, server);
        patient.visitor.state().busy = 1;
        let late = tokio::spawn(async move {
            tokio::time::sleep(10 * PATIENCE).await;
            client.write_all(b"late").await.unwrap();
        });
        let mut octets = [0; 4];
        patient.read_exact(&mut octets).await.unwrap();
        late.await.unwrap();
    }
}
