//! The queue of what is to be sent: where each unit lies in the transmit memory, and how far it has been sent.
//!
//! Arithmetic only; the memory itself belongs to [`crate::ring::Ring`]. Units lie in it one behind the other, each in one piece, so
//! that one request can send many; a unit that does not fit behind the last one starts at the front again. The place of a unit is
//! free only when the whole unit has been sent, so nothing the kernel may still read is overwritten.

use std::collections::VecDeque;
use std::ops::Range;

use crate::event::{TransmitRefused, TransmitRoom};

/// One unit that waits, is being sent, or has been sent and not yet reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outbound {
    /// `None` for what a protocol sends for itself.
    pub(crate) token: Option<u64>,
    pub(crate) len: usize,
    /// Octets that the kernel took.
    pub(crate) sent: usize,
    start: usize,
    /// It lies at the front though its predecessor does not.
    new_lap: bool,
    done: bool,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Outgoing {
    units: VecDeque<Outbound>,
    capacity: usize,
    units_max: usize,
    /// Units are sent one by one, and an empty one as well.
    datagrams: bool,
    /// The youngest unit lies in front of the oldest.
    wrapped: bool,
    /// Octets of the request that is with the kernel.
    in_flight: Option<usize>,
}

impl Outgoing {
    pub(crate) fn new(capacity: usize, units_max: usize, datagrams: bool) -> Outgoing {
        Outgoing { units: VecDeque::new(), capacity, units_max, datagrams, wrapped: false, in_flight: None }
    }

    /// What would be taken now.
    pub(crate) fn room(&self) -> TransmitRoom {
        let units = self.units_max - self.units.len();
        let octets = if units == 0 { 0 } else { self.gaps().0.max(self.gaps().1) };
        TransmitRoom { octets, units }
    }

    /// Free octets behind the youngest unit, and at the front.
    fn gaps(&self) -> (usize, usize) {
        let (Some(oldest), Some(youngest)) = (self.units.front(), self.units.back()) else {
            return (self.capacity, 0);
        };
        let end = youngest.start + youngest.len;
        if self.wrapped { (oldest.start - end, 0) } else { (self.capacity - end, oldest.start) }
    }

    /// Finds a place for a unit; returns where it starts.
    ///
    /// # Errors
    /// There is none now, or there never will be.
    pub(crate) fn place(&mut self, len: usize, token: Option<u64>) -> Result<usize, TransmitRefused> {
        if len > self.capacity {
            return Err(TransmitRefused::TooLong { octets: len, max: self.capacity });
        }
        let (behind, front) = self.gaps();
        if self.units.len() == self.units_max || len > behind.max(front) {
            return Err(TransmitRefused::Full { room: self.room() });
        }
        let new_lap = len > behind;
        let start = match self.units.back() {
            Some(youngest) if !new_lap => youngest.start + youngest.len,
            _ => 0,
        };
        self.wrapped |= new_lap;
        self.units.push_back(Outbound { token, len, sent: 0, start, new_lap, done: false });
        Ok(start)
    }

    /// The octets that the next request shall send, and where they lie; `None` while one is in flight or nothing waits.
    pub(crate) fn next(&mut self) -> Option<Range<usize>> {
        if self.in_flight.is_some() {
            return None;
        }
        self.pass_empty_units();
        let mut waiting = self.units.iter().skip_while(|unit| unit.done);
        let first = waiting.next()?;
        let start = first.start + first.sent;
        let mut end = first.start + first.len;
        if !self.datagrams {
            for unit in waiting.take_while(|unit| !unit.new_lap) {
                end = unit.start + unit.len;
            }
        }
        Some(start..end)
    }

    /// An empty unit of a stream is sent as soon as it is its turn.
    fn pass_empty_units(&mut self) {
        if self.datagrams {
            return;
        }
        for unit in self.units.iter_mut().skip_while(|unit| unit.done) {
            if unit.sent < unit.len {
                break;
            }
            unit.done = true;
        }
    }

    /// A request for so many octets, which [`Outgoing::next`] named, is with the kernel.
    pub(crate) fn started(&mut self, octets: usize) {
        assert!(self.in_flight.is_none(), "one request at a time sends");
        self.in_flight = Some(octets);
    }

    /// The request has ended and the kernel took so many of its octets.
    pub(crate) fn progressed(&mut self, taken: usize) {
        let asked = self.in_flight.take();
        assert!(asked.is_some_and(|asked| taken <= asked), "{taken} octets taken of {asked:?}");
        let mut rest = taken;
        for unit in self.units.iter_mut().skip_while(|unit| unit.done) {
            let part = rest.min(unit.len - unit.sent);
            unit.sent += part;
            rest -= part;
            unit.done = unit.sent == unit.len;
            if !unit.done || self.datagrams {
                break;
            }
        }
    }

