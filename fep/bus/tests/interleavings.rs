//! Every order of a consumer's calls, against a model that knows what was published: the cursor never moves back, every
//! record is accounted for once, and `published = consumed + lost` holds after every call.

use fep_bus::{Consumer, Poll, Position, Producer, Resume, RingSpec, Span, Tag, Warden, WardenSpec};
use fep_time::Monotonic;
use proptest::prelude::*;
use tempfile::TempDir;

#[derive(Debug, Clone)]
enum Call {
    /// So many records, of lengths that follow from their numbers.
    Publish(u16),
    Poll,
    Visit,
    Peek,
    Skip,
    /// Keeps the span for a later `Confirm`.
    Span(u16),
    /// Confirms a span taken earlier, perhaps long ago, perhaps twice.
    Confirm(prop::sample::Index),
    /// Says that reading is done with what an earlier place says.
    SetDurable(prop::sample::Index),
    Heartbeat(i64),
    StoreCursor,
    Scan(i64),
    /// The consumer's process ends and begins anew at its cursor.
    Restart,
    /// The producer lays the ring out anew, with another number of descriptors; the consumer follows.
    Recreate(bool),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        4 => prop_oneof![4 => 0..12_u16, 1 => 12..300_u16].prop_map(Call::Publish),
        4 => Just(Call::Poll),
        2 => Just(Call::Visit),
        6 => Just(Call::Peek),
        6 => Just(Call::Skip),
        4 => (0..4096_u16).prop_map(Call::Span),
        6 => any::<prop::sample::Index>().prop_map(Call::Confirm),
        1 => any::<prop::sample::Index>().prop_map(Call::SetDurable),
        1 => any::<i64>().prop_map(Call::Heartbeat),
        1 => Just(Call::StoreCursor),
        1 => any::<i64>().prop_map(Call::Scan),
        1 => Just(Call::Restart),
        1 => any::<bool>().prop_map(Call::Recreate),
    ];
    prop::collection::vec(call, 0..120)
}

fn spec(large: bool) -> RingSpec {
    RingSpec {
        desc_log2: if large { 6 } else { 5 },
        data_len: 16 << 10,
        extent_len: 4 << 10,
        payload_max: 1000,
        gates: vec!["reader".to_owned()],
        prefault: false,
        ..RingSpec::new("frames", "test.v1")
    }
}

/// Many short records, so that descriptors are lapped before octets, and some long ones, for the opposite.
fn payload_len(seq: u64) -> u64 {
    if (seq / 40).is_multiple_of(2) { seq % 7 } else { 300 + seq * 37 % 700 }
}

fn octets_before(seq: u64) -> u64 {
    (1..seq).map(payload_len).sum()
}

struct World {
    dir: TempDir,
    producer: Option<Producer>,
    warden: Warden,
    consumer: Option<Consumer>,
    large: bool,
    spans: Vec<Span>,
    places: Vec<(Position, fep_bus::Ledger)>,
    /// The record that the last peek showed, if nothing has moved the cursor since.
    shown: Option<u64>,
}

impl World {
    fn new() -> World {
        let dir = TempDir::new().unwrap();
        let producer = Producer::create_or_attach(dir.path(), &spec(false)).unwrap();
        let warden = Warden::open(dir.path(), "frames", WardenSpec::default()).unwrap();
        let consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
        World {
            dir,
            producer: Some(producer),
            warden,
            consumer: Some(consumer),
            large: false,
            spans: Vec::new(),
            places: Vec::new(),
            shown: None,
        }
    }

    fn consumer(&mut self) -> &mut Consumer {
        self.consumer.as_mut().unwrap()
    }

