//! The sources of one client as one stream: fair turns, records borrowed, a change of state told before what it
//! concerns.

use fep_bus::{Colour, Position, Record};
use fep_segments::{Follow, FollowSpec, Item, Loss, LossCause, Moved, Place, SegmentError, Source, Stream};

use crate::cursor::{CursorFile, Stand};
use crate::feed::Places;
use crate::ledger::Lost;
use crate::status::SourceStatus;
use fep_feed_wire::control::{Start, Waiting};

/// Records taken from one source before the next has its turn.
const BURST: u32 = 64;

/// What comes next.
pub(crate) enum Event<'a> {
    /// Nothing now.
    Nothing,
    /// What follows from this source is live, or is no longer; or belongs to another numbering.
    State { source: u16, live: bool, place: Place },
    /// A record, and the place behind it.
    Record { source: u16, live: bool, record: Record, payload: &'a [u8], after: Place },
    /// Records that nobody has any more.
    Lost { source: u16, from_seq: u64, after: Place, reason: Lost },
}

struct OneSource {
    follow: Follow,
    /// What the client was told last.
    told: Option<(bool, u64)>,
    /// Read and not handed out yet: a change of state goes first, or the numbering waits until all is settled.
    held: Option<Held>,
    payload: Vec<u8>,
}

enum Held {
    Record(Record),
    Series(Place),
    Gap(Loss),
}

/// All sources of one client.
pub(crate) struct Sources {
    sources: Vec<OneSource>,
    turn: usize,
    burst: u32,
}

impl Sources {
    /// Opens the sources where the cursor says, or where a client without one starts; tells where that is.
    pub(crate) fn open(
        places: &Places,
        consumer: &str,
        rings: &[String],
        cursor: &CursorFile,
        start: Start,
    ) -> Result<(Sources, Vec<Stand>), SegmentError> {
        let mut sources = Vec::new();
        let mut stands = Vec::new();
        for ring in rings {
            let spec = FollowSpec {
                archive: Some(places.segments.clone()),
                bus: Some(places.rings.clone()),
                stream: stream_of(ring),
                consumer: consumer.to_owned(),
                patience: places.patience,
            };
            let stand = cursor.stand(ring);
            let start = match (stand, start) {
                (Some(stand), _) => fep_segments::Start::At(stand.place()),
                (None, Start::Oldest) => fep_segments::Start::Oldest,
                (None, Start::Live) => fep_segments::Start::Latest,
            };
            let follow = Follow::open_with(spec, Moved::Read(places.objects.clone()), start)?;
            stands.push(stand.unwrap_or_else(|| Stand::new(follow.place(), 0)));
            sources.push(OneSource { follow, told: None, held: None, payload: Vec::new() });
        }
        Ok((Sources { sources, turn: 0, burst: 0 }, stands))
    }

    /// The next event. `settled`: everything handed out has arrived, so that a numbering may begin.
    pub(crate) fn next_event(&mut self, settled: bool) -> Result<Event<'_>, SegmentError> {
        for _ in 0..self.sources.len() {
            let index = self.turn;
            if self.sources[index].read(settled)? {
                self.burst += 1;
                if self.burst >= BURST {
                    self.pass_turn();
                }
                return Ok(self.sources[index].hand_out(index as u16));
            }
            self.pass_turn();
        }
        Ok(Event::Nothing)
    }

    fn pass_turn(&mut self) {
        self.burst = 0;
        self.turn = (self.turn + 1) % self.sources.len();
    }

    /// Where the client is in each source; `confirmed` is where its cursor stands.
    pub(crate) fn places(&self, rings: &[String], confirmed: &[Stand]) -> Vec<SourceStatus> {
        let known = self.sources.iter().zip(rings).zip(confirmed);
        known
            .map(|((source, ring), confirmed)| SourceStatus {
                ring: ring.clone(),
                live: source.told.is_some_and(|(live, _)| live),
                next_seq: source.follow.place().position.seq,
                confirmed_seq: confirmed.next_seq,
                behind: source.follow.lag_records(),
                waits_for: source.follow.waits_for().map(str::to_owned),
            })
            .collect()
    }
}

impl Sources {
    /// Sources in which something is waited for, by index, and the record that comes next there.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let waits = self.sources.iter().enumerate().filter(|(_, source)| source.follow.waits_for().is_some());
        waits
            .map(|(index, source)| {
                let place = source.follow.place();
                Waiting { source: index as u16, series: place.series, from_seq: place.position.seq }
            })
            .collect()
    }
}

impl Sources {
    /// Why each source is waited for, if it is.
    pub(crate) fn waited_for(&self) -> impl Iterator<Item = Option<&str>> {
        self.sources.iter().map(|source| source.follow.waits_for())
    }
}

impl OneSource {
    /// Makes sure that something is held; `false` when there is nothing to hand out.
    fn read(&mut self, settled: bool) -> Result<bool, SegmentError> {
        if self.held.is_none() {
            match self.follow.next(&mut self.payload)? {
                Item::Empty => return Ok(false),
                Item::Record(record) => self.held = Some(Held::Record(record)),
                Item::Series(place) => self.held = Some(Held::Series(place)),
                Item::Gap(loss) => self.held = Some(Held::Gap(loss)),
            }
        }
        Ok(settled || !matches!(self.held, Some(Held::Series(_))))
    }

    /// Hands out what is held. A change of state comes first, and what is held stays held.
    fn hand_out(&mut self, source: u16) -> Event<'_> {
        let after = self.follow.place();
        let live = self.follow.source() == Source::Ring;
        match self.held.take() {
            None => Event::Nothing,
            Some(Held::Series(place)) => {
                self.told = Some((live, place.series));
                Event::State { source, live, place }
            }
            Some(Held::Gap(loss)) => {
                let reason = match loss.cause {
                    LossCause::DamagedBlock | LossCause::MissingSegment => Lost::Damaged,
                    _ => Lost::Source,
                };
                Event::Lost { source, from_seq: loss.from.seq, after, reason }
            }
            Some(Held::Record(record)) if self.told != Some((live, after.series)) => {
                self.told = Some((live, after.series));
                let position = Position { seq: record.seq, pos: record.pos, payload: record.payload_before };
                self.held = Some(Held::Record(record));
                Event::State { source, live, place: Place { series: after.series, position } }
            }
            Some(Held::Record(record)) => {
                Event::Record { source, live, record, payload: &self.payload, after }
            }
        }
    }
}

/// The stream of a ring by its name as configured: black unless it says `red/`.
fn stream_of(ring: &str) -> Stream {
    match ring.split_once('/') {
        Some(("red", name)) => Stream::new(Colour::Red, name),
        Some(("black", name)) => Stream::new(Colour::Black, name),
        _ => Stream::new(Colour::Black, ring),
    }
}
