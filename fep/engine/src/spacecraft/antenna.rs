//! One antenna of a spacecraft: the frames rings of its link, followed from a cursor.
//!
//! A kill or a panic loses nothing and repeats nothing. The cursor that is stored is not where reading stands, but where it
//! stood a whole wait ago: whatever was read before that has been served or dropped. The next life reads the rest again, and
//! its merge recognises what has been served already (see [`super::job`]).

use std::collections::VecDeque;
use std::path::Path;

use fep_bus::{BusError, Colour, Consumer, Ledger, Poll, Position, Record, Resume};
use fep_time::{Monotonic, Tai};

use crate::heard::Heard;
use crate::rings::frames_ring;

/// Between two looks for a ring that does not exist yet.
const ATTACH_EVERY_NS: i64 = 50_000_000;

/// An antenna as the spacecraft's thread sees it.
pub(crate) struct Antenna {
    pub(crate) link: String,
    /// Number of the link.
    pub(crate) number: u16,
    heard: Heard,
    /// Whether it was ever heard in this life.
    known: bool,
    /// Whether somebody may wait for it.
    live: bool,
    followed: Vec<Followed>,
    /// Which of the rings is read next.
    next: usize,
    attach_at: Monotonic,
    /// Records that the bus lost since the last report.
    lost_unreported: u64,
}

/// A ring of the link.
struct Followed {
    colour: Colour,
    consumer: Option<Consumer>,
    /// Where reading stood, and when; the oldest first.
    marks: VecDeque<(Monotonic, Position, Ledger)>,
    /// Records lost in this life with consumers before this one, and what the cursor of this one brought along.
    lost_before: u64,
    lost_inherited: u64,
}

impl Followed {
    /// Records lost in this life.
    fn lost(&self) -> u64 {
        let with_this = self.consumer.as_ref().map_or(0, |consumer| consumer.ledger().lost_records);
        self.lost_before + with_this.saturating_sub(self.lost_inherited)
    }
}

/// What came of a look at the rings of an antenna.
pub(crate) enum Look {
    /// A frame record, its payload in the buffer.
    Record(Record, Colour),
    /// Everything has been read.
    Empty,
}

impl Antenna {
    pub(crate) fn new(link: &str, number: u16, heard: Heard, red: bool) -> Antenna {
        let colours = [Colour::Black, Colour::Red].into_iter().take(1 + usize::from(red));
        Antenna {
            link: link.to_owned(),
            number,
            heard,
            known: false,
            // The merge believes so of everybody at first.
            live: true,
            followed: colours
                .map(|colour| Followed {
                    colour,
                    consumer: None,
                    marks: VecDeque::new(),
                    lost_before: 0,
                    lost_inherited: 0,
                })
                .collect(),
            next: 0,
            attach_at: Monotonic::PAST,
            lost_unreported: 0,
        }
    }

    /// Whether the link says that it hears the spacecraft. To be read before the rings, so that what it published before it
    /// fell silent is read.
    #[inline]
    pub(crate) fn is_heard(&self) -> bool {
        self.heard.get()
    }

    /// Whether it is one that the merge waits for: it is heard, or was and has not been read to the end.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Takes into account whether it was heard before its rings were looked at, and whether all of them has been read.
    /// `true` when it has gone just now. One that was never heard in this life is given time, because links need some to
    /// connect again after a restart: `patient` says whether it still has.
    pub(crate) fn settle(&mut self, heard: bool, drained: bool, patient: bool) -> bool {
        self.known |= heard;
        let gone = self.live && !heard && drained && (self.known || !patient);
        self.live = heard || (self.live && !gone);
        gone
    }

