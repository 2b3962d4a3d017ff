//! Units with their length in front.

use fep_time::{Monotonic, Tai};

use super::{Input, Protocol, ProtocolCounters, ProtocolFault, Transmit, Unit};
use crate::event::{TransmitRefused, TransmitRoom};
use crate::spec::{Endian, LengthOf, LengthPrefixedSpec};

const NS_PER_MS: i64 = 1_000_000;

/// The machine of `kind = "length_prefixed"`: each unit is a length of 2 or 4 octets and its payload; an empty unit is a
/// keep-alive. Holds at most one unit that is being received and one that is being sent.
#[derive(Debug)]
pub struct LengthPrefixed {
    spec: LengthPrefixedSpec,
    header_len: usize,
    connected: bool,
    /// The beginning of a unit that was cut, from its length on; or the unit delivered last (`delivered`).
    held: Vec<u8>,
    delivered: bool,
    /// When the first octet of `held` arrived.
    held_received: Tai,
    last_received: Monotonic,
    last_sent: Monotonic,
    /// A unit with its length: waiting to leave while it has a token, else what left last.
    outgoing: Vec<u8>,
    outgoing_token: Option<u64>,
    /// Left when its connection ended.
    failed: Option<u64>,
    counters: ProtocolCounters,
}

impl LengthPrefixed {
    /// A machine without a connection. `spec` has been validated.
    pub fn new(spec: &LengthPrefixedSpec) -> LengthPrefixed {
        LengthPrefixed {
            spec: spec.clone(),
            header_len: usize::from(spec.length_octets),
            connected: false,
            held: Vec::new(),
            delivered: false,
            held_received: Tai::EPOCH,
            last_received: Monotonic::PAST,
            last_sent: Monotonic::PAST,
            outgoing: Vec::new(),
            outgoing_token: None,
            failed: None,
            counters: ProtocolCounters::default(),
        }
    }

    /// What the length field counts beside the payload.
    fn counted(&self) -> u32 {
        match self.spec.length_of {
            LengthOf::Payload => 0,
            LengthOf::Whole => u32::from(self.spec.length_octets),
        }
    }

    /// Length of the payload that a length field announces. `header` has `header_len` octets.
    fn payload_len(&self, header: &[u8]) -> Result<usize, ProtocolFault> {
        let fold = |length: u32, octet: &u8| (length << 8) | u32::from(*octet);
        let length = match self.spec.endian {
            Endian::Big => header.iter().fold(0, fold),
            Endian::Little => header.iter().rev().fold(0, fold),
        };
        let (min, max) = (self.counted(), self.counted() + self.spec.max_unit_octets);
        if !(min..=max).contains(&length) {
            return Err(ProtocolFault::BadLength { length, min, max });
        }
        Ok((length - min) as usize)
    }

    /// Appends the length field of a payload.
    fn put_length(spec: &LengthPrefixedSpec, length: u32, out: &mut Vec<u8>) {
        let octets = usize::from(spec.length_octets);
        match spec.endian {
            Endian::Big => out.extend_from_slice(&length.to_be_bytes()[4 - octets..]),
            Endian::Little => out.extend_from_slice(&length.to_le_bytes()[..octets]),
        }
    }

    fn fault(&mut self, fault: ProtocolFault) -> ProtocolFault {
        self.counters.faults += 1;
        fault
    }

    fn count(&mut self, payload_len: usize) {
        self.counters.units += 1;
        self.counters.unit_octets += payload_len as u64;
    }

    /// When a running time-out of `ms` that began at `from` ends.
    fn due(&self, ms: u32, from: Monotonic) -> Monotonic {
        if ms == 0 || !self.connected {
            return Monotonic::NEVER;
        }
        from.plus_ns(i64::from(ms) * NS_PER_MS)
    }

    fn keepalive_due(&self) -> Monotonic {
        self.due(self.spec.keepalive_ms, self.last_sent)
    }

    fn silence_due(&self) -> Monotonic {
        self.due(self.spec.idle_timeout_ms, self.last_received)
    }
}

impl Protocol for LengthPrefixed {
    fn handle_connected(&mut self, now: Monotonic) {
        self.connected = true;
        (self.last_received, self.last_sent) = (now, now);
    }

