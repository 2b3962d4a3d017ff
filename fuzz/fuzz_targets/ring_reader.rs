//! Readers on damaged memory: a ring file with octets overwritten anywhere, before and while it is read. Attaching may
//! be refused; no reader may crash, hang, or count more than there is room for.
#![no_main]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use arbitrary::Arbitrary;
use fep_bus::{Consumer, Poll, Producer, Resume, RingSpec, Tag, Warden, WardenSpec, list};
use fep_time::Monotonic;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Damage {
    /// Where, folded into the file.
    offset: u16,
    value: u64,
    /// How many octets of `value`.
    width: u8,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Ring(Damage),
    Cursor(Damage),
    Poll,
    Visit,
    Peek,
    PeekAndSkip,
    Span(u16),
    Heartbeat(i64),
    Reattach,
    Attach(u8),
    Scan(i64),
}

struct World {
    /// Kept, so that the ring looks alive.
    _producer: Producer,
    dir: PathBuf,
    ring: File,
    pristine: Vec<u8>,
    cursor: PathBuf,
}

/// One small ring with records, made once; every run starts from its octets.
fn world() -> &'static Mutex<World> {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    WORLD.get_or_init(|| {
        let base =
            if PathBuf::from("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        let dir = base.join(format!("fep-fuzz-ring-{}", std::process::id()));
        let spec = RingSpec {
            desc_log2: 4,
            data_len: 16 << 10,
            extent_len: 4 << 10,
            payload_max: 1000,
            gates: vec!["reader".to_owned()],
            ..RingSpec::new("fuzzed", "fuzz.v1")
        };
        let mut producer = Producer::create_or_attach(&dir, &spec).expect("a fresh ring");
        for seq in 1..=40_u64 {
            producer
                .publish(Tag { kind: 1, ..Tag::default() }, &vec![seq as u8; (seq * 97 % 1000) as usize])
                .expect("fits");
        }
        producer.housekeep(Monotonic(1));
        let path = producer.path().to_owned();
        let pristine = std::fs::read(&path).expect("the ring");
        let ring = OpenOptions::new().read(true).write(true).open(&path).expect("the ring");
        Mutex::new(World {
            cursor: dir.join("black/fuzzed/cursors/reader"),
            dir,
            ring,
            pristine,
            _producer: producer,
        })
    })
}

fn damage(file: &File, len: usize, damage: &Damage) {
    // Headers, page and descriptors lie in the first pages: aim there half of the time.
    let offset = if damage.width & 0x80 == 0 {
        usize::from(damage.offset) % 0x4400
    } else {
        usize::from(damage.offset)
    };
    let octets = damage.value.to_le_bytes();
    let width = usize::from(damage.width & 0x7F) % 8 + 1;
    let _ = file.write_all_at(&octets[..width], (offset % (len - 8)) as u64);
}

fn resume(choice: u8) -> Resume {
    match choice % 3 {
        0 => Resume::Oldest,
        1 => Resume::Latest,
        _ => Resume::Cursor,
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let world = world().lock().expect("no earlier panic");
    world.ring.write_all_at(&world.pristine, 0).expect("restore");
    let _ = std::fs::remove_file(&world.cursor);
    let len = world.pristine.len();
    let mut consumer = None;
    let mut warden = Warden::open(&world.dir, "fuzzed", WardenSpec::default()).ok();
    let mut out = Vec::new();
    for step in steps.iter().take(200) {
        match step {
            Step::Ring(what) => damage(&world.ring, len, what),
            Step::Cursor(what) => {
                if let Ok(file) = OpenOptions::new().write(true).open(&world.cursor) {
                    damage(
                        &file,
                        0x200,
                        &Damage { offset: what.offset % 0x1F8, value: what.value, width: what.width },
                    );
                }
            }
            Step::Attach(choice) => {
                consumer = None;
                if let Ok(attached) = Consumer::attach(&world.dir, "fuzzed", "reader", resume(*choice)) {
                    consumer = Some(attached);
                }
                let _ = list(&world.dir);
            }
            Step::Scan(now) => {
                if let Some(warden) = &mut warden {
                    warden.scan(Monotonic(*now), &mut |_| {});
                    let _ = warden.status();
                }
            }
            other => {
                let Some(consumer) = &mut consumer else { continue };
                match other {
                    Step::Poll => {
                        if let Poll::Record(record) = consumer.poll(&mut out) {
                            assert_eq!(out.len(), record.len as usize);
                            assert!(out.len() <= 1000, "longer than payload_max");
                        }
                    }
                    Step::Visit => {
                        let _ = consumer.visit(|_, payload| payload.words().fold(0, u64::wrapping_add));
                    }
                    Step::Peek => {
                        let _ = consumer.peek();
                    }
                    Step::PeekAndSkip => {
                        if let Poll::Record(_) = consumer.peek() {
                            consumer.skip();
                        }
                    }
                    Step::Span(max_len) => {
                        if let Poll::Record(span) = consumer.span(usize::from(*max_len)) {
                            assert!(!span.is_empty() && span.len() <= 16 << 10);
                            out.resize(span.len(), 0);
                            consumer.copy_span(&span, &mut out);
                            consumer.confirm(&span);
                        }
                    }
                    Step::Heartbeat(now) => {
                        let _ = consumer.heartbeat(Monotonic(*now));
                    }
                    Step::Reattach => {
                        let _ = consumer.reattach();
                    }
                    Step::Ring(_) | Step::Cursor(_) | Step::Attach(_) | Step::Scan(_) => {}
                }
            }
        }
    }
});
