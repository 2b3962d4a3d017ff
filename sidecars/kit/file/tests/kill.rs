//! A writer killed (SIGKILL) at random moments: whoever reads finds one of its files, whole. A holder that is killed holds
//! nothing any more.
//!
//! Not under the usual harness, because this very program is also the process that is killed: `kill write FILE`,
//! `kill hold FILE`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const OCTETS: usize = 256 << 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", file] => write_for_ever(Path::new(file)),
        ["hold", file] => hold_for_ever(Path::new(file)),
        _ => {
            a_writer_killed_at_any_moment_leaves_the_old_file_or_the_new_one();
            a_second_process_is_refused_with_the_name_of_the_first_until_that_one_ends_however();
        }
    }
}

fn write_for_ever(path: &Path) {
    for round in 0_u8.. {
        fep_file::replace(path, 0o600, &vec![round; OCTETS]).expect("written");
        if round == u8::MAX {
            return;
        }
    }
}

// REQ: FEP-KIT-200, FEP-KIT-203
fn a_writer_killed_at_any_moment_leaves_the_old_file_or_the_new_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state");
    fep_file::replace(&path, 0o600, &[255; OCTETS]).expect("written");
    let (mut killed, mut unfinished) = (0, 0);
    for round in 0..60_u64 {
        let mut writer = Command::new(std::env::current_exe().expect("this program"))
            .arg("write")
            .arg(&path)
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_micros(500 + round * 397 % 20_000));
        writer.kill().expect("it is ours");
        killed += usize::from(!writer.wait().expect("it ended").success());
        let found = fep_file::read(&path, OCTETS as u64).expect("readable");
        assert!(
            found.len() == OCTETS && found.iter().all(|octet| *octet == found[0]),
            "round {round}: a part"
        );
        unfinished += usize::from(std::fs::read_dir(directory.path()).expect("a directory").count() > 1);
    }
    assert!(killed > 30, "only {killed} of 60 writers were killed before they ended");
    fep_file::replace(&path, 0o600, b"last").expect("written");
    let left = std::fs::read_dir(directory.path()).expect("a directory").count();
    assert_eq!(left, 1, "what killed writers left was not removed");
    println!("{killed} of 60 killed, {unfinished} of them while a file was unfinished");
}

fn hold_for_ever(path: &Path) {
    let _held = fep_file::hold(path, "holder").expect("nobody has it");
    println!("held");
    // Until the end of the input, or for ever.
    let _ = std::io::stdin().read(&mut [0]);
}

// REQ: FEP-KIT-185
fn a_second_process_is_refused_with_the_name_of_the_first_until_that_one_ends_however() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("lock");
    for end_by_force in [true, false] {
        let mut holder = Command::new(std::env::current_exe().expect("this program"))
            .arg("hold")
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let output = holder.stdout.take().expect("an output");
        BufReader::new(output).read_line(&mut line).expect("it says that it holds it");
        let refused = fep_file::hold(&path, "second").expect_err("it is held").to_string();
        assert!(refused.contains(&format!("held by holder, process {}", holder.id())), "{refused}");
        if end_by_force {
            holder.kill().expect("it is ours");
        }
        drop(holder.stdin.take());
        holder.wait().expect("it ended");
        drop(fep_file::hold(&path, "second").expect("nobody has it any more"));
    }
}
