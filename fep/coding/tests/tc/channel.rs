//! A channel: what happens to bits and symbols on their way, and the books of the receivers.

use fep_coding::tc::{CltuCounters, CltuEvent, CltuStart, EndReason};

pub(crate) use crate::noise::Noise;

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
