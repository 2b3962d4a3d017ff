//! An attacker with the disk but without the keys: whatever is taken away, cut, exchanged, put in or signed anew is found by
//! whoever has the public keys and a copy of the head. And an honest archive always verifies.

mod life;
mod living;

use std::fs;
use std::path::{Path, PathBuf};

use fep_bus::Tag;
use fep_segments::{
    Act, Chain, Expected, Removal, RemovalRecord, Removals, SegmentReader, SegmentState, SegmentWriter, list,
    recover, roots, verify_tree,
};
use proptest::prelude::*;

use life::{DAY_NS, Life, black, exchange, false_key, footer, found, problems, red, removal_key, root_key};

// REQ: FEP-SEG-150
#[test]
fn an_honest_archive_with_removals_holds_and_what_nobody_gave_is_called_unpinned() {
    let life = Life::of_four_days();
    let report = life.verify();
    assert!(report.is_sound() && report.is_pinned(), "{}", problems(&report));
    assert_eq!((report.roots.len(), report.unsigned), (5, 0));
    assert_eq!(report.removals as usize, life.records("black").len() + life.records("red").len());
    let unpinned = life.verify_unpinned();
    assert!(unpinned.is_sound() && !unpinned.is_pinned());
    assert_eq!(unpinned.unpinned.len(), 3);
}

// REQ: FEP-SEG-150
#[test]
fn a_segment_that_was_taken_away_is_found() {
    let life = Life::of_four_days();
    fs::remove_file(&life.of_state(SegmentState::Sealed)[3]).unwrap();
    found(&life, "is gone");
}

// REQ: FEP-SEG-150
#[test]
fn the_newest_segments_cannot_be_taken_away_unseen() {
    let life = Life::of_four_days();
    for stream in [black(), red()] {
        fs::remove_file(&list(life.archive(), &stream).unwrap().last().unwrap().path).unwrap();
    }
    found(&life, "is gone");
}

// REQ: FEP-SEG-150
#[test]
fn a_segment_that_was_cut_short_is_found() {
    let life = Life::of_four_days();
    let path = &life.of_state(SegmentState::Sealed)[3];
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 4096).unwrap();
    found(&life, "is gone");
}

// REQ: FEP-SEG-150
#[test]
fn segments_that_changed_places_are_found() {
    let life = Life::of_four_days();
    let sealed = life.of_state(SegmentState::Sealed);
    exchange(&sealed[2], &sealed[3]);
    found(&life, "its header says that it is segment");
}

// REQ: FEP-SEG-151
#[test]
fn a_segment_that_was_replaced_by_its_footer_without_a_record_is_found() {
    let life = Life::of_four_days();
    let sealed = life.of_state(SegmentState::Sealed);
    life.leave_footer(&sealed[3]);
    found(&life, "no signed record says who removed them");
    assert!(!life.verify_unpinned().is_sound(), "no key is needed to see it");
}

// REQ: FEP-SEG-151
#[test]
fn a_footer_in_place_of_a_segment_that_was_brought_back_is_found() {
    let life = Life::of_four_days();
    let records = [life.records("black"), life.records("red")].concat();
    let read =
        |path: &PathBuf| -> RemovalRecord { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let recalled = records.iter().map(read).find(|record| record.act == Act::Recalled).unwrap();
    let entry = &recalled.segments[0];
    let path = life.archive().join(format!("{}/{}.seg", entry.stream, entry.segment));
    fs::remove_file(&path).unwrap();
    found(&life, "though they were brought back");
}

// REQ: FEP-SEG-151
#[test]
fn a_record_of_removal_that_somebody_else_signed_excuses_nothing() {
    let life = Life::of_four_days();
    let path = life.of_state(SegmentState::Sealed)[3].clone();
    let footer = footer(&path);
    let forger = Removals::new(life.archive(), false_key());
    let removal = Removal { act: Act::Deleted, at_unix_ns: 1, order: None, by: &[], segments: &[footer] };
    forger.record(&removal).unwrap();
    life.leave_footer(&path);
    found(&life, "another key than the one given");
    found(&life, "no signed record says who removed them");
}

// REQ: FEP-SEG-151
#[test]
fn a_record_of_removal_that_was_taken_away_altered_or_moved_is_found() {
    for colour in ["black", "red"] {
        let life = Life::of_four_days();
        let Some(path) = life.records(colour).pop() else { continue };
        fs::remove_file(&path).unwrap();
        found(&life, "records of removal existed when it was signed");
    }
    let life = Life::of_four_days();
    let path = &life.records("black")[0];
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains("anna"));
    fs::write(path, text.replace("anna", "emma")).unwrap();
    found(&life, "its record is not the SHA-256 of its text");
    let life = Life::of_four_days();
    let path = &life.records("black")[0];
    fs::rename(path, path.with_file_name("000000000099.json")).unwrap();
    found(&life, "the file is named for another record");
}

