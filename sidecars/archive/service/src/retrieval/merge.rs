//! Several rings into one stream in the order of reception; on wish, what several antennas received only once.
//!
//! Two rows are copies of one unit when session, spacecraft, channel and counters are the same, the octets are the same
//! (by their digest), they came by different rings, and their receptions are not further apart than antennas can be
//! ([`fep_catalogue::ANTENNA_SPREAD_NS`]). Different octets under the same counters are never taken for copies: both are
//! served. Of copies the one of the best quality is kept, of these the one received first.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

use fep_catalogue::ANTENNA_SPREAD_NS;

use super::Error;
use super::row::{Columns, Row};
use super::source::Source;

/// A row and the number of the source that it came from.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// The row.
    pub row: Row,
    /// Index of its source.
    pub source: usize,
    /// How many rows of its source came before it.
    nth: u64,
}

/// Order of service: by reception, then by source and place in it, so that the same rows always come in the same order.
/// Several packets may have the sequence number of the frame that they were taken out of.
type Order = (i64, usize, u64);

/// What names a unit, and its digest.
type Key = (i64, [i64; 3], Vec<i64>, i64);

struct Lane {
    source: Source,
    rows: std::vec::IntoIter<Row>,
    /// Rows taken.
    taken: u64,
}

/// Rows of several sources in one order. Blocking, as its sources are.
pub struct Merge {
    columns: Columns,
    lanes: Vec<Lane>,
    heap: BinaryHeap<Reverse<(Order, usize)>>,
    fronts: Vec<Option<Row>>,
    once: Option<Once>,
    started: bool,
    /// Sources that could not be read on, to be reported and then read on behind that.
    failed: VecDeque<(usize, Error)>,
    /// Copies that were left out.
    pub copies: u64,
}

/// Rows that a copy could still come for.
#[derive(Default)]
struct Once {
    waiting: BTreeMap<Order, (Found, Key)>,
    by_key: HashMap<Key, Order>,
    ended: bool,
}

impl Merge {
    /// Of these sources. `once` leaves copies out.
    #[must_use]
    pub fn new(columns: &Columns, sources: Vec<Source>, once: bool) -> Merge {
        // One ring holds no copies of another antenna: nothing needs to wait.
        let once = (once && sources.len() > 1).then(Once::default);
        Merge {
            columns: columns.clone(),
            fronts: vec![None; sources.len()],
            lanes: sources
                .into_iter()
                .map(|source| Lane { source, rows: Vec::new().into_iter(), taken: 0 })
                .collect(),
            heap: BinaryHeap::new(),
            once,
            started: false,
            failed: VecDeque::new(),
            copies: 0,
        }
    }

    /// The next row; `None` at the end. After an error the next call goes on behind what could not be read.
    ///
    /// # Errors
    /// Of a source.
    #[expect(clippy::should_implement_trait, reason = "as the readers of segments, whose pieces it follows")]
    pub fn next(&mut self) -> Result<Option<Found>, Error> {
        let Some(mut once) = self.once.take() else { return self.in_order() };
        let result = self.next_once(&mut once);
        self.once = Some(once);
        result
    }

    fn next_once(&mut self, once: &mut Once) -> Result<Option<Found>, Error> {
        loop {
            if let Some(entry) = once.waiting.first_entry() {
                let front = self.heap.peek().map(|Reverse(((rx, ..), _))| *rx);
                let settled = once.ended
                    || front.is_some_and(|front| front.saturating_sub(entry.key().0) > ANTENNA_SPREAD_NS);
                if settled {
                    let (order, (found, key)) = entry.remove_entry();
                    if once.by_key.get(&key) == Some(&order) {
                        once.by_key.remove(&key);
                    }
                    return Ok(Some(found));
                }
            } else if once.ended {
                return Ok(None);
            }
            match self.in_order()? {
                None => once.ended = true,
                Some(found) => self.admit(once, found),
            }
        }
    }

    fn admit(&mut self, once: &mut Once, found: Found) {
        let order = self.order(&found.row, found.source, found.nth);
        let key = self.key(&found.row);
        match once.by_key.entry(key.clone()) {
            Entry::Occupied(mut before) => {
                let (kept, _) = &once.waiting[before.get()];
                if kept.source == found.source {
                    // Twice by one antenna: the spacecraft sent it twice.
                    before.insert(order);
                } else {
                    self.copies += 1;
                    let quality = self.columns.quality;
                    // In order of reception: the one before came first, so only a better one takes its place.
                    if found.row.number(quality) <= kept.row.number(quality) {
                        return;
                    }
                    once.waiting.remove(before.get());
                    before.insert(order);
                }
            }
            Entry::Vacant(place) => {
                place.insert(order);
            }
        }
        once.waiting.insert(order, (found, key));
    }

    fn in_order(&mut self) -> Result<Option<Found>, Error> {
        if let Some((lane, error)) = self.failed.pop_front() {
            self.advance(lane);
            return Err(error);
        }
        if !self.started {
            self.started = true;
            (0..self.lanes.len()).for_each(|lane| self.advance(lane));
            if !self.failed.is_empty() {
                return self.in_order();
            }
        }
        let Some(Reverse(((.., nth), lane))) = self.heap.pop() else { return Ok(None) };
        let Some(row) = self.fronts[lane].take() else { return Ok(None) };
        self.advance(lane);
        Ok(Some(Found { row, source: lane, nth }))
    }

    /// Brings the next row of a lane to the front. What fails is reported before any other row.
    fn advance(&mut self, lane: usize) {
        let reading = &mut self.lanes[lane];
        let mut next = reading.rows.next();
        if next.is_none() {
            match reading.source.next_rows() {
                Ok(None) => {}
                Ok(Some(rows)) => {
                    reading.rows = rows.into_iter();
                    next = reading.rows.next();
                }
                Err(error) => self.failed.push_back((lane, error)),
            }
        }
        reading.taken += 1;
        let nth = reading.taken;
        self.fronts[lane] = next;
        if let Some(row) = next {
            self.heap.push(Reverse((self.order(&row, lane, nth), lane)));
        }
    }

    fn order(&self, row: &Row, source: usize, nth: u64) -> Order {
        (row.number(self.columns.rx), source, nth)
    }

    fn key(&self, row: &Row) -> Key {
        let at = &self.columns;
        let channel = [at.tfvn, at.scid, at.vcid].map(|column| row.number(column));
        let counters = at.counters.iter().map(|column| row.number(*column)).collect();
        (row.number(at.session), channel, counters, row.number(at.digest))
    }
}