    fn handle_disconnected(&mut self, _now: Monotonic) {
        self.connected = false;
        if !self.delivered {
            self.counters.discarded_octets += self.held.len() as u64;
        }
        self.held.clear();
        self.delivered = false;
        self.outgoing.clear();
        self.failed = self.outgoing_token.take();
    }

    fn handle_input<'s, 'i: 's>(
        &'s mut self,
        now: Monotonic,
        input: &mut Input<'i>,
    ) -> Result<Option<Unit<'s>>, ProtocolFault> {
        if self.delivered {
            self.held.clear();
            self.delivered = false;
        }
        if !input.octets.is_empty() {
            self.last_received = now;
        }
        loop {
            let held = self.held.len();
            if held == 0 {
                if input.octets.is_empty() {
                    return Ok(None);
                }
                if let Some((header, rest)) = input.octets.split_at_checked(self.header_len) {
                    let len = self.payload_len(header).map_err(|fault| self.fault(fault))?;
                    if let Some((payload, rest)) = rest.split_at_checked(len) {
                        input.octets = rest;
                        if payload.is_empty() {
                            self.counters.keepalives_received += 1;
                            continue;
                        }
                        self.count(len);
                        return Ok(Some(Unit { octets: payload, received: input.received }));
                    }
                }
                self.held_received = input.received;
            }
            // The unit is cut. First its length is completed, then the rest of it.
            let wanted = match self.held.get(..self.header_len) {
                None => self.header_len,
                Some(header) => {
                    self.header_len + self.payload_len(header).map_err(|fault| self.fault(fault))?
                }
            };
            let (part, rest) = input.octets.split_at(input.octets.len().min(wanted - held));
            self.held.extend_from_slice(part);
            input.octets = rest;
            if self.held.len() < wanted {
                return Ok(None);
            }
            if wanted > self.header_len {
                self.delivered = true;
                self.count(wanted - self.header_len);
                return Ok(Some(Unit {
                    octets: &self.held[self.header_len..],
                    received: self.held_received,
                }));
            }
            if self.payload_len(&self.held).map_err(|fault| self.fault(fault))? == 0 {
                self.counters.keepalives_received += 1;
                self.held.clear();
            }
        }
    }

    fn handle_transmit(&mut self, _now: Monotonic, unit: &[u8], token: u64) -> Result<(), TransmitRefused> {
        let max = self.spec.max_unit_octets as usize;
        if unit.is_empty() {
            return Err(TransmitRefused::Empty);
        }
        if unit.len() > max {
            return Err(TransmitRefused::TooLong { octets: unit.len(), max });
        }
        if !self.connected {
            return Err(TransmitRefused::NotConnected);
        }
        if self.outgoing_token.is_some() {
            return Err(TransmitRefused::Full { room: TransmitRoom::default() });
        }
        self.outgoing.clear();
        Self::put_length(&self.spec, unit.len() as u32 + self.counted(), &mut self.outgoing);
        self.outgoing.extend_from_slice(unit);
        self.outgoing_token = Some(token);
        Ok(())
    }

    fn poll_transmit(&mut self, now: Monotonic, room: usize) -> Option<Transmit<'_>> {
        if self.outgoing_token.is_none() {
            self.outgoing.clear();
            if now < self.keepalive_due() || room < self.header_len {
                return None;
            }
            Self::put_length(&self.spec, self.counted(), &mut self.outgoing);
            self.counters.keepalives_sent += 1;
        } else if room < self.outgoing.len() {
            return None;
        }
        self.last_sent = now;
        Some(Transmit { octets: &self.outgoing, token: self.outgoing_token.take() })
    }

    fn poll_failed(&mut self) -> Option<u64> {
        self.failed.take()
    }

    fn poll_timeout(&self) -> Monotonic {
        self.keepalive_due().min(self.silence_due())
    }

    fn handle_timeout(&mut self, now: Monotonic) -> Result<(), ProtocolFault> {
        if now < self.silence_due() {
            return Ok(());
        }
        Err(self.fault(ProtocolFault::Silent { idle_timeout_ms: self.spec.idle_timeout_ms }))
    }

    fn counters(&self) -> ProtocolCounters {
        self.counters
    }
}