// REQ: FEP-SEG-150
#[test]
fn an_archive_that_was_made_anew_and_signed_with_another_key_is_found() {
    let life = Life::of_four_days();
    let path = list(life.archive(), &black()).unwrap().last().unwrap().path.clone();
    let mut header = SegmentReader::open(&path).unwrap().header().clone();
    let old = footer(&path);
    header.id = 99;
    fs::remove_file(&path).unwrap();
    let mut writer = SegmentWriter::create(life.archive(), header).unwrap();
    for _ in 0..5 {
        writer.record(Tag::default(), b"forged").unwrap();
    }
    writer.flush().unwrap();
    let open = writer.path().to_owned();
    drop(writer);
    recover(&open).unwrap().seal(Chain(old.previous_chain), old.sealed_unix_ns).unwrap();
    fs::remove_dir_all(life.archive().join("roots")).unwrap();
    let forger = Removals::new(life.archive(), false_key());
    forger.adopt(1).unwrap();
    roots::sign_past_days(life.archive(), life.now_ns, &false_key()).unwrap();
    let report = life.verify_unpinned();
    assert!(report.is_sound() && !report.is_pinned(), "without a key nobody can know: {}", problems(&report));
    found(&life, "it is signed with another key than the one given");
}

// REQ: FEP-SEG-150
#[test]
fn the_newest_root_cannot_be_taken_away_unseen() {
    let life = Life::of_four_days();
    let head = fs::read(roots::head_file(life.archive())).unwrap();
    fs::remove_file(life.roots().last().unwrap()).unwrap();
    found(&life, "5 days were signed, up to");
    assert!(!life.verify_unpinned().is_sound(), "the head in the archive knows it, too");
    fs::remove_file(roots::head_file(life.archive())).unwrap();
    found(&life, "5 days were signed, up to");
    assert!(problems(&life.verify_unpinned()).contains("the head is missing"));
    // Whoever has neither head nor key, but knows how many days it must be, finds it as well.
    let expected = Expected { days: Some(5), ..Expected::default() };
    let report = verify_tree(life.archive(), &expected, |_, _| {}).unwrap();
    assert!(problems(&report).contains("5 days were signed at least; 4 are left"));
    // All roots but the first, and all heads.
    life.roots()[1..].iter().for_each(|path| fs::remove_file(path).unwrap());
    assert!(problems(&life.verify_unpinned()).contains("newer roots were taken away"));
    assert!(!head.is_empty());
}

// REQ: FEP-SEG-150
#[test]
fn a_root_between_two_others_and_the_first_root_cannot_be_taken_away_unseen() {
    for index in [0, 2] {
        let life = Life::of_four_days();
        fs::remove_file(&life.roots()[index]).unwrap();
        found(&life, "it does not continue the root before it");
    }
}

// REQ: FEP-SEG-150
#[test]
fn roots_of_two_days_that_changed_places_are_found() {
    let life = Life::of_four_days();
    exchange(&life.roots()[1], &life.roots()[2]);
    found(&life, "the file is named for another day than");
}

// REQ: FEP-SEG-150
#[test]
fn a_segment_that_was_put_in_is_found() {
    let mut life = Life::of_four_days();
    // It says that it was sealed on a day that is signed.
    life.now_ns -= 2 * DAY_NS;
    life.record(0);
    found(&life, "and no root names it");
}

// REQ: FEP-SEG-152
#[test]
fn a_directory_that_holds_nothing_of_an_archive_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let empty = verify_tree(directory.path(), &Expected::default(), |_, _| {}).unwrap_err();
    assert!(empty.to_string().contains("not the directory of the segments"), "{empty}");
    // The directory above, and one whose segments were all taken away.
    fs::create_dir_all(directory.path().join("segments/black/cso-1.frames")).unwrap();
    assert!(verify_tree(directory.path(), &Expected::default(), |_, _| {}).is_err());
    assert!(verify_tree(&directory.path().join("segments"), &Expected::default(), |_, _| {}).is_err());
}

