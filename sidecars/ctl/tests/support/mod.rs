//! What the tests of the command line share: running the real program.
#![allow(dead_code, unreachable_pub)]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

/// The program under test, unimpressed by the environment of whoever runs the tests.
pub fn fepctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fepctl"));
    for variable in [
        "FEP_CONFIG",
        "FEP_SOCKET",
        "FEP_RINGS",
        "FEP_ARCHIVE",
        "FEP_IDENTITY",
        "FEP_TICKET",
        "FEP_TOKEN",
        "FEP_TOKEN_FILE",
        "FEP_CA",
        "FEP_CERT",
        "FEP_KEY",
    ] {
        command.env_remove(variable);
    }

    command
}

/// Runs it to its end.
pub fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> Output {
    fepctl().args(arguments).stdin(Stdio::null()).output().expect("the program starts")
}

/// Runs it with something on standard input.
pub fn run_with_input(arguments: &[&str], input: Vec<u8>) -> Output {
    let mut child = fepctl()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || {
        // The program may refuse before it has read everything.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("the writer ends");
    output
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON it printed, after having succeeded.
pub fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)))
}

/// The JSON it printed, whatever its exit code.
pub fn report_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}

/// It failed with this code, said all of this, and did not panic.
pub fn refuses(output: &Output, code: i32, said: &[&str]) {
    let reported = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{reported}");
    for word in said {
        assert!(reported.contains(word), "{word:?} is not in: {reported}");
    }
    assert!(!reported.contains("panicked"), "{reported}");
}

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

pub fn golden_json(name: &str) -> Value {
    let path = golden(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

/// A capture of a real satellite on this machine.
pub fn capture(mission: &str) -> PathBuf {
    fep_sim::captures::find_one(mission).unwrap_or_else(|error| panic!("{error}")).path
}

/// A request as a service of a test got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `GET /v1/me`
    pub what: String,
    /// Value of the header `Authorization`.
    pub bearer: String,
    pub body: String,
}

/// A service at a socket, one request a connection; what was asked comes out of the channel.
pub fn serve(socket: &Path, answer: impl Fn(&Asked) -> (u16, String) + Send + 'static) -> Receiver<Asked> {
    let listener = UnixListener::bind(socket).expect("a socket");
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let asked = read_request(&stream);
            let (status, body) = answer(&asked);
            let kind = if status < 400 { "application/json" } else { "application/problem+json" };
            let length =
                if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
            // Before the answer: who has it can look at what was asked. A test that has seen enough has ended.
            let _ = sender.send(asked);
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{length}\r\n{body}")
                .expect("sent");
        }
    });
    receiver
}

fn read_request(stream: &UnixStream) -> Asked {
    let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
    let (mut head, mut bearer, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut head).expect("a request");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if lower.starts_with("authorization:") {
            line["authorization:".len()..].trim().clone_into(&mut bearer);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let what = head.trim().strip_suffix(" HTTP/1.1").expect("HTTP/1.1").to_owned();
    Asked { what, bearer, body: String::from_utf8(body).expect("text") }
}
