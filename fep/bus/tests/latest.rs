//! Latest-value pages: what was set last is what is read, in another mapping; who has gone does not look alive.

use std::collections::BTreeMap;
use std::fs;

use fep_bus::{
    BusError, Colour, LATEST_CAPACITY_MAX, LATEST_VALUE_MAX, Latest, LatestError, LatestPage, LatestReader,
    LatestSpec,
};
use fep_time::{Monotonic, Tai};
use proptest::prelude::*;
use tempfile::TempDir;

const SECOND: i64 = 1_000_000_000;

proptest! {
    // REQ: FEP-BUS-107
    #[test]
    fn a_page_holds_what_a_map_of_the_last_values_holds(
        capacity in 1_usize..40,
        sets in prop::collection::vec(
            (prop_oneof![0..50_u64, any::<u64>()], prop::collection::vec(any::<u8>(), 0..=40), any::<i64>()),
            0..200,
        ),
    ) {
        let dir = TempDir::new().unwrap();
        let mut page = LatestPage::create(dir.path(), &LatestSpec::new("values", capacity)).unwrap();
        let reader = LatestReader::open(dir.path(), "values").unwrap();
        let mut oracle: BTreeMap<u64, (Vec<u8>, Tai, u64)> = BTreeMap::new();
        for (key, value, received) in &sets {
            let received = Tai(*received);
            let expected = if value.len() > LATEST_VALUE_MAX {
                Err(LatestError::TooLong { len: value.len() })
            } else if oracle.len() == capacity && !oracle.contains_key(key) {
                Err(LatestError::Full { key: *key, capacity })
            } else {
                let kept = oracle.entry(*key).or_insert((Vec::new(), Tai(0), 0));
                *kept = (value.clone(), received, kept.2 + 1);
                Ok(kept.2)
            };
            prop_assert_eq!(page.set(*key, value, received), expected);
            let found = reader.get(*key).unwrap().map(|latest| contents(&latest));
            prop_assert_eq!(found.as_ref(), oracle.get(key));
        }
        let all: BTreeMap<_, _> = reader.iter().map(Result::unwrap).map(|latest| (latest.key, contents(&latest))).collect();
        prop_assert_eq!(reader.iter().count(), oracle.len());
        prop_assert_eq!(all, oracle);
    }

    // REQ: FEP-BUS-107
    #[test]
    fn a_damaged_page_is_refused_or_read_within_its_bounds(
        damage in prop::collection::vec((0_usize..256 + 32 * 128, any::<u8>()), 1..20),
        cut in prop::option::of(0_u64..256 + 32 * 128),
    ) {
        let dir = TempDir::new().unwrap();
        let mut page = LatestPage::create(dir.path(), &LatestSpec::new("values", 16)).unwrap();
        for key in 0..16 {
            page.set(key, &[7; 32], Tai(1)).unwrap();
        }
        let path = page.path().to_owned();
        drop(page);
        let mut octets = fs::read(&path).unwrap();
        for (at, value) in damage {
            octets[at] = value;
        }
        if let Some(cut) = cut {
            octets.truncate(cut as usize);
        }
        fs::write(&path, &octets).unwrap();
        if let Ok(reader) = LatestReader::open(dir.path(), "values") {
            prop_assert!(reader.iter().count() <= 32);
            for key in 0..40 {
                prop_assert!(reader.get(key).unwrap().is_none_or(|latest| latest.key == key && latest.value().len() <= 32));
            }
        }
    }
}

fn contents(latest: &Latest) -> (Vec<u8>, Tai, u64) {
    (latest.value().to_vec(), latest.received, latest.updates)
}

// REQ: FEP-BUS-107
#[test]
fn a_full_page_still_takes_the_keys_it_has_and_finds_nothing_else() {
    let dir = TempDir::new().unwrap();
    let mut page = LatestPage::create(dir.path(), &LatestSpec::new("values", LATEST_CAPACITY_MAX)).unwrap();
    let reader = LatestReader::open(dir.path(), "black/values").unwrap();
    // Keys of one spacecraft and virtual channel each lie close together.
    for key in 0..LATEST_CAPACITY_MAX as u64 {
        assert_eq!(page.set(key << 8, &key.to_le_bytes(), Tai(1)), Ok(1));
    }
    let full = Err(LatestError::Full { key: 1, capacity: LATEST_CAPACITY_MAX });
    assert_eq!(page.set(1, &[], Tai(1)), full);
    assert_eq!(reader.get(1), Ok(None));
    for key in 0..LATEST_CAPACITY_MAX as u64 {
        assert_eq!(page.set(key << 8, &[1, 2, 3], Tai(2)), Ok(2));
        assert_eq!(reader.get(key << 8).unwrap().unwrap().value(), [1, 2, 3]);
    }
    assert_eq!(reader.iter().count(), reader.capacity());
}

