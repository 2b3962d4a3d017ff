//! A consumer of a ring: reads at its own pace, hurts nobody, keeps its place over its own death.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fep_time::Monotonic;

use crate::cursor::{self, CursorState};
use crate::descriptor::{Record, Seq};
use crate::directory::{Directory, Owner, Use};
use crate::error::BusError;
use crate::file::{self, MappedRing, StaticPage};
use crate::heartbeat;
use crate::layout::{Position, gate, state};
use crate::lock::{self, Locked};
use crate::memory::Ordering;
use crate::place::{self, RingPlace};
use crate::producer::LOCK_NAME;
use crate::reader::{self, Gap, GapCause, Ledger, Look, Payload, Reader};
use crate::spec::check_name;

/// Where an attaching consumer starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// At the oldest record that is safe to read; earlier ones are not counted as lost. The ledger starts anew.
    Oldest,
    /// At the next record to come. The ledger starts anew.
    Latest,
    /// Where the cursor file says, with its ledger; what was overwritten meanwhile is reported as a gap.
    /// As `Oldest` when no usable cursor exists.
    Cursor,
    /// At a place of one's own, in the ring file `instance` or in one whose numbers continue it; what was overwritten
    /// meanwhile is reported as a gap. The ledger starts anew. As `Oldest` when the place is not of this ring's
    /// numbering: see [`Consumer::has_continued`].
    At {
        /// Random number of the ring file in which the place was reached.
        instance: u64,
        /// The next record wanted.
        position: Position,
    },
}

/// What a consumer found. `T` is the record, or what was made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll<T = Record> {
    /// A record, read intact.
    Record(T),
    /// Nothing new.
    Empty,
    /// Records were lost; they are counted, the next poll goes on after them.
    Gap(Gap),
    /// A new producer process has taken over; its records start at `first_seq`. Reported once.
    Restarted {
        /// Number of the producer's life, growing by one.
        epoch: u64,
        /// First sequence number of this life.
        first_seq: Seq,
    },
    /// Everything has been read and the producer has stopped, or (as of the last [`Consumer::heartbeat`]) is silent.
    Closed,
    /// Everything has been read and a new ring lies under this name: call [`Consumer::reattach`].
    Recreated,
}

/// A piece of the log as it lies in memory: whole records with their headers, and fillers. For recorders.
///
/// Nothing in it may be believed before [`Consumer::confirm`] said that it stayed intact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where it starts.
    pub begin: Position,
    /// Where the stream stands after it.
    pub end: Position,
    address: *const u8,
    /// The ring file it lies in.
    instance: u64,
}

impl Span {
    /// Octets.
    pub fn len(&self) -> usize {
        (self.end.pos - self.begin.pos) as usize
    }

    /// Whether it holds nothing; never so for a span that a consumer handed out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// First octet in shared memory, to be handed to the kernel (`write`, io_uring). It may change at any moment, so
    /// it must not be read as ordinary memory; [`Consumer::copy_span`] does that properly.
    pub fn address(&self) -> *const u8 {
        self.address
    }
}

/// How long a producer's heartbeat may stand still before it counts as silent, unless set otherwise.
pub const SILENT_AFTER_NS: i64 = 1_000_000_000;

/// One consumer of one ring.
pub struct Consumer {
    reader: Reader<Arc<MappedRing>>,
    place: RingPlace,
    name: String,
    fixed_page: StaticPage,
    /// Held for its lock; written with `pwrite`.
    cursor_file: Locked,
    cursor: CursorState,
    /// Index in the gate table, when the ring's specification names us.
    gate: Option<usize>,
    /// Whether it goes on where the place it was attached with says.
    continued: bool,
    /// What the cursor file says instead of where reading stands, once [`Consumer::set_durable`] was called.
    durable: Option<(Position, Ledger)>,
    peeked: Option<Record>,
    epoch: u64,
    silent_after_ns: i64,
    silent: bool,
    recreated: bool,
}