// REQ: FEP-SEG-153
#[test]
fn a_clock_that_was_in_the_future_is_healed_and_signing_goes_on() {
    let mut life = Life::new();
    life.record(0);
    life.next_day();
    // The clock jumps ten days ahead, something is sealed, days are signed; then it is right again.
    let right_ns = life.now_ns;
    life.now_ns += 10 * DAY_NS;
    life.record(0);
    roots::sign_past_days(life.archive(), life.now_ns + DAY_NS, &root_key()).unwrap();
    assert_eq!(life.roots().len(), 12);
    life.now_ns = right_ns;
    let signed = roots::sign_past_days(life.archive(), life.now_ns, &root_key()).unwrap();
    assert_eq!((signed.days, signed.set_aside.len()), (0, 11));
    let again = roots::sign_past_days(life.archive(), life.now_ns, &root_key()).unwrap();
    assert!(again.set_aside.is_empty());
    assert!(life.verify().is_sound(), "{}", problems(&life.verify()));
    for _ in 0..3 {
        life.record(0);
        life.next_day();
    }
    let report = life.verify();
    assert_eq!(report.roots.len(), 4);
    let unsound: Vec<_> = report.roots.iter().filter(|root| !root.problems.is_empty()).collect();
    assert!(unsound.is_empty(), "{unsound:?}");
    assert_eq!(report.notes.len(), 11, "{:?}", report.notes);
    // What was sealed in the future is named by the root of the day on which the next one was sealed.
    assert_eq!(report.roots.iter().map(|root| root.segments).collect::<Vec<_>>(), [1, 2, 1, 1]);
    assert!(report.is_sound() && report.unsigned == 0, "{}", problems(&report));
}

// REQ: FEP-SEG-153
#[test]
fn a_segment_sealed_while_the_clock_was_in_the_past_is_named_by_the_next_root() {
    let mut life = Life::new();
    for _ in 0..3 {
        life.record(0);
        life.next_day();
    }
    let right_ns = life.now_ns;
    life.now_ns -= 3 * DAY_NS;
    life.record(0);
    life.now_ns = right_ns;
    life.next_day();
    assert!(life.verify().is_sound(), "{}", problems(&life.verify()));
}

// REQ: FEP-SEG-154
#[test]
fn red_records_of_removal_are_for_their_owner_only_and_not_among_the_black() {
    use std::os::unix::fs::PermissionsExt;
    let mut life = Life::new();
    life.record(0);
    life.record(1);
    life.remove(1, Act::Deleted);
    life.remove(0, Act::Deleted);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (black, red) = (life.records("black"), life.records("red"));
    assert_eq!((black.len(), red.len()), (1, 1));
    assert_eq!((mode(&red[0]), mode(red[0].parent().unwrap())), (0o600, 0o700));
    assert_eq!(mode(&black[0]) & 0o007, 0);
    assert!(!fs::read_to_string(&black[0]).unwrap().contains("red/"));
}

// REQ: FEP-SEG-154
#[test]
fn what_was_removed_before_records_existed_is_adopted_once_and_never_after_records_were_taken_away() {
    let mut life = Life::new();
    (0..4).for_each(|_| life.record(0));
    let sealed = life.of_state(SegmentState::Sealed);
    life.leave_footer(&sealed[0]);
    life.leave_footer(&sealed[2]);
    assert!(!life.verify().is_sound());
    assert_eq!(life.removals.adopt(life.now_ns).unwrap(), 2);
    assert_eq!(life.removals.adopt(life.now_ns).unwrap(), 0);
    assert!(life.verify().is_sound());
    assert_eq!(life.verify().notes.iter().filter(|note| note.contains("before records")).count(), 2);
    life.next_day();
    life.leave_footer(&sealed[1]);
    fs::remove_dir_all(life.archive().join("roots/removals")).unwrap();
    let fresh = Removals::new(life.archive(), removal_key());
    assert_eq!(fresh.adopt(life.now_ns).unwrap(), 0, "the root knows that there were records");
    found(&life, "records of removal existed when it was signed");
}

// REQ: FEP-SEG-155
#[test]
fn a_name_cannot_look_like_another_line_of_the_signed_text() {
    let life = Life::of_four_days();
    let path = &life.records("black")[0];
    let mut record: RemovalRecord = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let honest = record.text();
    record.by = vec!["anna\"\nby \"bert".to_owned()];
    assert_ne!(record.text(), honest);
}

