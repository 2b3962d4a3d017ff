//! Ingest killed (SIGKILL) at random moments and started again, until everything is in. The oracle is an ingest that was
//! left alone: the same rows, the same files to the octet.
//!
//! Killed a hundred times; `FEP_KILL_ROUNDS` asks for more. Not under the usual harness, because this very program is also the
//! process that is killed: `kill ingest DIR`.

#[path = "support/dump.rs"]
mod dump;
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fep_catalogue::{Ingest, Store, StoreConfig};
use support::{MS, Recorder, START, catalogue_at, ingest_config, tm_frame};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["ingest", directory] => runtime.block_on(ingest_all(Path::new(directory))),
        _ => {
            let kills = match std::env::var("FEP_KILL_ROUNDS") {
                Ok(text) => text.parse().unwrap_or_else(|_| panic!("FEP_KILL_ROUNDS={text:?}: a number")),
                Err(_) => 100,
            };
            runtime.block_on(an_ingest_killed_at_any_moment_ends_as_if_it_had_been_left_alone(kills));
        }
    }
}

async fn ingest_all(directory: &Path) {
    let catalogue = catalogue_at(directory).await;
    let store = Store::open(&StoreConfig::directory(directory)).unwrap();
    let mut ingest = Ingest::open(ingest_config(directory), catalogue.clone(), store).await.unwrap();
    let step = ingest.step().await.unwrap();
    assert_eq!(step.refused, []);
    catalogue.close().await;
}

/// Segments of two antennas with gaps.
fn record(directory: &Path) {
    for (link, ring) in [(1, "one.frames"), (2, "two.frames")] {
        let mut recorder = Recorder::new(directory, ring);
        for part in 0..8_u64 {
            let lost = |count: &u64| (count + u64::from(link) * 7) % 40 < 3;
            let frames: Vec<_> = (part * 200..(part + 1) * 200)
                .filter(|count| !lost(count))
                .map(|count| tm_frame(link, 0, count, START + count as i64 * 10 * MS))
                .collect();
            recorder.frames(&frames);
        }
    }
}

// REQ: FEP-ARC-059
async fn an_ingest_killed_at_any_moment_ends_as_if_it_had_been_left_alone(wanted: u32) {
    let original = tempfile::tempdir().unwrap();
    record(original.path());
    let undisturbed = tempfile::tempdir().unwrap();
    copy(original.path(), undisturbed.path());
    let started = Instant::now();
    ingest_all(undisturbed.path()).await;
    let whole = started.elapsed();
    let expected = state(undisturbed.path()).await;

    // How many rounds it takes depends on the machine: a quick one is done before the moment has come.
    let (mut kills, mut round) = (0, 0);
    while kills < wanted {
        assert!(round < 20 * wanted, "{kills} kills in {round} rounds: it is always done before its moment");
        let directory = tempfile::tempdir().unwrap();
        copy(original.path(), directory.path());
        for turn in 0.. {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .arg("ingest")
                .arg(directory.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            // Moments spread over the time that the whole takes; later turns get more of it, so that it ends.
            let share = (round * 37 + turn * 61) % 100 + turn * 20;
            let deadline = Instant::now() + whole * share / 100 + Duration::from_millis(5);
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break Some(status);
                }
                if Instant::now() >= deadline {
                    break None;
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            if let Some(status) = status {
                assert!(status.success(), "round {round}, turn {turn}: {status}");
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        assert_eq!(state(directory.path()).await, expected, "round {round}");
        round += 1;
    }
    println!("an ingest killed {kills} times over {round} archives: the same catalogue and index each time");
}

/// The catalogue's rows, and every file of the index.
async fn state(directory: &Path) -> (Vec<String>, BTreeMap<PathBuf, Vec<u8>>) {
    let catalogue = catalogue_at(directory).await;
    let mut rows: Vec<String> = dump::dump(&catalogue).await.into_iter().map(without_ingest_time).collect();
    rows.sort_unstable();
    catalogue.close().await;
    let mut files = BTreeMap::new();
    walk(&directory.join("index"), &mut |path| {
        files.insert(path.strip_prefix(directory).unwrap().to_owned(), std::fs::read(path).unwrap());
    });
    // What a kill leaves half-written has another name, and is overwritten or ignored.
    files.retain(|path, _| path.extension().is_some_and(|extension| extension == "parquet"));
    (rows, files)
}

/// When the catalogue noticed that a gap was filled depends on when it was killed.
fn without_ingest_time(line: String) -> String {
    let mut row: serde_json::Value = serde_json::from_str(&line).unwrap();
    if row["table"] == "gap_steps" {
        row["at"] = 0.into();
    }
    row.to_string()
}

fn walk(directory: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            walk(&entry.path(), visit);
        } else {
            visit(&entry.path());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    walk(from, &mut |path| {
        let to = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(path, to).unwrap();
    });
}