impl Consumer {
    /// Attaches to a ring by name (`frames`, or `red/frames` where both colours have one) as `consumer`.
    ///
    /// Maps the ring read-only and opens (or makes) the consumer's cursor file, which only one process may hold.
    pub fn attach(dir: &Path, ring: &str, consumer: &str, resume: Resume) -> Result<Consumer, BusError> {
        check_name(consumer).map_err(|problem| BusError::Spec {
            ring: ring.to_owned(),
            problem: format!("the consumer's name \"{consumer}\" {problem}"),
        })?;
        let (place, directory) = place::find(dir, ring)?;
        let (cursor_file, stored) = open_cursor(&directory.enter("cursors")?, consumer)?;
        let (fixed_page, memory) = map_ring(&directory, &place)?;
        let stored = stored.unwrap_or_default();
        let previous = match resume {
            Resume::Cursor => Some(stored),
            Resume::At { instance, position } => {
                Some(CursorState { instance, next: position, ..CursorState::default() })
            }
            Resume::Oldest | Resume::Latest => None,
        };
        let (reader, continued) = match resume {
            Resume::Latest => {
                let next = reader::newest(&memory, &fixed_page.shape);
                (Reader::new(memory, fixed_page.shape, next, Ledger::default()), false)
            }
            Resume::Oldest | Resume::Cursor | Resume::At { .. } => {
                start(memory, &fixed_page, previous.as_ref())
            }
        };
        let mut consumer = Consumer {
            gate: gate_index(reader.memory(), &fixed_page, consumer),
            epoch: reader.epoch(),
            reader,
            place,
            name: consumer.to_owned(),
            fixed_page,
            cursor_file,
            cursor: stored,
            continued,
            durable: None,
            peeked: None,
            silent_after_ns: SILENT_AFTER_NS,
            silent: false,
            recreated: false,
        };
        if previous.is_none_or(|stored| stored.instance != consumer.fixed_page.instance) {
            consumer.cursor.durable_pos = consumer.reader.next().pos;
        }
        consumer.cursor.pid = u64::from(std::process::id());
        consumer.arm();
        consumer.store_cursor()?;
        Ok(consumer)
    }

    /// Reads the next record into `out`, which then holds exactly its payload.
    #[inline]
    pub fn poll(&mut self, out: &mut Vec<u8>) -> Poll {
        match self.visit(|record, payload| {
            let len = record.len as usize;
            if out.len() < len {
                out.resize(len, 0);
            }
            out.truncate(len);
            payload.copy_to(out);
        }) {
            Poll::Record((record, ())) => Poll::Record(record),
            Poll::Empty => Poll::Empty,
            Poll::Gap(gap) => Poll::Gap(gap),
            Poll::Restarted { epoch, first_seq } => Poll::Restarted { epoch, first_seq },
            Poll::Closed => Poll::Closed,
            Poll::Recreated => Poll::Recreated,
        }
    }

