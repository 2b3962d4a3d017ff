//! One client over UDP: a record a datagram, at a pace.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::pipe::{Pipe, PipeError};
use crate::status::{ClientState, FeedState};
use fep_feed_wire::spec::Form;

/// Longest sleep while the sources have nothing.
const IDLE_MAX: Duration = Duration::from_millis(5);

/// How late the pace may run before what was missed is given up: a burst of so long at most follows a stall.
const CATCH_UP: Duration = Duration::from_millis(20);

/// A way that failed works again when it has not failed for so long: what comes and goes is one event.
const WELL_AFTER: Duration = Duration::from_secs(5);

/// Where datagrams go.
pub(crate) struct Target<'a> {
    pub(crate) socket: &'a UdpSocket,
    pub(crate) to: SocketAddr,
    pub(crate) pace_bps: Option<u64>,
    pub(crate) form: Form,
    pub(crate) alive_every: Duration,
    pub(crate) goes_on: &'a dyn Fn() -> bool,
}

/// Sends until told to end.
///
/// # Errors
/// What makes going on pointless: cursor or sources.
pub(crate) fn serve(
    target: &Target<'_>,
    pipe: &mut Pipe,
    client: &ClientState,
    feed: &FeedState,
    greeting: Vec<u8>,
) -> Result<(), PipeError> {
    let mut datagram = greeting;
    let mut pace = Pace::new(target.pace_bps, Instant::now());
    let mut idle = Duration::from_micros(250);
    let mut spoke = Instant::now();
    let mut octets = 0;
    let mut failed_at: Option<Instant> = None;
    while (target.goes_on)() {
        pipe.attend(client)?;
        // The pace first: a record that was taken is sent at once, so that an end finds none between the two.
        let now = Instant::now();
        let due = pace.due(now);
        if due > now {
            // Pauses are short pieces, so that an end is heard of soon even at a few bits a second.
            std::thread::sleep((due - now).min(Duration::from_millis(50)));
            continue;
        }
        if datagram.is_empty() && !pipe.take(&mut datagram)? {
            if target.form == Form::Framed && spoke.elapsed() > target.alive_every {
                pipe.alive(&mut datagram);
            } else {
                std::thread::sleep(idle);
                idle = (idle * 2).min(IDLE_MAX);
                continue;
            }
        }
        if datagram.is_empty() {
            continue;
        }
        idle = Duration::from_micros(250);
        match target.socket.send_to(&datagram, target.to) {
            Ok(_) if failed_at.is_some_and(|at| at.elapsed() <= WELL_AFTER) => {}
            Ok(_) => {
                failed_at = None;
                feed.set_problem(None);
            }
            // No way there at the moment, or no room: what waits is not lost.
            Err(error) if is_passing(&error) => {
                failed_at = Some(Instant::now());
                feed.set_problem(Some(format!("{}: {error}", target.to)));
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            Err(error) => {
                failed_at = Some(Instant::now());
                feed.set_problem(Some(format!("{}: a datagram was refused: {error}", target.to)));
                pipe.delivery.refused();
            }
        }
        pace.sent(datagram.len(), now);
        spoke = now;
        octets += datagram.len() as u64;
        pipe.delivery.arrived(octets);
        datagram.clear();
    }
    // A record that found no way out before the end stays unconfirmed and comes again.
    Ok(())
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{
        HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable, OutOfMemory, WouldBlock,
    };
    let kinds = [HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable, OutOfMemory, WouldBlock];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Spaces datagrams so that no more than so many bits a second go out, exact on average.
struct Pace {
    bps: Option<u64>,
    due: Instant,
}

impl Pace {
    fn new(bps: Option<u64>, now: Instant) -> Pace {
        Pace { bps, due: now }
    }

    fn due(&self, now: Instant) -> Instant {
        if self.bps.is_some() { self.due } else { now }
    }

    fn sent(&mut self, octets: usize, now: Instant) {
        if let Some(bps) = self.bps {
            let took = Duration::from_nanos((octets as u64 * 8).saturating_mul(1_000_000_000) / bps);
            let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
            self.due = self.due.max(earliest) + took;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_second_carries_more_than_the_pace_and_one_burst(
            bps in 1_000_u64..1_000_000_000, sizes in prop::collection::vec(1_usize..9000, 1..300), stall_ms in 0_u64..2000,
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut pace = Pace::new(Some(bps), now);
            let mut sent: Vec<(Instant, u64)> = Vec::new();
            for (index, size) in sizes.iter().enumerate() {
                if index == sizes.len() / 2 {
                    now += Duration::from_millis(stall_ms);
                }
                now = now.max(pace.due(now));
                pace.sent(*size, now);
                sent.push((now, *size as u64 * 8));
            }
            for (index, (from, _)) in sent.iter().enumerate() {
                let second = sent[index..].iter().take_while(|(at, _)| *at <= *from + Duration::from_secs(1));
                let bits: Vec<u64> = second.map(|(_, bits)| *bits).collect();
                // The last datagram of the second begins in it; a burst after a stall is bounded.
                let most = bps + bps / 50 + 2 * bits.iter().max().unwrap_or(&0);
                prop_assert!(bits.iter().sum::<u64>() <= most, "{} > {most}", bits.iter().sum::<u64>());
            }
        }
    }
}