    /// The oldest unit, if it has been sent: to be reported.
    pub(crate) fn pop_done(&mut self) -> Option<Outbound> {
        if self.units.front()?.done { self.pop() } else { None }
    }

    /// Whether [`Outgoing::pop_done`] has something.
    pub(crate) fn has_done(&self) -> bool {
        self.units.front().is_some_and(|unit| unit.done)
    }

    /// The oldest unit, which is given up: its place is free from now on, so no request may be in flight.
    pub(crate) fn pop(&mut self) -> Option<Outbound> {
        let unit = self.units.pop_front()?;
        if self.units.front().is_none_or(|next| next.new_lap) {
            self.wrapped = false;
        }
        Some(unit)
    }

    /// Forgets the request: nobody will learn what became of it. Returns how many octets are in doubt.
    pub(crate) fn abandon(&mut self) -> usize {
        self.in_flight.take().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Place(usize),
        Send,
        Take(usize),
        Report,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0usize..40).prop_map(Step::Place),
            3 => Just(Step::Send),
            3 => (0usize..60).prop_map(Step::Take),
            2 => Just(Step::Report),
        ]
    }

    proptest! {
        // REQ: FEP-NET-101
        #[test]
        fn whatever_is_placed_is_sent_once_in_order_and_never_overwritten_before(
            steps in prop::collection::vec(step(), 1..300),
            capacity in 40usize..120,
            units_max in 1usize..8,
            datagrams: bool,
        ) {
            let mut queue = Outgoing::new(capacity, units_max, datagrams);
            let mut memory = vec![0u8; capacity];
            let (mut placed, mut sent) = (Vec::new(), Vec::new());
            let mut reported = Vec::new();
            let mut flying: Option<(Range<usize>, Vec<u8>)> = None;
            let (mut token, mut octet) = (0u64, 0u8);
            for step in steps {
                match step {
                    Step::Place(len) => {
                        let room = queue.room();
                        match queue.place(len, Some(token)) {
                            Ok(start) => {
                                prop_assert!(len <= room.octets && room.units > 0);
                                for place in &mut memory[start..start + len] {
                                    *place = octet;
                                    placed.push(octet);
                                    octet = octet.wrapping_add(1);
                                }
                                token += 1;
                            }
                            Err(TransmitRefused::Full { room: told }) => {
                                prop_assert_eq!(told, room);
                                prop_assert!(room.units == 0 || len > room.octets);
                            }
                            Err(other) => prop_assert!(false, "{:?}", other),
                        }
                    }
                    Step::Send => {
                        if let Some(range) = queue.next() {
                            prop_assert!(flying.is_none());
                            prop_assert!(datagrams || !range.is_empty());
                            queue.started(range.len());
                            flying = Some((range.clone(), memory[range].to_vec()));
                        }
                    }
                    Step::Take(most) => {
                        if let Some((range, before)) = flying.take() {
                            prop_assert_eq!(&memory[range.clone()], &before[..], "overwritten in flight");
                            let taken = if datagrams { range.len() } else { most.min(range.len()) };
                            sent.extend_from_slice(&before[..taken]);
                            queue.progressed(taken);
                        }
                    }
                    Step::Report => while let Some(unit) = queue.pop_done() {
                        prop_assert_eq!(unit.sent, unit.len);
                        reported.push(unit.token.unwrap());
                    },
                }
                prop_assert!(placed.starts_with(&sent));
            }
            // What is left fails, and no token is lost or doubled.
            queue.abandon();
            while let Some(unit) = queue.pop() {
                reported.push(unit.token.unwrap());
            }
            prop_assert_eq!(reported, (0..token).collect::<Vec<_>>());
            prop_assert_eq!(queue.room().octets, capacity);
        }
    }

    // REQ: FEP-NET-102
    #[test]
    fn a_full_queue_refuses_and_says_how_much_room_there_is() {
        let mut queue = Outgoing::new(100, 3, false);
        assert_eq!(queue.place(101, None), Err(TransmitRefused::TooLong { octets: 101, max: 100 }));
        assert_eq!(queue.place(60, Some(1)), Ok(0));
        let room = TransmitRoom { octets: 40, units: 2 };
        assert_eq!(queue.place(41, Some(2)), Err(TransmitRefused::Full { room }));
        assert_eq!((queue.place(0, Some(2)), queue.place(40, Some(3))), (Ok(60), Ok(60)));
        assert_eq!(queue.room(), TransmitRoom { octets: 0, units: 0 });
        let range = queue.next().unwrap();
        assert_eq!(range, 0..100);
        queue.started(range.len());
        queue.progressed(60);
        assert_eq!(queue.pop_done().unwrap().token, Some(1));
        assert_eq!(queue.pop_done().unwrap().token, Some(2), "the turn of the empty unit has come");
        assert_eq!(queue.pop_done(), None);
        assert_eq!(queue.next(), Some(60..100));
        assert_eq!(queue.room(), TransmitRoom { octets: 60, units: 2 });
    }
}