    /// Hands the next record's payload to `visit` where it lies, without a copy. The result is only returned when the
    /// payload was still intact afterwards; otherwise it is dropped and a gap is reported. `visit` must
    /// therefore have no effect that cannot be taken back.
    #[inline]
    pub fn visit<R>(&mut self, visit: impl FnOnce(&Record, Payload<'_>) -> R) -> Poll<(Record, R)> {
        self.peeked = None;
        match self.reader.look() {
            Look::Record(record) => {
                self.reader.prefetch_ahead(&record);
                match self.reader.read(&record, |payload| visit(&record, payload)) {
                    Some(result) => Poll::Record((record, result)),
                    None => self.after_tear(),
                }
            }
            Look::Gap(gap) => Poll::Gap(self.note_gap(gap)),
            Look::Empty => self.idle(),
        }
    }

    /// The next record's descriptor; its payload is not touched and the cursor stays. Follow with
    /// [`Consumer::skip`], [`Consumer::poll`] or [`Consumer::visit`].
    #[inline]
    pub fn peek(&mut self) -> Poll {
        match self.reader.look() {
            Look::Record(record) => {
                self.peeked = Some(record);
                Poll::Record(record)
            }
            Look::Gap(gap) => Poll::Gap(self.note_gap(gap)),
            Look::Empty => self.idle(),
        }
    }

    /// Moves past the record that [`Consumer::peek`] showed, without touching its payload: it counts as consumed. Does
    /// nothing when no record was shown, or when the cursor has left it since: a cursor never moves back.
    #[inline]
    pub fn skip(&mut self) {
        if let Some(record) = self.peeked.take() {
            let next = self.reader.next();
            if (record.seq, record.payload_before) == (next.seq, next.payload) {
                self.reader.advance(&record);
            }
        }
    }

    /// As many whole records as are there and fit `max_len` octets of log, as they lie. At least one record or filler,
    /// even when that is longer than `max_len`. The cursor stays until [`Consumer::confirm`].
    pub fn span(&mut self, max_len: usize) -> Poll<Span> {
        let mut record = match self.reader.look() {
            Look::Record(record) => record,
            Look::Gap(gap) => return Poll::Gap(self.note_gap(gap)),
            Look::Empty => return self.idle(),
        };
        let shape = *self.reader.shape();
        let begin = self.reader.next();
        let lap_end = (begin.pos | (shape.data_len - 1)).saturating_add(1);
        let mut end = begin;
        loop {
            // A filler before the record belongs to the span; when it ends the lap, it may be all of it.
            let filled = record.pos >= end.pos && record.pos - end.pos < shape.extent_len;
            if !filled {
                break;
            }
            if record.pos >= lap_end {
                if end == begin {
                    end = Position { pos: lap_end, ..begin };
                }
                break;
            }
            let after = record.end();
            if end.seq != begin.seq && after.pos - begin.pos > max_len as u64 {
                break;
            }
            end = after;
            match self.reader.descriptor(end.seq) {
                Some(next) => record = next,
                None => break,
            }
        }
        if end == begin {
            // The first record does not continue the log: only a damaged ring looks so.
            self.reader.give_up();
            return self.after_tear();
        }
        let address = self.reader.log_words(begin.pos, end.pos).as_ptr().cast();
        Poll::Record(Span { begin, end, address, instance: self.fixed_page.instance })
    }

    /// Copies a span into memory of one's own; `out` must be exactly as long. Believe it after [`Consumer::confirm`].
    /// A span of another ring file, from before a [`Consumer::reattach`], is not copied; it will not be confirmed either.
    ///
    /// # Panics
    /// When `out` has another length than the span.
    pub fn copy_span(&self, span: &Span, out: &mut [u8]) {
        assert_eq!(out.len(), span.len(), "a span is copied whole");
        if span.instance == self.fixed_page.instance {
            self.reader.copy_log(span.begin.pos, span.end.pos, out);
        }
    }

    /// Whether the span was intact until now; if so the cursor moves to its end, else a gap follows. `false` without any
    /// effect for a span that does not start at the cursor.
    pub fn confirm(&mut self, span: &Span) -> bool {
        if span.instance != self.fixed_page.instance || span.begin != self.reader.next() {
            return false;
        }
        let intact = self.reader.is_intact(span.begin.pos);
        if intact {
            self.reader.advance_to(span.end);
        } else {
            self.reader.give_up();
        }
        intact
    }

    /// Writes the cursor file (one `pwrite`): a restart resumes here, the warden counts from here.
    pub fn store_cursor(&mut self) -> Result<(), BusError> {
        self.cursor.generation = self.cursor.generation.wrapping_add(1);
        self.cursor.instance = self.fixed_page.instance;
        (self.cursor.next, self.cursor.ledger) =
            self.durable.unwrap_or((self.reader.next(), self.reader.ledger()));
        cursor::write_state(&self.cursor_file, self.cursor)
            .map_err(BusError::io(&self.cursor_path(), "write the cursor"))
    }

    fn cursor_path(&self) -> PathBuf {
        self.place.path().join("cursors").join(&self.name)
    }

    /// To be called some times a second: stores the cursor with `now` as sign of life, and looks whether the producer still
    /// gives its own and whether the ring is still the one under this name.
    pub fn heartbeat(&mut self, now: Monotonic) -> Result<(), BusError> {
        self.cursor.heartbeat = heartbeat::word(now);
        let age_ns = heartbeat::age_ns(self.reader.producer_heartbeat(), now);
        self.silent = match age_ns {
            Some(age_ns) => age_ns > self.silent_after_ns,
            // A producer that has given no sign of life yet, or died before the machine was booted: only its lock says.
            None => !self.is_producer_locked(),
        };
        if self.reader.memory().is_lost() {
            // Whoever attaches again is told why that is impossible, or finds the ring that is there now.
            self.recreated = true;
        } else if self.silent || age_ns.is_none() || self.reader.producer_state() == state::HALT {
            self.recreated = self
                .place
                .enter()
                .and_then(|directory| file::open(&directory, &self.place, Use::Read))
                .is_ok_and(|(_, fixed_page)| fixed_page.instance != self.fixed_page.instance);
        }
        self.end_eviction();
        self.store_cursor()
    }

    /// Asks to be watched again after an eviction once most of what was published is done with: also one that lost nothing
    /// in the end is over then.
    fn end_eviction(&mut self) {
        let Some(index) = self.gate else { return };
        let word = |offset| self.reader.memory().gate(index, offset).load(Ordering::Relaxed);
        // Only once for each eviction: the warden answers a wish by repeating its number.
        if word(gate::STATE) != gate::EVICTED || word(gate::ACK_GEN) != self.cursor.want_gen {
            return;
        }
        let done_with = self.durable.map_or(self.reader.next(), |(position, _)| position);
        let lag_records = self.reader.head_hint().saturating_sub(done_with.seq);
        if lag_records <= self.reader.shape().slots() / 8 {
            self.arm();
        }
    }

    /// Whether some process holds the producer's lock. What cannot be found out is no sign of life.
    fn is_producer_locked(&self) -> bool {
        self.place.enter().is_ok_and(|directory| {
            directory
                .open(LOCK_NAME, Use::Read, Owner::Trusted)
                .is_ok_and(|lock| lock::is_held(&lock).unwrap_or(false))
        })
    }

    /// After [`Poll::Recreated`]: goes on with the new ring. Its numbers continue the old ring's where that was
    /// readable; what was published between is then reported as a gap.
    pub fn reattach(&mut self) -> Result<(), BusError> {
        let (fixed_page, memory) = map_ring(&self.place.enter()?, &self.place)?;
        let old = CursorState {
            instance: self.fixed_page.instance,
            next: self.reader.next(),
            ledger: self.reader.ledger(),
            ..self.cursor
        };
        (self.reader, self.continued) = start(memory, &fixed_page, Some(&old));
        self.durable = None;
        self.gate = gate_index(self.reader.memory(), &fixed_page, &self.name);
        self.epoch = self.reader.epoch();
        self.cursor.durable_pos = self.reader.next().pos;
        self.fixed_page = fixed_page;
        self.peeked = None;
        self.silent = false;
        self.recreated = false;
        self.arm();
        self.store_cursor()
    }

    /// Stores the cursor and asks the warden not to watch it any more.
    pub fn detach(mut self) -> Result<(), BusError> {
        self.cursor.want_gen = self.cursor.want_gen.wrapping_add(self.cursor.want_gen & 1);
        self.store_cursor()
    }

    /// Everything before this log position is on stable storage; kept in the cursor file for others to see.
    pub fn set_durable_pos(&mut self, pos: u64) {
        self.cursor.durable_pos = pos;
    }

    /// From now on the cursor file says that everything before `position` is done with, and no more, however far
    /// reading has come: for consumers that must not lose what they have read and not yet put away. `ledger` is
    /// what [`Consumer::ledger`] said when reading stood there. [`Consumer::reattach`] forgets it. A place before the one
    /// set last changes nothing.
    pub fn set_durable(&mut self, position: Position, ledger: Ledger) {
        if self.durable.is_some_and(|(set, _)| position.seq < set.seq) {
            return;
        }
        self.durable = Some((position, ledger));
        self.cursor.durable_pos = position.pos;
    }

    /// Whether it goes on where [`Resume::Cursor`], [`Resume::At`] or the ring before a [`Consumer::reattach`] left
    /// off (perhaps after a gap that is yet to be reported); otherwise it has begun at the oldest record of another numbering.
    pub fn has_continued(&self) -> bool {
        self.continued
    }

    /// After how many nanoseconds without a heartbeat the producer counts as silent; [`SILENT_AFTER_NS`] at first.
    pub fn set_silent_after_ns(&mut self, silent_after_ns: i64) {
        self.silent_after_ns = silent_after_ns;
    }

    /// Where the cursor stands.
    pub fn position(&self) -> Position {
        self.reader.next()
    }

    /// What was consumed and lost so far.
    pub fn ledger(&self) -> Ledger {
        self.reader.ledger()
    }

    /// Records published and not yet accounted for, as far as the producer's hint (at most 64 records old) tells.
    pub fn lag_records(&self) -> u64 {
        self.reader.head_hint().saturating_sub(self.reader.next().seq)
    }

    /// Whether the ring's specification names this consumer, so that its cursor is watched.
    pub fn is_gated(&self) -> bool {
        self.gate.is_some()
    }

    /// What the ring carries, as its specification says.
    pub fn schema(&self) -> &str {
        &self.fixed_page.schema
    }

    /// Random number of the ring file.
    pub fn instance(&self) -> u64 {
        self.fixed_page.instance
    }

    /// When the ring file was laid out, nanoseconds since 1970 (UTC).
    pub fn created_unix_ns(&self) -> u64 {
        self.fixed_page.created_unix_ns
    }

    /// The first place ever of the ring file.
    pub fn first(&self) -> Position {
        self.fixed_page.shape.start()
    }

    /// Asks to be watched (again), with the next store of the cursor.
    fn arm(&mut self) {
        if self.gate.is_some() {
            self.cursor.want_gen = self.cursor.want_gen.wrapping_add(1) | 1;
        }
    }

    #[cold]
    fn after_tear<T>(&mut self) -> Poll<T> {
        match self.reader.look() {
            Look::Gap(gap) => Poll::Gap(self.note_gap(gap)),
            // The record after the gap is not there yet; the gap is reported together with it.
            Look::Record(_) | Look::Empty => Poll::Empty,
        }
    }

    #[cold]
    fn note_gap(&mut self, mut gap: Gap) -> Gap {
        if let Some(index) = self.gate {
            let evicted =
                self.reader.memory().gate(index, gate::STATE).load(Ordering::Relaxed) == gate::EVICTED;
            if evicted && matches!(gap.cause, GapCause::Lapped | GapCause::Torn) {
                gap.cause = GapCause::Evicted;
            }
            self.arm();
        }
        gap
    }

    /// Nothing at the cursor: is there going to be?
    fn idle<T>(&mut self) -> Poll<T> {
        if self.reader.memory().is_lost() {
            return if self.recreated { Poll::Recreated } else { Poll::Empty };
        }
        let epoch = self.reader.epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            self.silent = false;
            return Poll::Restarted { epoch, first_seq: self.reader.epoch_seq() };
        }
        if !self.recreated && !self.silent && self.reader.producer_state() != state::HALT {
            return Poll::Empty;
        }
        // What was published before the producer stopped is visible now that we have seen it stopped.
        match self.reader.look() {
            Look::Empty if self.recreated => Poll::Recreated,
            Look::Empty => Poll::Closed,
            Look::Record(_) | Look::Gap(_) => Poll::Empty,
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // Best effort: a consumer that must not repeat records stores its cursor itself.
        let _ = self.store_cursor();
    }
}

pub(crate) fn map_ring(
    directory: &Directory,
    place: &RingPlace,
) -> Result<(StaticPage, Arc<MappedRing>), BusError> {
    let (file, fixed_page) = file::open(directory, place, Use::Read)?;
    let ring = MappedRing::new(&file, &directory.path_of("ring"), &fixed_page, false, false)?;
    Ok((fixed_page, Arc::new(ring)))
}

/// A reader that goes on where `previous` stood, if this ring can be the continuation of what it read (and whether).
fn start(
    memory: Arc<MappedRing>,
    fixed_page: &StaticPage,
    previous: Option<&CursorState>,
) -> (Reader<Arc<MappedRing>>, bool) {
    let shape = fixed_page.shape;
    let newest = reader::newest(&memory, &shape);
    match previous {
        // Numbers before this ring's first: those of the ring before, which this one continues. The cursor may already
        // name this ring, when its consumer died before it had found the end of that gap.
        Some(stored) if stored.instance != 0 && stored.next.seq < shape.seq0 => {
            (Reader::after_recreation(memory, shape, stored.next, stored.ledger), true)
        }
        Some(stored) if stored.instance == fixed_page.instance && stored.next.seq <= newest.seq => {
            (Reader::new(memory, shape, stored.next, stored.ledger), true)
        }
        Some(stored) if stored.instance != 0 && stored.next.seq == shape.seq0 => {
            (Reader::after_recreation(memory, shape, stored.next, stored.ledger), true)
        }
        _ => {
            let next = reader::oldest(&memory, &shape);
            (Reader::new(memory, shape, next, Ledger::default()), false)
        }
    }
}

fn gate_index(ring: &MappedRing, fixed_page: &StaticPage, consumer: &str) -> Option<usize> {
    (0..fixed_page.gate_count).find(|index| file::gate_name(ring, *index).as_deref() == Some(consumer))
}

/// Mode of a cursor file: readable by the ring's group, hence by the warden. Positions and counts, no payload.
const CURSOR_MODE: u32 = 0o640;

fn open_cursor(cursors: &Directory, consumer: &str) -> Result<(Locked, Option<CursorState>), BusError> {
    let path = cursors.path_of(consumer);
    let read = |file: &File| cursor::read_state(file).map_err(BusError::io(&path, "read the cursor"));
    match cursors.lock(consumer, CURSOR_MODE, None)? {
        Ok(file) => {
            let stored = read(&file)?;
            if stored.is_none() {
                file.set_len(0)
                    .and_then(|()| file.set_len(cursor::CURSOR_FILE_LEN as u64))
                    .and_then(|()| cursor::write_header(&file, consumer))
                    .map_err(BusError::io(&path, "lay out the cursor"))?;
            }
            Ok((file, stored))
        }
        Err(held) => {
            let pid = read(&held)?.map_or(0, |stored| u32::try_from(stored.pid).unwrap_or(0));
            Err(BusError::Held { path, pid, role: "consumer of this name" })
        }
    }
}
