//! An archive that others work on while it is verified: nothing of what they do looks like an attack, and nothing ends the report.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fep_segments::{Act, Expected, RecorderLock, SegmentError, TreeReport, roots, verify_tree};

use super::life::{Life, black, problems, red, removal_key, root_key};

/// Verifications while the archive lives.
const ROUNDS: usize = 60;

/// Lives until `stop`: segments of both streams are sealed, some are moved, brought back or deleted, and days are signed.
fn live(mut life: Life, stop: &AtomicBool) {
    let _recording = [black(), red()].map(|stream| RecorderLock::take(life.archive(), &stream).unwrap());
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        life.record(turn % 2);
        match turn % 8 {
            3 => life.remove(turn, Act::Moved),
            5 => life.remove(turn, Act::Deleted),
            6 => life.recall(),
            // The archive stays small, so that it is verified often.
            7 if turn < 200 => life.next_day(),
            _ => {}
        }
        if turn > 200 {
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

fn verified(archive: &std::path::Path) -> Result<TreeReport, SegmentError> {
    let expected = Expected {
        root_key: Some(root_key().verifying_key().to_bytes()),
        removal_key: Some(removal_key().verifying_key().to_bytes()),
        ..Expected::default()
    };
    verify_tree(archive, &expected, |_, _| {})
}

// REQ: FEP-ARC-240
#[test]
fn an_archive_that_is_recorded_moved_recalled_deleted_and_signed_meanwhile_always_verifies_sound() {
    let mut life = Life::of_four_days();
    life.record(0);
    let archive = life.archive().to_owned();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let living = scope.spawn(|| live(life, &stop));
        let rounds: Vec<_> =
            (0..ROUNDS).map(|_| verified(&archive)).take_while(|_| !living.is_finished()).collect();
        stop.store(true, Ordering::Relaxed);
        living.join().unwrap();
        assert_eq!(rounds.len(), ROUNDS);
        for report in rounds {
            let report = report.unwrap();
            assert!(report.is_sound(), "{}", problems(&report));
        }
    });
}

// REQ: FEP-ARC-240
#[test]
fn the_recorder_signs_days_whatever_is_moved_or_deleted_meanwhile() {
    let mut life = Life::of_four_days();
    let archive = life.archive().to_owned();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let now_ns = life.now_ns;
        let keeping = scope.spawn(|| {
            let mut turn = 0;
            while !stop.load(Ordering::Relaxed) {
                turn += 1;
                life.record(turn % 2);
                life.remove(turn, if turn % 3 == 0 { Act::Deleted } else { Act::Moved });
                life.recall();
            }
        });
        let signed: Vec<_> = (0..200)
            .map(|day| roots::sign_past_days(&archive, now_ns + day * 60_000_000_000, &root_key()))
            .collect();
        stop.store(true, Ordering::Relaxed);
        keeping.join().unwrap();
        for signed in signed {
            signed.unwrap();
        }
    });
}