// REQ: FEP-SEG-155
#[test]
fn the_signed_texts_are_those_of_the_page() {
    let life = Life::of_four_days();
    let record: RemovalRecord =
        serde_json::from_slice(&fs::read(&life.records("black")[0]).unwrap()).unwrap();
    let entry = &record.segments[0];
    let expected = format!(
        "fep removal 1\ncolour black\nnumber 1\nprevious \nat {}\nact deleted\norder \"deletion-000001\"\nby \"anna\"\nby \
         \"bert\"\nsegment {} {} {}\n",
        record.at_unix_ns, entry.stream, entry.segment, entry.chain
    );
    assert_eq!(record.text(), expected);
    let root = roots::read_root(&life.roots()[4]).unwrap();
    let ends = root.removals.clone().unwrap();
    let expected = format!(
        "fep daily root 3\nday {}\nnumber 5\nprevious {}\nremovals black {} {}\nremovals red {} {}\n",
        root.day, root.previous, ends.black.count, ends.black.last, ends.red.count, ends.red.last
    );
    assert_eq!(root.text(), expected);
    let head = life.head.clone().unwrap();
    let newest: String = head
        .streams
        .iter()
        .map(|entry| format!("newest {} {} {} {}\n", entry.stream, entry.segment, entry.chain, entry.end_seq))
        .collect();
    assert_eq!(head.text(), format!("fep head 1\nday {}\ndays 5\nroot {}\n{newest}", root.day, root.root));
    assert_eq!(head.streams.len(), 2);
}

// REQ: FEP-SEG-155
#[test]
fn roots_of_format_1_still_verify_and_none_may_follow_one_of_format_2() {
    let mut life = Life::new();
    life.record(0);
    life.next_day();
    let path = life.roots()[0].clone();
    let mut root = roots::read_root(&path).unwrap();
    (root.format, root.number, root.removals) = (1, None, None);
    let digest: [u8; 32] =
        sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(root.text())).into();
    root.root = roots::hex(&digest);
    root.signature = roots::hex(&ed25519_dalek::Signer::sign(&root_key(), &digest).to_bytes());
    fs::write(&path, serde_json::to_vec(&root).unwrap()).unwrap();
    fs::remove_file(roots::head_file(life.archive())).unwrap();
    life.record(0);
    life.next_day();
    assert!(life.verify().is_sound(), "{}", problems(&life.verify()));
    exchange(&path, &life.roots()[1]);
    found(&life, "it is of an older format than the root before it");
}

// REQ: FEP-SEG-163
#[test]
fn a_root_names_the_signed_head_of_the_audit_trail_and_finds_one_that_was_taken_away_exchanged_or_kept_back()
{
    let mut life = Life::of_four_days();
    assert!(life.verify().is_sound(), "an archive without an audit trail is one");
    let directory = life.archive().join("roots/audit");
    fs::create_dir_all(&directory).unwrap();
    let days = ["2025-12-01", "2025-12-02"];
    for day in days {
        fs::write(directory.join(format!("{day}.json")), format!("a head of {day}")).unwrap();
        life.record(0);
        life.next_day();
        let root = roots::read_root(life.roots().last().unwrap()).unwrap();
        let anchor = root.audit.clone().unwrap();
        let sha256: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(format!("a head of {day}")).into();
        assert_eq!((root.format, anchor.day.as_str(), anchor.sha256), (3, day, roots::hex(&sha256)));
        assert!(root.text().contains(&format!("\naudit {day} {}\n", roots::hex(&sha256))));
        assert!(life.verify().is_sound(), "{}", problems(&life.verify()));
    }
    for day in days {
        let file = directory.join(format!("{day}.json"));
        let good = fs::read(&file).unwrap();
        fs::write(&file, "another").unwrap();
        found(&life, &format!("the signed head of the audit trail of {day} is another one"));
        fs::remove_file(&file).unwrap();
        found(&life, &format!("the signed head of the audit trail of {day} is gone"));
        fs::create_dir(&file).unwrap();
        found(&life, "a directory");
        fs::remove_dir(&file).unwrap();
        fs::write(&file, good).unwrap();
    }
    // Who has the key of a later day cannot leave it out either, nor go back to an older one.
    let newest = directory.join("2025-12-02.json");
    let good = fs::read(&newest).unwrap();
    fs::remove_file(&newest).unwrap();
    life.record(0);
    life.next_day();
    fs::write(&newest, &good).unwrap();
    found(&life, "it names an older signed head");
    let aside = life.archive().join("aside");
    fs::rename(&directory, &aside).unwrap();
    life.record(0);
    life.next_day();
    fs::rename(&aside, &directory).unwrap();
    found(&life, "it names no signed head of the audit trail");
}

// REQ: FEP-SEG-156
#[test]
fn a_key_in_the_archive_is_seen_and_one_that_is_missing_is_not_replaced_by_itself() {
    let mut life = Life::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let key = elsewhere.path().join("keys/root.key");
    let made = roots::key_for(life.archive(), &key).unwrap();
    assert_eq!(roots::public_key(&roots::public_file(&key)).unwrap(), made.verifying_key().to_bytes());
    assert!(!roots::is_within(life.archive(), &key));
    assert!(roots::is_within(life.archive(), &life.archive().join("black/root.key")));
    life.record(0);
    life.next_day();
    fs::remove_file(&key).unwrap();
    let refused = roots::key_for(life.archive(), &key).unwrap_err().to_string();
    assert!(refused.contains("restore it, or make another one"), "{refused}");
    let another = roots::signing_key(&key).unwrap();
    assert_eq!(roots::key_for(life.archive(), &key).unwrap().to_bytes(), another.to_bytes());
}

