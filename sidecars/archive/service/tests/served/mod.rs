//! The service as a real process over an archive that the test made, and a client.

#![allow(dead_code, reason = "every test program uses its own part")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fep_identity::{Cost, Identity, IdentityConfig, NumericDate, PersonId, Profile, Role, RoleSet, Scope};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// How long a service may take to start or to take in what it finds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `fep-archive`. Dropping it kills it.
pub(crate) struct Served {
    child: Child,
    address: String,
    pub(crate) socket: PathBuf,
    pub(crate) directory: tempfile::TempDir,
    identity: Identity,
    /// Of somebody who may see everything, the audit trail too, and do nothing.
    pub(crate) ticket: String,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the connection broke before the end of the body.
    pub(crate) broken: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }
}

impl Served {
    /// Starts the service over the segments in `directory/segments`, with more configuration, and waits until it has
    /// taken in so many segments.
    pub(crate) async fn start(directory: tempfile::TempDir, more: &str, segments: u64) -> Served {
        let store = format!("url = \"file://{}/store\"\n", directory.path().display());
        Served::start_on(directory, &store, more, segments).await
    }

    /// As [`Served::start`], with the section `[store]` as given.
    pub(crate) async fn start_on(
        directory: tempfile::TempDir,
        store: &str,
        more: &str,
        segments: u64,
    ) -> Served {
        let root = directory.path();
        std::fs::create_dir_all(root.join("segments")).unwrap();
        let socket = root.join("archive.sock");
        let config = root.join("archive.toml");
        let retention = format!("[retention]\nremoval_key = \"{}/keys/removals.key\"\n", root.display());
        let more = if more.contains("[retention]\n") {
            more.replace("[retention]\n", &retention)
        } else {
            format!("{more}\n{retention}")
        };
        let cheap =
            IdentityConfig { password: Cost { memory_kib: 8, passes: 1 }, ..IdentityConfig::default() };
        let identity = Identity::open_unchecked(&root.join("identity"), cheap, NumericDate::now()).unwrap();
        let keys = format!("[identity]\nkeys = {:?}\n", identity.public_file());
        let more = if more.contains("[identity]\n") {
            more.replace("[identity]\n", &keys)
        } else {
            format!("{more}\n{keys}")
        };
        let text = format!(
            "[archive]\nsegments = \"{0}/segments\"\nrings = \"{0}/bus\"\ndatabase = \"sqlite://{0}/catalogue.sqlite3\"\n\
             audit_key = \"{0}/audit.key\"\n\
             [store]\n{store}[http]\nlisten = [\"127.0.0.1:0\", \"unix:{1}\"]\nstop_grace_s = 1\n{more}",
            root.display(),
            socket.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_fep-archive"))
            .arg("--config")
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { panic!("fep-archive ended: {}", said.join("\n")) };
            if let Some((_, address)) = line.split_once("listening on 127.0.0.1:") {
                break format!("127.0.0.1:{}", address.trim());
            }
            said.push(line);
        };
        // Nobody may wait for a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("  | {line}")));
        let watching = RoleSet::of(&[Role::Observer, Role::SecurityOfficer]);
        let ticket = identity.ticket_for_test(watching, vec![Scope::ALL], NumericDate::now()).unwrap();
        let served = Served { child, address, socket, directory, identity, ticket };
        let until = Instant::now() + PATIENCE;
        loop {
            let health = served.get("/health").await;
            let taken = served.taken().await;
            if health.status == StatusCode::OK && taken >= segments {
                return served;
            }
            assert!(
                Instant::now() < until,
                "{taken} of {segments} segments were taken in; {}",
                health.text()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn taken(&self) -> u64 {
        let answer = self.get("/v1/status").await;
        match answer.status {
            StatusCode::OK => answer.json()["totals"]["segments"].as_u64().unwrap_or_default(),
            _ => 0,
        }
    }

    /// A ticket of anybody with these roles and scopes.
    pub(crate) fn ticket_of(&self, roles: &[Role], scopes: Vec<Scope>) -> String {
        self.identity.ticket_for_test(RoleSet::of(roles), scopes, NumericDate::now()).unwrap()
    }

    /// A ticket of an account of this person, with these roles, everywhere.
    pub(crate) fn log_in(&self, account: &str, person: &str, roles: &[Role]) -> String {
        const PASSWORD: &str = "correct horse battery";
        let profile = Profile {
            person: PersonId(format!("local:{person}")),
            roles: roles.iter().map(|role| role.name().to_owned()).collect(),
            scopes: vec![Scope::ALL],
            expires: None,
            password_expires: None,
            disabled: false,
        };
        self.identity.add_account(account, PASSWORD, profile).unwrap();
        let issued = self.identity.login_local(account, PASSWORD, NumericDate::now()).unwrap();
        issued.unwrap().ticket
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn tcp(&self) -> &str {
        &self.address
    }

    /// Asks over TCP; with the usual ticket, where the headers name none.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let bearer = format!("Bearer {}", self.ticket);
        let mut all = vec![("host", self.address.as_str())];
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            all.push(("authorization", &bearer));
        }
        all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
        begin(TokioIo::new(stream), method, path, &all, body).await.whole().await
    }

    /// Asks over TCP with a ticket.
    pub(crate) async fn as_person(&self, ticket: &str, method: Method, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {ticket}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(method, path, &[("authorization", &bearer)], &body).await
    }

    /// Asks over the Unix socket, where the caller is the service's own user.
    pub(crate) async fn ask_local(&self, method: Method, path: &str, body: &str) -> Answer {
        let stream = tokio::net::UnixStream::connect(&self.socket).await.unwrap();
        begin(TokioIo::new(stream), method, path, &[("host", "localhost")], body).await.whole().await
    }

    /// Asks over TCP, and does not wait for the body.
    pub(crate) async fn begin(&self, path: &str) -> Begun {
        let stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let bearer = format!("Bearer {}", self.ticket);
        let headers = [("host", self.address.as_str()), ("authorization", &bearer)];
        begin(TokioIo::new(stream), Method::GET, path, &headers, "").await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, path, headers, "").await
    }

    pub(crate) async fn post_local(&self, path: &str, body: Value) -> Answer {
        self.ask_local(Method::POST, path, &body.to_string()).await
    }
}

/// An answer whose body is still to come.
pub(crate) struct Begun {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
}

impl Begun {
    /// The body to its end, or to where it breaks off.
    pub(crate) async fn rest(self) -> Bytes {
        self.whole().await.body
    }

    async fn whole(self) -> Answer {
        let Begun { status, headers, mut body } = self;
        let (mut octets, mut broken) = (Vec::new(), false);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => octets.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        Answer { status, headers, body: octets.into(), broken }
    }
}

async fn begin<S>(
    stream: TokioIo<S>,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Begun
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path);
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Begun { status, headers, body: response.into_body() }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
