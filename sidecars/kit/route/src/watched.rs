//! Bodies of answers that hold their place among the limits until they end, and streams that end with their caller's right.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::limits::Admitted;

/// How often a stream asks whether its caller may still have it.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Whether a stream may go on.
pub(crate) struct Watch {
    may: Box<dyn Fn() -> bool + Send>,
    every: Interval,
}

impl Watch {
    pub(crate) fn new(may: impl Fn() -> bool + Send + 'static) -> Watch {
        let mut every = interval(ASK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Watch { may: Box::new(may), every }
    }
}

/// A body with what it holds.
pub(crate) struct Watched {
    body: Body,
    watch: Option<Watch>,
    _admitted: Admitted,
}

impl Watched {
    pub(crate) fn new(body: Body, admitted: Admitted, watch: Option<Watch>) -> Watched {
        Watched { body, watch, _admitted: admitted }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(watch) = &mut self.watch {
            // Polled until it is pending, so that it wakes this task again.
            while watch.every.poll_tick(context).is_ready() {
                if !(watch.may)() {
                    self.watch = None;
                    self.body = Body::empty();
                    return Poll::Ready(None);
                }
            }
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