// REQ: FEP-BUS-108
#[test]
fn a_page_counts_as_alive_only_while_its_writer_gives_signs_of_life() {
    let dir = TempDir::new().unwrap();
    let mut page = LatestPage::create(dir.path(), &LatestSpec::new("values", 4)).unwrap();
    let reader = LatestReader::open(dir.path(), "values").unwrap();
    page.set(5, b"old", Tai(1)).unwrap();
    assert!(!reader.is_live(Monotonic(100 * SECOND), SECOND), "no sign of life yet");
    page.heartbeat(Monotonic(100 * SECOND));
    assert!(reader.is_live(Monotonic(100 * SECOND), SECOND));
    assert!(reader.is_live(Monotonic(101 * SECOND), SECOND));
    assert!(!reader.is_live(Monotonic(101 * SECOND + 1), SECOND));
    assert_eq!(reader.heartbeat_age_ns(Monotonic(103 * SECOND)), Some(3 * SECOND));
    // The machine was booted again: the clock is behind the sign of life.
    assert!(!reader.is_live(Monotonic(5 * SECOND), SECOND));
    assert_eq!(reader.heartbeat_age_ns(Monotonic(5 * SECOND)), None);
    drop(page);
    assert!(!reader.is_live(Monotonic(100 * SECOND), SECOND), "stopped in an orderly way");
    assert_eq!(reader.get(5).unwrap().unwrap().value(), b"old", "the value is still there to look at");
}

// REQ: FEP-BUS-108
#[test]
fn a_writer_that_starts_anew_brings_nothing_back_to_life() {
    let dir = TempDir::new().unwrap();
    let spec = LatestSpec::new("values", 4);
    let mut page = LatestPage::create(dir.path(), &spec).unwrap();
    page.set(5, b"old", Tai(1)).unwrap();
    page.heartbeat(Monotonic(100 * SECOND));
    let old = LatestReader::open(dir.path(), "values").unwrap();
    assert!(matches!(LatestPage::create(dir.path(), &spec), Err(BusError::Held { pid, .. })
        if pid == std::process::id()));
    assert!(old.is_current() && page.is_still_linked());
    drop(page);
    let mut page = LatestPage::create(dir.path(), &spec).unwrap();
    page.heartbeat(Monotonic(101 * SECOND));
    assert!(!old.is_current());
    assert!(!old.is_live(Monotonic(101 * SECOND), SECOND));
    let new = LatestReader::open(dir.path(), "values").unwrap();
    assert!(new.is_live(Monotonic(101 * SECOND), SECOND) && new.is_current());
    assert_eq!(new.get(5), Ok(None));
    fs::remove_dir_all(dir.path().join("latest")).unwrap();
    assert!(!new.is_current() && !page.is_still_linked());
}

// REQ: FEP-BUS-108
#[test]
fn red_and_black_pages_lie_apart() {
    let dir = TempDir::new().unwrap();
    assert!(LatestReader::open_all(dir.path()).unwrap().is_empty());
    let spec = LatestSpec::new("values", 4);
    let mut black = LatestPage::create(dir.path(), &spec).unwrap();
    let mut red = LatestPage::create(dir.path(), &LatestSpec { colour: Colour::Red, ..spec }).unwrap();
    black.set(1, b"black", Tai(1)).unwrap();
    red.set(1, b"red", Tai(1)).unwrap();
    assert_eq!(red.path(), dir.path().join("latest/red/values"));
    assert!(matches!(LatestReader::open(dir.path(), "values"), Err(BusError::Ambiguous { .. })));
    let value =
        |page: &str| LatestReader::open(dir.path(), page).unwrap().get(1).unwrap().unwrap().value().to_vec();
    assert_eq!((value("black/values"), value("red/values")), (b"black".to_vec(), b"red".to_vec()));
    assert!(matches!(LatestReader::open(dir.path(), "others"), Err(BusError::NotFound { .. })));
    let all: Vec<_> = LatestReader::open_all(dir.path()).unwrap().into_iter().map(Result::unwrap).collect();
    let found: Vec<_> = all.iter().map(|page| (page.name(), page.colour())).collect();
    assert_eq!(found, [("values", Colour::Black), ("values", Colour::Red)]);
}

#[test]
fn a_specification_that_cannot_work_is_refused_in_words() {
    let dir = TempDir::new().unwrap();
    let base = LatestSpec::new("values", 4);
    for (spec, word) in [
        (LatestSpec { name: "../x".into(), ..base.clone() }, "name"),
        (LatestSpec { capacity: 0, ..base.clone() }, "capacity"),
        (LatestSpec { capacity: LATEST_CAPACITY_MAX + 1, ..base.clone() }, "capacity"),
        (LatestSpec { access: fep_bus::Access { mode: 0o666, group: None }, ..base.clone() }, "mode"),
        (
            LatestSpec {
                access: fep_bus::Access { mode: 0o640, group: Some("no-such-group".into()) },
                ..base.clone()
            },
            "no-such-group",
        ),
    ] {
        let error = LatestPage::create(dir.path(), &spec).map(drop).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(LatestReader::open(dir.path(), "../x").is_err());
}
