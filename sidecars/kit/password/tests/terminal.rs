//! A real terminal and a real process: this program, called with `read`, is who reads the password.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fep_password::Entry;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).map(String::as_str) == Some("read") {
        let entry =
            if arguments.get(2).map(String::as_str) == Some("new") { Entry::New } else { Entry::Known };
        match fep_password::read(entry) {
            Ok(password) => println!("read {password:?}"),
            Err(error) => println!("refused: {error}"),
        }
        return;
    }
    for test in [
        a_typed_password_is_not_shown_and_the_terminal_has_its_echo_again as fn(),
        a_new_password_that_was_typed_differently_is_refused,
        a_piped_line_is_taken_and_what_is_none_or_too_long_is_refused,
    ] {
        test();
    }
    println!("terminal: ok");
}

fn reader(entry: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["read", entry]).stdout(Stdio::piped());
    command
}

/// A terminal: our end, and the reader at the other one.
struct Terminal {
    ours: File,
    theirs: File,
    child: Child,
}

impl Terminal {
    fn new(entry: &str) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("granted");
        unlockpt(&ours).expect("unlocked");
        let name = ptsname(&ours, Vec::new()).expect("a name");
        let theirs = File::from(
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its other end"),
        );
        let end = || Stdio::from(theirs.try_clone().expect("a copy"));
        let child = reader(entry).stdin(end()).stderr(end()).spawn().expect("it starts");
        Terminal { ours: File::from(ours), theirs, child }
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.theirs).expect("its mode").local_modes.contains(LocalModes::ECHO)
    }

    /// Reads what is shown until it ends with `text`.
    fn shows(&mut self, text: &str) -> String {
        let (until, mut shown) = (Instant::now() + PATIENCE, String::new());
        while !shown.ends_with(text) {
            assert!(Instant::now() < until, "{shown:?} does not end with {text:?}");
            let mut octets = [0; 256];
            let count = self.ours.read(&mut octets).expect("what is shown");
            shown.push_str(&String::from_utf8_lossy(&octets[..count]));
        }
        shown
    }

    /// Waits for the prompt, which comes once echo is off, and types.
    fn types(&mut self, prompt: &str, line: &str) -> String {
        let shown = self.shows(prompt);
        assert!(!self.echoes(), "echo is off while it is typed");
        self.ours.write_all(format!("{line}\n").as_bytes()).expect("typed");
        shown
    }

    fn said(mut self) -> String {
        let mut said = String::new();
        self.child.stdout.take().expect("an output").read_to_string(&mut said).expect("said");
        assert!(self.child.wait().expect("it ends").success());
        assert!(self.echoes(), "echo is on again");
        said
    }
}

// REQ: FEP-KIT-322
fn a_typed_password_is_not_shown_and_the_terminal_has_its_echo_again() {
    let mut terminal = Terminal::new("new");
    assert!(terminal.echoes(), "a terminal has echo");
    let mut shown = terminal.types("password: ", "correct horse");
    shown += &terminal.types("once more: ", "correct horse");
    shown += &terminal.shows("\n");
    assert!(!shown.contains("horse"), "{shown:?}");
    assert_eq!(terminal.said(), "read \"correct horse\"\n");
}

// REQ: FEP-KIT-322
fn a_new_password_that_was_typed_differently_is_refused() {
    let mut terminal = Terminal::new("new");
    terminal.types("password: ", "correct horse");
    terminal.types("once more: ", "correct house");
    terminal.shows("\n");
    assert_eq!(terminal.said(), "refused: the two passwords differ\n");
}

// REQ: FEP-KIT-322
fn a_piped_line_is_taken_and_what_is_none_or_too_long_is_refused() {
    let ask = |input: &str| {
        let mut child = reader("new").stdin(Stdio::piped()).spawn().expect("it starts");
        // It may refuse before it has read all.
        let _ = child.stdin.take().expect("an input").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(ask("correct horse\r\nmore\n"), "read \"correct horse\"\n");
    assert_eq!(ask("without an end"), "read \"without an end\"\n");
    assert_eq!(ask(""), "refused: the password cannot be read: the input has ended\n");
    assert!(ask(&"x".repeat(5000)).contains("longer than 4096 octets"));
}