    /// Does what is called; says how many records it must have consumed, if that is known.
    fn call(&mut self, call: &Call) -> Result<Option<u64>, TestCaseError> {
        let before = self.consumer().position();
        let shown = self.shown.take();
        let consumed = match call {
            Call::Publish(count) => {
                let producer = self.producer.as_mut().unwrap();
                for _ in 0..*count {
                    let seq = producer.head().seq;
                    let payload = vec![seq as u8; payload_len(seq) as usize];
                    producer.publish(Tag { words: [seq, 0], ..Tag::default() }, &payload).unwrap();
                }
                self.shown = shown;
                Some(0)
            }
            Call::Poll => {
                let mut out = Vec::new();
                match self.consumer().poll(&mut out) {
                    Poll::Record(record) => {
                        prop_assert_eq!((record.seq, record.tag.words[0]), (before.seq, before.seq));
                        prop_assert_eq!(out, vec![record.seq as u8; payload_len(record.seq) as usize]);
                        Some(1)
                    }
                    _ => Some(0),
                }
            }
            Call::Visit => match self.consumer().visit(|record, payload| (record.seq, payload.len())) {
                Poll::Record((record, visited)) => {
                    prop_assert_eq!(visited, (before.seq, payload_len(before.seq) as usize));
                    prop_assert_eq!(record.seq, before.seq);
                    Some(1)
                }
                _ => Some(0),
            },
            Call::Peek => {
                if let Poll::Record(record) = self.consumer().peek() {
                    prop_assert_eq!(record.seq, before.seq);
                    self.shown = Some(record.seq);
                } else {
                    // What was shown before may be skipped still, where it lies at the cursor.
                    self.shown = shown;
                }
                Some(0)
            }
            Call::Skip => {
                self.consumer().skip();
                Some(u64::from(shown == Some(before.seq)))
            }
            Call::Span(max_len) => {
                if let Poll::Record(span) = self.consumer().span(usize::from(*max_len)) {
                    prop_assert_eq!(span.begin, before);
                    let mut out = vec![0; span.len()];
                    self.consumer().copy_span(&span, &mut out);
                    self.spans.push(span);
                }
                self.shown = shown;
                Some(0)
            }
            Call::Confirm(which) => {
                self.shown = shown;
                if self.spans.is_empty() {
                    return Ok(Some(0));
                }
                let span = *which.get(&self.spans);
                if self.consumer().confirm(&span) {
                    prop_assert_eq!(span.begin, before);
                    Some(span.end.seq - span.begin.seq)
                } else {
                    Some(0)
                }
            }
            Call::SetDurable(which) => {
                self.shown = shown;
                if !self.places.is_empty() {
                    let (position, ledger) = *which.get(&self.places);
                    self.consumer().set_durable(position, ledger);
                }
                Some(0)
            }
            Call::Heartbeat(now) => {
                self.shown = shown;
                self.consumer().heartbeat(Monotonic(*now)).unwrap();
                Some(0)
            }
            Call::StoreCursor => {
                self.shown = shown;
                self.consumer().store_cursor().unwrap();
                Some(0)
            }
            Call::Scan(now) => {
                self.shown = shown;
                let producer = self.producer.as_mut().unwrap();
                producer.housekeep(Monotonic(*now));
                self.warden.scan(Monotonic(*now), &mut |_| {});
                Some(0)
            }
            Call::Restart => {
                // Where it goes on is where the file stands: perhaps an earlier, durable place.
                self.consumer = None;
                let consumer = Consumer::attach(self.dir.path(), "frames", "reader", Resume::Cursor).unwrap();
                self.consumer = Some(consumer);
                self.places.clear();
                None
            }
            Call::Recreate(follow) => {
                self.producer = None;
                self.large = !self.large;
                let producer = Producer::create_or_attach(self.dir.path(), &spec(self.large)).unwrap();
                self.producer = Some(producer);
                self.warden = Warden::open(self.dir.path(), "frames", WardenSpec::default()).unwrap();
                if *follow {
                    self.consumer().reattach().unwrap();
                    self.places.clear();
                } else {
                    self.shown = shown;
                }
                Some(0)
            }
        };
        let place = (self.consumer().position(), self.consumer().ledger());
        self.places.push(place);
        Ok(consumed)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // REQ: FEP-BUS-109
    #[test]
    fn no_order_of_calls_moves_a_cursor_back_or_unbalances_its_ledger(calls in calls()) {
        let mut world = World::new();
        for call in &calls {
            let (before, counted) = (world.consumer().position(), world.consumer().ledger());
            let consumed = world.call(call)?;
            let (after, ledger) = (world.consumer().position(), world.consumer().ledger());
            if let Some(consumed) = consumed {
                prop_assert_eq!(ledger.consumed_records, counted.consumed_records + consumed, "{:?}", call);
                prop_assert!(after.seq >= before.seq && after.payload >= before.payload, "{:?} moved back", call);
                prop_assert!(after.pos >= before.pos, "{:?} moved back in the log", call);
                prop_assert!(ledger.lost_records >= counted.lost_records, "{:?}", call);
                // A gap of nothing is none.
                let gaps = ledger.gaps - counted.gaps;
                prop_assert!(gaps == 0 || ledger.lost_records > counted.lost_records, "{:?}", call);
            }
            prop_assert_eq!(ledger.consumed_records + ledger.lost_records, after.seq - 1, "{:?}", call);
            prop_assert_eq!(ledger.consumed_bytes + ledger.lost_bytes, octets_before(after.seq), "{:?}", call);
            prop_assert_eq!(after.payload, octets_before(after.seq));
        }
        // In the end everything is found or counted: a loss at the very end as soon as a record comes after it.
        world.call(&Call::Publish(1))?;
        let head = world.producer.as_ref().unwrap().head().seq;
        let mut out = Vec::new();
        for _ in 0..1000 {
            match world.consumer().poll(&mut out) {
                Poll::Closed | Poll::Recreated => world.consumer().reattach().unwrap(),
                _ if world.consumer().position().seq == head => break,
                _ => {}
            }
        }
        prop_assert_eq!(world.consumer().position().seq, head);
    }
}

// REQ: FEP-BUS-109
#[test]
fn a_skip_after_what_was_shown_has_been_passed_does_nothing() {
    let dir = TempDir::new().unwrap();
    let mut producer = Producer::create_or_attach(dir.path(), &spec(false)).unwrap();
    let mut consumer = Consumer::attach(dir.path(), "frames", "reader", Resume::Oldest).unwrap();
    let publish = |producer: &mut Producer, count: u32| {
        (0..count).for_each(|_| {
            producer.publish(Tag::default(), b"octets").unwrap();
        });
    };
    publish(&mut producer, 10);
    // Confirmed past it.
    assert!(matches!(consumer.peek(), Poll::Record(record) if record.seq == 1));
    let Poll::Record(span) = consumer.span(4096) else { panic!("ten records are there") };
    assert!(consumer.confirm(&span));
    consumer.skip();
    assert_eq!((consumer.position(), consumer.ledger().consumed_records), (span.end, 10));
    // A gap past it.
    publish(&mut producer, 1);
    assert!(matches!(consumer.peek(), Poll::Record(record) if record.seq == 11));
    publish(&mut producer, 100);
    let Poll::Gap(gap) = consumer.peek() else { panic!("it was lapped") };
    consumer.skip();
    assert_eq!(consumer.position().seq, gap.to_seq);
    assert_eq!(consumer.ledger().consumed_records, 10);
    // A span that was confirmed while the gap was being looked for leaves no gap of nothing.
    let Poll::Record(span) = consumer.span(1) else { panic!("records are there") };
    assert!(consumer.confirm(&span) && !consumer.confirm(&span));
    assert_eq!(consumer.ledger().gaps, 1);
}