    /// Attaches to rings that exist by now.
    ///
    /// # Errors
    /// A ring that exists and cannot be followed: another process holds the cursor, or it is no ring.
    pub(crate) fn attach(&mut self, dir: &Path, reader: &str, now: Monotonic) -> Result<(), BusError> {
        if now < self.attach_at {
            return Ok(());
        }
        self.attach_at = now.plus_ns(ATTACH_EVERY_NS);
        for followed in self.followed.iter_mut().filter(|followed| followed.consumer.is_none()) {
            let ring = frames_ring(&self.link, followed.colour);
            match Consumer::attach(dir, &ring, reader, Resume::Cursor) {
                Ok(mut consumer) => {
                    consumer.set_durable(consumer.position(), consumer.ledger());
                    followed.lost_inherited = consumer.ledger().lost_records;
                    followed.consumer = Some(consumer);
                }
                // Its link has not been opened yet.
                Err(BusError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next frame of any of its rings.
    pub(crate) fn poll(&mut self, octets: &mut Vec<u8>) -> Look {
        let rings = self.followed.len();
        for turn in 0..rings {
            // By turns, so that a ring that is never empty does not keep the other from being read.
            let index = (self.next + turn) % rings;
            let followed = &mut self.followed[index];
            let Some(consumer) = &mut followed.consumer else { continue };
            loop {
                match consumer.poll(octets) {
                    Poll::Record(record) => {
                        self.next = index + 1;
                        return Look::Record(record, followed.colour);
                    }
                    Poll::Gap(gap) => self.lost_unreported += gap.records,
                    Poll::Restarted { .. } => {}
                    Poll::Recreated => {
                        followed.marks.clear();
                        if consumer.reattach().is_err() {
                            // Deleted in between: attached again when it exists.
                            followed.lost_before = followed.lost();
                            followed.consumer = None;
                            break;
                        }
                        consumer.set_durable(consumer.position(), consumer.ledger());
                    }
                    Poll::Empty | Poll::Closed => break,
                }
            }
        }
        Look::Empty
    }

    /// When the oldest frame was received that its rings hold and it has not read; `None` when it has read all.
    pub(crate) fn oldest_unread(&mut self) -> Option<Tai> {
        let mut oldest = None;
        for followed in &mut self.followed {
            let Some(consumer) = &mut followed.consumer else { continue };
            let received = loop {
                match consumer.peek() {
                    Poll::Record(record) => break Some(record.tag.received),
                    Poll::Gap(gap) => self.lost_unreported += gap.records,
                    Poll::Restarted { .. } => {}
                    // Whether it was made anew is seen when it is read.
                    Poll::Empty | Poll::Closed | Poll::Recreated => break None,
                }
            };
            oldest = oldest.into_iter().chain(received).min();
        }
        oldest
    }

    /// Some times a second: remembers where reading stands, and stores as cursor where it stood `settled_ns` ago, by the
    /// time of the merge.
    ///
    /// # Errors
    /// The cursor cannot be written.
    pub(crate) fn store_cursor(
        &mut self,
        now: Monotonic,
        merge_time: Monotonic,
        settled_ns: i64,
    ) -> Result<(), BusError> {
        for followed in &mut self.followed {
            let Some(consumer) = &mut followed.consumer else { continue };
            followed.marks.push_back((merge_time, consumer.position(), consumer.ledger()));
            while let Some((at, position, ledger)) = followed.marks.front().copied() {
                if merge_time.ns_since(at) < settled_ns {
                    break;
                }
                consumer.set_durable(position, ledger);
                followed.marks.pop_front();
            }
            consumer.heartbeat(now)?;
        }
        Ok(())
    }

    /// Nothing of what was read is held any more: the cursor is where reading stands.
    pub(crate) fn settle_cursor(&mut self) {
        for followed in &mut self.followed {
            if let Some(consumer) = &mut followed.consumer {
                consumer.set_durable(consumer.position(), consumer.ledger());
                // What cannot be stored is read and recognised again.
                let _ = consumer.store_cursor();
            }
        }
    }

    /// Records that its rings lost before they were read, in this life.
    pub(crate) fn lost(&self) -> u64 {
        self.followed.iter().map(Followed::lost).sum()
    }

    /// Records lost since this was last asked.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost_unreported)
    }
}
