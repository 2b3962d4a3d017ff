//! What every kind of link has at hand during one turn, and how chunks leave it.

use std::io;

use crate::counters::LinkCounters;
use crate::link::{Chunk, LinkState};
use crate::ring::{Completion, Ring};
use fep_time::{Monotonic, ReceiveClock};

/// Never: no timer is running.
pub(crate) const NEVER_NS: i64 = i64::MAX;

/// Where the link stands, and the last thing that went wrong.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) state: LinkState,
    pub(crate) last_fault: Option<String>,
}

impl Status {
    /// Remembers a fault that does not end the link.
    pub(crate) fn fault(&mut self, what: impl std::fmt::Display, error: impl std::fmt::Display) {
        self.last_fault = Some(format!("{what}: {error}"));
    }
}

/// The system's text for an error number.
pub(crate) fn os_error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// One turn of a link.
pub(crate) struct Turn<'t> {
    pub(crate) ring: &'t mut Ring,
    pub(crate) counters: &'t mut LinkCounters,
    pub(crate) status: &'t mut Status,
    pub(crate) clock: &'t ReceiveClock,
    /// The one reading of the monotonic clock this turn is allowed.
    pub(crate) now_ns: i64,
    pub(crate) sink: &'t mut dyn FnMut(Chunk<'_>),
}

impl Turn<'_> {
    /// Hands the octets of a stream receive on and gives the buffer back.
    pub(crate) fn hand_on(&mut self, completion: &Completion, connection_start: bool) {
        let bytes = self.ring.bytes(completion);
        let received = self.clock.tai(Monotonic(self.now_ns));
        deliver(
            self.counters,
            self.sink,
            Chunk { bytes, received, datagram: false, connection_start, truncated: false },
        );
        self.ring.give_back(completion);
    }

    /// Hands a part of the buffer of our own on.
    pub(crate) fn hand_on_own(&mut self, range: std::ops::Range<usize>, connection_start: bool) {
        let bytes = self.ring.own(range);
        let received = self.clock.tai(Monotonic(self.now_ns));
        deliver(
            self.counters,
            self.sink,
            Chunk { bytes, received, datagram: false, connection_start, truncated: false },
        );
    }

    /// Hands a datagram on and gives the buffer back; false if the kernel's framing of it makes no sense.
    pub(crate) fn hand_on_datagram(&mut self, completion: &Completion, first: bool) -> Option<Option<u32>> {
        let datagram = self.ring.datagram(completion);
        let drops = datagram.map(|datagram| {
            self.counters.datagrams += 1;
            self.counters.truncated += u64::from(datagram.truncated);
            let received = match datagram.rx_utc_ns {
                Some(utc_ns) => self.clock.tai_of_kernel_stamp(utc_ns),
                None => self.clock.tai(Monotonic(self.now_ns)),
            };
            let (bytes, truncated) = (datagram.payload, datagram.truncated);
            deliver(
                self.counters,
                self.sink,
                Chunk { bytes, received, datagram: true, connection_start: first, truncated },
            );
            datagram.drops
        });
        self.ring.give_back(completion);
        drops
    }
}

fn deliver(counters: &mut LinkCounters, sink: &mut dyn FnMut(Chunk<'_>), chunk: Chunk<'_>) {
    counters.bytes += chunk.bytes.len() as u64;
    counters.chunks += 1;
    sink(chunk);
}
