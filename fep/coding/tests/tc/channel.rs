//! A channel: what happens to bits and symbols on their way, and the books of the receivers.

use fep_coding::tc::{CltuCounters, CltuEvent, CltuStart, EndReason};

/// A cheap generator, so that proptest shrinks what matters: the parameters.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Normal, of variance 1.
    pub(crate) fn gauss(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

pub(crate) fn bits(octets: &[u8]) -> Vec<u8> {
    octets.iter().flat_map(|octet| (0..8).map(move |i| octet >> (7 - i) & 1)).collect()
}

/// Packs bits, the last octet completed with an alternating sequence.
pub(crate) fn pack(bits: &[u8]) -> Vec<u8> {
    let bit = |i: usize| bits.get(i).copied().unwrap_or((i % 2) as u8);
    (0..bits.len().div_ceil(8)).map(|k| (0..8).fold(0, |octet, i| octet << 1 | bit(8 * k + i))).collect()
}

/// Everything a receiver said, owned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said<V> {
    Started(CltuStart),
    Frame(Vec<u8>, Vec<V>),
    Ended(EndReason, u64),
}

impl<V: Clone> Said<V> {
    pub(crate) fn of(event: CltuEvent<'_, V>) -> Said<V> {
        match event {
            CltuEvent::Started(start) => Said::Started(start),
            CltuEvent::Frame(frame) => Said::Frame(frame.octets.to_vec(), frame.verdicts.to_vec()),
            CltuEvent::Ended { reason, stream_bit } => Said::Ended(reason, stream_bit),
        }
    }
}

pub(crate) fn frames<V: Clone>(said: &[Said<V>]) -> Vec<Vec<u8>> {
    let frame = |said: &Said<V>| match said {
        Said::Frame(octets, _) => Some(octets.clone()),
        _ => None,
    };
    said.iter().filter_map(frame).collect()
}

pub(crate) fn reasons<V: Clone>(said: &[Said<V>]) -> Vec<EndReason> {
    let reason = |said: &Said<V>| match said {
        Said::Ended(reason, _) => Some(*reason),
        _ => None,
    };
    said.iter().filter_map(reason).collect()
}

pub(crate) fn assert_balanced(counters: &CltuCounters) {
    assert_eq!(
        counters.bits_in + counters.bits_shared,
        counters.bits_in_cltus + counters.bits_discarded + counters.bits_held,
        "{counters:?}"
    );
    assert!(counters.codeblocks_corrected <= counters.codeblocks);
    assert!(counters.cltus <= counters.codeblocks);
}