/// One step of an honest life.
#[derive(Debug, Clone, Copy)]
enum Step {
    Record(usize),
    Delete(usize),
    Move(usize),
    Recall,
    Day,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..2).prop_map(Step::Record),
        1 => any::<usize>().prop_map(Step::Delete),
        1 => any::<usize>().prop_map(Step::Move),
        1 => Just(Step::Recall),
        2 => Just(Step::Day),
    ]
}

/// Does one of the hostile things to the file number `at` of those it can be done to; whether there was one.
fn attack(life: &Life, kind: usize, at: usize, octet: usize) -> bool {
    let chosen = |files: Vec<PathBuf>| (!files.is_empty()).then(|| files[at % files.len()].clone());
    let two = |files: Vec<PathBuf>| {
        (files.len() > 1).then(|| (files[at % files.len()].clone(), files[(at + 1) % files.len()].clone()))
    };
    let records = || [life.records("black"), life.records("red")].concat();
    match kind {
        0 | 1 => {
            let state = [SegmentState::Sealed, SegmentState::Removed][kind];
            chosen(life.of_state(state)).is_some_and(|path| fs::remove_file(path).is_ok())
        }
        2 => chosen(life.of_state(SegmentState::Sealed)).is_some_and(|path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            let len = file.metadata().unwrap().len();
            file.set_len(octet as u64 % len).is_ok()
        }),
        3 => chosen(life.of_state(SegmentState::Sealed)).is_some_and(|path| {
            let (mut octets, end) = (fs::read(&path).unwrap(), footer(&path).content_end);
            octets[octet % end as usize] ^= 0x40;
            fs::write(path, octets).is_ok()
        }),
        4 => two(life.of_state(SegmentState::Sealed)).is_some_and(|(one, other)| {
            exchange(&one, &other);
            true
        }),
        5 => chosen(life.of_state(SegmentState::Sealed)).is_some_and(|path| {
            // Whoever was brought back lies beside its footer already.
            life.leave_footer(&path);
            true
        }),
        6 => chosen(life.roots()).is_some_and(|path| fs::remove_file(path).is_ok()),
        7 => two(life.roots()).is_some_and(|(one, other)| {
            exchange(&one, &other);
            true
        }),
        8 => chosen(records()).is_some_and(|path| fs::remove_file(path).is_ok()),
        9 => chosen([records(), life.roots()].concat()).is_some_and(|path| {
            let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            value["previous"] = "00".into();
            fs::write(path, value.to_string()).is_ok()
        }),
        10 => chosen(life.roots()).is_some_and(|path| {
            // The same text, signed anew by the attacker.
            let mut root = roots::read_root(&path).unwrap();
            let digest: [u8; 32] = roots::unhex(&root.root).unwrap();
            root.key = roots::hex(false_key().verifying_key().as_bytes());
            root.signature = roots::hex(&ed25519_dalek::Signer::sign(&false_key(), &digest).to_bytes());
            fs::write(path, serde_json::to_vec(&root).unwrap()).is_ok()
        }),
        _ => fs::remove_dir_all(life.archive().join("roots")).is_ok(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // REQ: FEP-SEG-157
    #[test]
    fn an_honest_life_always_verifies_and_any_single_hostile_act_is_found(
        steps in prop::collection::vec(step(), 1..24),
        kind in 0_usize..12,
        at in any::<usize>(),
        octet in any::<usize>(),
    ) {
        let mut life = Life::new();
        life.record(0);
        for step in &steps {
            match *step {
                Step::Record(index) => life.record(index),
                Step::Delete(index) => life.remove(index, Act::Deleted),
                Step::Move(index) => life.remove(index, Act::Moved),
                Step::Recall => life.recall(),
                Step::Day => life.next_day(),
            }
            let report = life.verify();
            prop_assert!(report.is_sound(), "{:?} {}", step, problems(&report));
        }
        life.next_day();
        let report = life.verify();
        prop_assert!(report.is_sound() && report.is_pinned() && report.unsigned == 0, "{}", problems(&report));
        if attack(&life, kind, at, octet) {
            prop_assert!(!life.verify().is_sound(), "attack {} is not found", kind);
        }
    }
}
