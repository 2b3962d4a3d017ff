//! Rates out of two readings of counters.

use fep_time::Monotonic;

use crate::metrics::Reading;
use fep_control::api::Rates;

/// What a role did of late.
#[derive(Debug, Default)]
pub(crate) struct RateMeter {
    at: Option<Monotonic>,
    bytes: u64,
    frames: u64,
    packets: u64,
    work_ns: u64,
    cpu_ns: u64,
    pub(crate) rates: Rates,
    pub(crate) busy_percent: f64,
    pub(crate) cpu_percent: f64,
}

impl RateMeter {
    /// Takes a reading. The first gives no rates yet.
    pub(crate) fn sample(&mut self, reading: &Reading) {
        let now = Monotonic::now();
        let elapsed_s = self.at.map_or(f64::INFINITY, |at| now.ns_since(at) as f64 / 1e9).max(1e-3);
        self.at = Some(now);
        let rate = |now: u64, last: &mut u64| {
            // A counter that went back belongs to a new page.
            let gained = now.saturating_sub(*last);
            *last = now;
            gained as f64 / elapsed_s
        };
        self.rates = Rates {
            bits_per_s: 8.0 * rate(reading.number("link.bytes"), &mut self.bytes),
            frames_per_s: rate(reading.number("chain.received"), &mut self.frames),
            packets_per_s: rate(reading.number("chain.packets"), &mut self.packets),
        };
        self.busy_percent = rate(reading.number("thread.work_ns"), &mut self.work_ns) / 1e7;
        self.cpu_percent = rate(reading.number("thread.cpu_ns"), &mut self.cpu_ns) / 1e7;
    }
}
