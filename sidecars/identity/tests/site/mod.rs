//! A process of a test's own, its files below one directory, and how it is asked.
#![allow(dead_code, unreachable_pub)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub const PASSWORD: &str = "correct horse battery";
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Site {
    pub dir: tempfile::TempDir,
}

pub struct Running {
    pub child: Child,
    pub socket: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        // A process that has ended already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Site {
    pub fn new() -> Site {
        let site = Site { dir: tempfile::tempdir().expect("a directory") };
        let (state, database, rings) = (site.path("state"), site.path("audit.sqlite3"), site.path("bus"));
        let text = format!(
            "[service]\nstate = {state:?}\nrings = {rings:?}\n[service.database]\nurl = \"sqlite://{}\"\n\
             [[http.doors]]\nlisten = \"unix:{}\"\n\
             [identity.password]\nmemory_kib = 19456\npasses = 2\n",
            database.display(),
            site.path("identity.sock").display(),
        );
        std::fs::write(site.path("identity.toml"), text).expect("written");
        site
    }

    /// Waits until the health says this.
    pub fn says(&self, running: &Running, status: u16, words: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let (found, text) = running.ask("GET /health", "", &Value::Null);
            if found == status && text.contains(words) {
                return text;
            }
            assert!(Instant::now() < until, "{found} {text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fep-identity"));
        command.arg("--config").arg(self.path("identity.toml")).args(arguments);
        command
    }

    pub fn add_administrator(&self, name: &str, password: &str) -> Output {
        let mut command = self.command(&["add-administrator", name]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut input = child.stdin.take().expect("an input");
        // It may refuse before it reads.
        let _ = writeln!(input, "{password}");
        drop(input);
        child.wait_with_output().expect("it ends")
    }

    pub fn start(&self) -> Running {
        let child = self.command(&[]).stderr(Stdio::null()).spawn().expect("it starts");
        let mut running = Running { child, socket: self.path("identity.sock") };
        let until = Instant::now() + PATIENCE;
        while UnixStream::connect(&running.socket).is_err() {
            assert_eq!(running.child.try_wait().expect("a child"), None, "it ended");
            assert!(Instant::now() < until, "it does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }
}

impl Running {
    /// Status and body.
    pub fn ask(&self, line: &str, bearer: &str, body: &Value) -> (u16, String) {
        let mut stream = self.send(line, bearer, body);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
    }

    /// Asks, and does not wait for the answer.
    pub fn send(&self, line: &str, bearer: &str, body: &Value) -> UnixStream {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = UnixStream::connect(&self.socket).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let authorization =
            if bearer.is_empty() { String::new() } else { format!("Authorization: Bearer {bearer}\r\n") };
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("sent");
        stream
    }

    pub fn json(&self, line: &str, bearer: &str, body: &Value) -> Value {
        let (status, text) = self.ask(line, bearer, body);
        assert!((200..300).contains(&status), "{line}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub fn login(&self, account: &str) -> String {
        let body = json!({"account": account, "password": PASSWORD});
        self.json("POST /v1/login", "", &body)["ticket"].as_str().expect("a ticket").to_owned()
    }

    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        assert!(self.child.wait().expect("it ends").success());
    }
}

/// A scope with everything in it.
pub fn everything() -> Value {
    json!([{"spacecraft": "all", "colours": ["black", "red"], "sessions": ["ops", "test", "replay"]}])
}
