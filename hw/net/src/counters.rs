//! What a link counts. Plain numbers: the owner of the link reads them between turns and publishes them as it likes.

/// Declares the counters once: the struct, their names and their values, always in the same order.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Everything a link has counted since it was opened. No counter ever goes back.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct LinkCounters { $($(#[$doc])* pub $name: u64,)* }

        impl LinkCounters {
            /// Names of the counters, in the order of [`LinkCounters::values`].
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// Values of the counters, in the order of [`LinkCounters::NAMES`].
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$name),*]
            }
        }
    };
}

counters! {
    /// Octets received from the transport.
    bytes,
    /// Chunks received from the transport.
    chunks,
    /// Datagrams received (UDP; each is one chunk).
    datagrams,
    /// Datagrams longer than `max_datagram_bytes`, delivered cut and marked.
    truncated,
    /// Datagrams the kernel dropped because our socket buffer was full (SO_RXQ_OVFL and SO_MEMINFO).
    kernel_drops,
    /// Octets that arrived for a connection we had already dropped; never delivered.
    discarded_bytes,
    /// Octets that the kernel took to be sent, framing of a protocol included.
    transmitted_bytes,
    /// Units that the kernel took wholly.
    transmitted_units,
    /// Units that were not sent, or not wholly.
    transmit_failed,
    /// Units that `transmit` did not take.
    transmit_refused,
    /// Connections established: TCP, serial line opened.
    connections,
    /// Connections that ended, whatever the cause: the sum of the `disconnects_*`, `resets` and `half_open` counters.
    disconnects,
    /// ... because the peer closed in an orderly way (or the serial line hung up).
    disconnects_by_peer,
    /// ... because we closed (`shutdown`).
    disconnects_by_us,
    /// ... because of any other error.
    disconnects_by_error,
    /// ... because the protocol spoken on it was violated.
    disconnects_by_protocol,
    /// ... because the peer reset the connection.
    resets,
    /// ... because the peer did not answer any more: keep-alive, TCP_USER_TIMEOUT, `idle_timeout_ms`, or replaced while silent.
    half_open,
    /// Attempts to connect after the first.
    reconnect_attempts,
    /// Attempts the station refused (no listener).
    connect_refused,
    /// Attempts that took longer than `connect_timeout_ms`.
    connect_timeouts,
    /// Attempts that failed otherwise (no route, no device ...).
    connect_errors,
    /// Stations we refused: a second one, or one not in `allowed_peers`.
    refused,
    /// Errors of receives and of accepting that ended no connection (an ICMP error on a UDP socket, for one).
    receive_errors,
    /// Times a datagram socket or a listener was opened again after it had failed.
    reopens,
    /// Times all receive buffers were in use and the kernel had to stop until we gave some back.
    buffers_exhausted,
    /// Times a link of datagrams had none for `silence_ms`.
    silences,
    /// Times a file was started again.
    repeats,
    /// Paced turns that came so late that more than one quantum was due; the pace catches up.
    pace_late,
    /// Units that a protocol delivered.
    units,
    /// Octets of these units, framing excluded.
    unit_octets,
    /// Keep-alives of a protocol that arrived.
    keepalives_received,
    /// Keep-alives of a protocol that were sent.
    keepalives_sent,
    /// Faults of a protocol: what arrived could not be understood, or nothing arrived for too long.
    protocol_faults,
    /// Octets that arrived and belong to no unit: of units cut by the end of their connection, and behind a fault.
    protocol_discarded_octets,
    /// Calls of `io_uring_enter`.
    kernel_entries,
}

/// Extends a wrapping 32-bit kernel counter to 64 bits.
///
/// Readings may come out of order (a datagram carries the count of the time it was queued, the socket option that of now);
/// older readings are ignored. Exact as long as fewer than 2^31 drops lie between two readings.
#[derive(Debug, Default)]
#[cfg(feature = "io")]
pub(crate) struct WrappingCount {
    last: u32,
    total: u64,
}

#[cfg(feature = "io")]
impl WrappingCount {
    /// The counter of a new socket, which begins at 0 after `total` on others.
    pub(crate) fn after(total: u64) -> WrappingCount {
        WrappingCount { last: 0, total }
    }

    /// Takes a reading and returns the total since the first counter value 0.
    pub(crate) fn observe(&mut self, reading: u32) -> u64 {
        let ahead = reading.wrapping_sub(self.last);
        if ahead < 1 << 31 {
            self.last = reading;
            self.total += u64::from(ahead);
        }
        self.total
    }
}

#[cfg(all(test, feature = "io"))]
mod tests {
    use super::*;

    // REQ: FEP-NET-009
    #[test]
    fn a_drop_counter_that_wraps_at_32_bits_keeps_counting() {
        let mut count = WrappingCount::default();
        assert_eq!(count.observe(5), 5);
        assert_eq!(count.observe(0x7fff_ffff), 0x7fff_ffff);
        assert_eq!(count.observe(0xffff_fff0), 0xffff_fff0);
        assert_eq!(count.observe(3), 0x1_0000_0003);
    }

    // REQ: FEP-NET-009
    #[test]
    fn an_older_reading_of_the_drop_counter_is_ignored() {
        let mut count = WrappingCount::default();
        count.observe(100);
        assert_eq!(count.observe(40), 100);
        assert_eq!(count.observe(101), 101);
    }

    #[test]
    fn names_and_values_of_counters_go_together() {
        let counters = LinkCounters { bytes: 7, kernel_entries: 9, ..LinkCounters::default() };
        assert_eq!(LinkCounters::NAMES.len(), counters.values().len());
        assert_eq!((LinkCounters::NAMES[0], counters.values()[0]), ("bytes", 7));
        assert_eq!(LinkCounters::NAMES.last().zip(counters.values().last()), Some((&"kernel_entries", &9)));
    }
}
