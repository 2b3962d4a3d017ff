//! A real S3 server (moto, from PyPI), and a proxy before it that makes it busy, slow and broken, and counts.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fep_catalogue::StoreConfig;

/// The S3 server of the Python package `moto`, on a port of its own.
pub(crate) struct S3 {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl S3 {
    /// Starts it, with a bucket named `archive`.
    pub(crate) fn start() -> S3 {
        let python = std::env::var_os("FEP_TOOLS_PYTHON").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../target/tools/venv/bin/python"),
            PathBuf::from,
        );
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(&python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `make tools` installs moto", python.display()));
        let mut server = S3 { process, address };
        let deadline = Instant::now() + Duration::from_secs(120);
        while TcpStream::connect(address).is_err() {
            let ended = server.process.try_wait().unwrap();
            assert!(ended.is_none(), "moto ended ({ended:?}); `make tools` installs it");
            assert!(Instant::now() < deadline, "moto does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!(
            "PUT /archive HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        server
    }
}

impl S3 {
    /// A store on this server.
    pub(crate) fn config(&self) -> StoreConfig {
        config(self.address)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a proxy does to the next connections.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// Answers 503 itself.
    Busy,
    /// Takes the request and is silent.
    Silent,
    /// Breaks off in the middle of the answer.
    Broken,
    /// Passes on, a kilobyte at a time.
    Slow,
}

/// A proxy before the server that treats the first `faults` connections badly and then passes everything on, and knows what
/// it passed on.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    left: Arc<AtomicU32>,
    passed: Arc<Passed>,
}

#[derive(Default)]
struct Passed {
    /// What clients sent, in pieces as they came.
    requests: Mutex<Vec<Vec<u8>>>,
    /// Octets of the server's answers.
    answered: AtomicU64,
}

impl Proxy {
    /// One that only passes on.
    pub(crate) fn transparent(server: SocketAddr) -> Proxy {
        Proxy::start(server, Fault::Busy, 0)
    }

    pub(crate) fn start(server: SocketAddr, fault: Fault, faults: u32) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let left = Arc::new(AtomicU32::new(faults));
        let counter = Arc::clone(&left);
        let passed = Arc::<Passed>::default();
        let noted = Arc::clone(&passed);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let bad = counter
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok();
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || serve(client, server, bad.then_some(fault), &noted));
            }
        });
        Proxy { address, left, passed }
    }

    /// Connections that will still be treated badly.
    pub(crate) fn faults_left(&self) -> u32 {
        self.left.load(Ordering::SeqCst)
    }

    /// From now on everything is passed on.
    pub(crate) fn is_well(&self) {
        self.left.store(0, Ordering::SeqCst);
    }

    /// Octets that the server answered so far, heads included.
    pub(crate) fn answered(&self) -> u64 {
        self.passed.answered.load(Ordering::SeqCst)
    }

    /// How often something was fetched, and the ranges (half-open) that were named with it.
    pub(crate) fn asked_for(&self) -> (usize, Vec<(u64, u64)>) {
        let requests = self.passed.requests.lock().unwrap();
        let text: String = requests.iter().map(|request| String::from_utf8_lossy(request)).collect();
        let range = |line: &str| {
            let (name, value) = line.split_once(": bytes=")?;
            let (first, last) = value.split_once('-')?;
            name.eq_ignore_ascii_case("range")
                .then(|| (first.parse().unwrap(), last.trim().parse::<u64>().unwrap() + 1))
        };
        let fetched = text.lines().filter(|line| line.starts_with("GET ")).count();
        (fetched, text.lines().filter_map(range).collect())
    }
}

fn serve(mut client: TcpStream, server: SocketAddr, fault: Option<Fault>, passed: &Arc<Passed>) {
    match fault {
        Some(Fault::Busy) => {
            let mut request = [0; 4096];
            let _ = client.read(&mut request);
            let body = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
            let answer = format!(
                "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = client.write_all(answer.as_bytes());
            let _ = client.shutdown(Shutdown::Write);
            // What is still on its way is read, so that the answer is not lost to a reset.
            let _ = std::io::copy(&mut client, &mut std::io::sink());
        }
        Some(Fault::Silent) => {
            let _ = std::io::copy(&mut client, &mut std::io::sink());
        }
        Some(Fault::Broken) => relay(client, server, Some(700), None, passed),
        Some(Fault::Slow) => relay(client, server, None, Some(Duration::from_millis(2)), passed),
        None => relay(client, server, None, None, passed),
    }
}

/// Passes octets both ways; answers end after `limit` octets, or come a kilobyte each `pause`.
fn relay(
    client: TcpStream,
    server: SocketAddr,
    limit: Option<usize>,
    pause: Option<Duration>,
    passed: &Arc<Passed>,
) {
    let Ok(upstream) = TcpStream::connect(server) else { return };
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
    let noted = Arc::clone(passed);
    std::thread::spawn(move || {
        let mut piece = [0; 8192];
        while let Ok(read @ 1..) = from_client.read(&mut piece) {
            noted.requests.lock().unwrap().push(piece[..read].to_vec());
            if to_server.write_all(&piece[..read]).is_err() {
                break;
            }
        }
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (upstream, client);
    let (mut piece, mut sent) = ([0; 1024], 0);
    while let Ok(read) = from_server.read(&mut piece) {
        let take = limit.map_or(read, |limit| read.min(limit - sent));
        if take == 0 || to_client.write_all(&piece[..take]).is_err() {
            break;
        }
        sent += take;
        passed.answered.fetch_add(take as u64, Ordering::SeqCst);
        if limit == Some(sent) {
            break;
        }
        if let Some(pause) = pause {
            std::thread::sleep(pause);
        }
    }
    let _ = to_client.shutdown(Shutdown::Both);
}

/// A store on the server (or the proxy) at this address.
pub(crate) fn config(address: SocketAddr) -> StoreConfig {
    let mut config = StoreConfig::new("s3://archive/mission");
    for (name, value) in [
        ("aws_endpoint", format!("http://{address}")),
        ("aws_region", "us-east-1".to_owned()),
        ("aws_access_key_id", "test".to_owned()),
        ("aws_secret_access_key", "test".to_owned()),
        ("aws_allow_http", "true".to_owned()),
    ] {
        config.options.insert(name.to_owned(), value);
    }
    config
}
