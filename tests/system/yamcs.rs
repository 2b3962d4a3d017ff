//! Real Yamcs as the receiver of a feed: a simulated station, `fepd`, `fep-feeds` over UDP, and a Java process that knows
//! nothing of us. It must count the frames that were sent and hold the very packets that our own ring had.
//!
//! `make tools` installs Yamcs (a Python package holds its jars) below `target/tools`; `FEP_TOOLS` names another place.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fep_bus::{Consumer, Poll, Resume};
use fep_ccsds::SpacePacketHeader;
use fep_feeds::ledger::Counts;
use fep_feeds::status::FeedStatus;
use fep_record::PacketRecord;
use fep_sim::{Station, StationSpec, Unconnected};
use fep_tests::{Daemon, RunDirectory, Sidecar, built_in, downlink, request, tcp_link, wait_until};
use sha2::{Digest, Sha256};

/// Frames of the run in windows.
const FRAMES: u64 = 800;

/// Frames of the run in which nobody waits for Yamcs, and their pace: that of docs/yamcs.md.
const UNATTENDED_FRAMES: u64 = 6000;
const UNATTENDED_BPS: u64 = 20_000_000;

/// Frames sent before Yamcs must have taken all so far: its socket buffer holds some ninety, and a busy machine may keep it
/// from reading for any time. The test disables the feed until it has caught up, which must cost no frame and send none twice.
const WINDOW: u64 = 40;

/// Packets by APID, each by its hash: the same packets are the same map, in whatever order.
type Packets = BTreeMap<u16, Vec<[u8; 32]>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

/// The directory of Yamcs's jars.
fn jars() -> PathBuf {
    let tools = std::env::var_os("FEP_TOOLS").map_or_else(|| root().join("target/tools"), PathBuf::from);
    let lib = tools.join("venv/lib");
    let versions = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let found = versions
        .map(|python| python.path().join("site-packages/fprime_yamcs_bundle/lib"))
        .find(|jars| jars.is_dir());
    found.unwrap_or_else(|| panic!("Yamcs is not installed in {}: `make tools` does that", lib.display()))
}

/// A Yamcs server of the test's own. Dropping it kills it.
struct Yamcs {
    child: Child,
    http: SocketAddr,
}

impl Yamcs {
    /// Starts the instance of `tests/yamcs` with ports of the test's own, and waits until it runs.
    fn start(directory: &Path, http: SocketAddr, frames: SocketAddr) -> Yamcs {
        for part in ["etc", "mdb"] {
            let into = directory.join(part);
            std::fs::create_dir_all(&into).expect("the directory is writable");
            for entry in
                std::fs::read_dir(root().join("tests/yamcs").join(part)).expect("it is there").flatten()
            {
                let text = std::fs::read_to_string(entry.path()).expect("text");
                let text = text
                    .replace("port: 8090", &format!("port: {}", http.port()))
                    .replace("port: 10017", &format!("port: {}", frames.port()));
                std::fs::write(into.join(entry.file_name()), text).expect("the directory is writable");
            }
        }
        let log = std::fs::File::create(directory.join("log")).expect("the directory is writable");
        let child = Command::new("java")
            .args(["-Xmx512m", "-cp"])
            .arg(jars().join("*"))
            .args(["org.yamcs.YamcsServer", "--etc-dir", "etc", "--data-dir", "data", "--no-color"])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("no Java runtime ({error}): `make tools` installs one"));
        let mut yamcs = Yamcs { child, http };
        wait_until("Yamcs runs", || {
            if let Ok(Some(status)) = yamcs.child.try_wait() {
                let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
                panic!("Yamcs ended at once: {status}\n{log}");
            }
            let instance = yamcs.get_json("/api/instances/cso-1")?;
            if instance["state"] == "RUNNING" { Ok(()) } else { Err(instance.to_string()) }
        });
        yamcs
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        let failed = |error: std::io::Error| format!("Yamcs: {error}");
        let mut stream = TcpStream::connect(self.http).map_err(failed)?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(failed)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: yamcs\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(failed)?;
        let mut answer = Vec::new();
        let mut octets = vec![0; 65_536];
        loop {
            let taken = stream.read(&mut octets).map_err(failed)?;
            answer.extend_from_slice(&octets[..taken]);
            // A streamed answer is over with its last chunk; the connection is not.
            match whole(path, &answer) {
                Ok(Some(body)) => return Ok(body),
                Ok(None) if taken > 0 => {}
                Ok(None) => return Err(format!("{path}: the answer is cut off")),
                Err(error) => return Err(error),
            }
        }
    }

    fn get_json(&self, path: &str) -> Result<serde_json::Value, String> {
        serde_json::from_slice(&self.get(path)?).map_err(|error| error.to_string())
    }

    /// Frames it took for valid and for invalid, and packets of each virtual channel.
    fn counts(&self) -> Result<(u64, u64, BTreeMap<String, u64>), String> {
        let answer = self.get_json("/api/links/cso-1")?;
        let number =
            |value: &serde_json::Value| value.as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut frames = (0, 0);
        let mut packets = BTreeMap::new();
        for link in answer["links"].as_array().ok_or("no links")? {
            match link["name"].as_str() {
                Some("fep") => {
                    frames =
                        (number(&link["extra"]["Valid frames"]), number(&link["extra"]["Invalid frames"]));
                }
                Some(name) => {
                    packets.insert(name.to_owned(), number(&link["dataInCount"]));
                }
                None => return Err("a link without a name".to_owned()),
            }
        }
        Ok((frames.0, frames.1, packets))
    }
}

impl Drop for Yamcs {
    fn drop(&mut self) {
        // Fails only when it is dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of an HTTP answer; `None` while it is not whole.
fn whole(path: &str, answer: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let body = &answer[end + 4..];
    if !head.starts_with("http/1.1 200") {
        return Err(format!("{path}: {head}"));
    }
    if head.contains("transfer-encoding: chunked") {
        return Ok(unchunked(body));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let length: usize = length.ok_or_else(|| format!("{path}: no length: {head}"))?;
    Ok(body.get(..length).map(<[u8]>::to_vec))
}

/// What the chunks hold; `None` while the last one is not there.
fn unchunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    loop {
        let line = body.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(str::from_utf8(&body[..line]).ok()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(octets);
        }
        octets.extend_from_slice(body.get(line + 2..line + 2 + size)?);
        body = body.get(line + 4 + size..)?;
    }
}

/// The packets in what Yamcs exports: one after the other, each as long as its header says.
fn exported(mut octets: &[u8]) -> Packets {
    let mut packets = Packets::new();
    while !octets.is_empty() {
        let header = SpacePacketHeader::parse(octets).expect("a space packet");
        let (packet, rest) = octets.split_at_checked(header.packet_len()).expect("a whole packet");
        packets.entry(header.apid).or_default().push(Sha256::digest(packet).into());
        octets = rest;
    }
    packets.values_mut().for_each(|hashes| hashes.sort_unstable());
    packets
}

/// cso-1 over a clear channel.
fn station(frames: u64, rate_bps: u64) -> StationSpec {
    let mut spec = built_in("cso-1", Some(rate_bps), Unconnected::Hold);
    spec.channel = fep_sim::ChannelSpec::default();
    downlink(&mut spec).frames = Some(frames);
    spec
}

/// What the packets ring holds, by APID, and how many of each virtual channel. Idle packets do not count: Yamcs drops them.
fn follow_packets(directory: &RunDirectory, stop: &AtomicBool) -> (Packets, BTreeMap<String, u64>) {
    let mut consumer = wait_until("the packets ring exists", || {
        Consumer::attach(&directory.rings(), "cso-1.packets", "yamcs-test", Resume::Oldest)
            .map_err(|error| error.to_string())
    });
    let mut packets = Packets::new();
    let mut channels = BTreeMap::new();
    let mut octets = Vec::new();
    loop {
        match consumer.poll(&mut octets) {
            Poll::Record(record) => {
                let packet = PacketRecord::from_words(record.tag.flags, record.tag.words).expect("a packet");
                if packet.apid != 0x7FF {
                    packets.entry(packet.apid).or_default().push(Sha256::digest(&octets).into());
                    *channels.entry(format!("fep.vc{}", packet.gvcid.vcid)).or_default() += 1;
                }
            }
            Poll::Empty | Poll::Closed if stop.load(Ordering::Relaxed) => break,
            Poll::Empty | Poll::Closed => std::thread::sleep(Duration::from_millis(1)),
            Poll::Gap(gap) => panic!("the test itself lost packets: {gap:?}"),
            Poll::Restarted { .. } | Poll::Recreated => {}
        }
    }
    packets.values_mut().for_each(|hashes| hashes.sort_unstable());
    (packets, channels)
}

/// Lets the feed send window by window, and holds it between them until Yamcs has caught up, until every frame was sent.
fn drive(directory: &RunDirectory, yamcs: &Yamcs) -> Counts {
    let socket = directory.path().join("feeds.sock");
    let status = |method: &str, path: &str| -> Result<FeedStatus, String> {
        serde_json::from_str(&request(&socket, method, path)?).map_err(|error| error.to_string())
    };
    let (mut held, mut caught_up_at) = (0, 0);
    loop {
        let counts = wait_until("the feed gets on", || {
            let status = status("GET", "/feeds/yamcs")?;
            let counts = status.clients.first().map(|client| client.counts.clone()).ok_or("no client yet")?;
            // Only the feed is asked: a Yamcs that stalls would keep the answer back while the feed goes on.
            let ahead = counts.sent - caught_up_at;
            if counts.followed == FRAMES || ahead >= WINDOW { Ok(counts) } else { Err(format!("{counts:?}")) }
        });
        if counts.followed == FRAMES {
            println!("the feed was held {held} times");
            return counts;
        }
        held += 1;
        assert!(!status("POST", "/feeds/yamcs/disable").expect("an answer").enabled);
        caught_up_at = wait_until("Yamcs catches up", || {
            let status = status("GET", "/feeds/yamcs")?;
            let client = status.clients.first().ok_or("no client")?;
            let (valid, invalid, _) = yamcs.counts()?;
            let caught_up = client.peer.is_none() && client.counts.sent == valid + invalid;
            if caught_up { Ok(client.counts.sent) } else { Err(format!("{valid} of {}", client.counts.sent)) }
        });
        assert!(status("POST", "/feeds/yamcs/enable").expect("an answer").enabled);
    }
}

fn free_tcp() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

fn free_udp() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port")
}

/// Datagrams that the kernel threw away because Yamcs's socket was full.
fn dropped(yamcs: SocketAddr) -> u64 {
    let port = format!(":{:04X}", yamcs.port());
    let sockets = ["/proc/net/udp", "/proc/net/udp6"].map(std::fs::read_to_string);
    let drops = sockets.into_iter().flatten().flat_map(|table| {
        let of_port =
            |line: &&str| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port));
        let lines: Vec<u64> = table
            .lines()
            .filter(of_port)
            .map(|line| line.split_whitespace().last().and_then(|drops| drops.parse().ok()).expect("drops"))
            .collect();
        lines
    });
    drops.reduce(|one, other| one + other).expect("Yamcs's socket is there")
}

/// One run of the whole way into a running Yamcs.
struct Run {
    _disk: tempfile::TempDir,
    directory: RunDirectory,
    feeds: Sidecar,
    link: String,
    _station: Station,
}

impl Run {
    fn start(frames: u64, rate_bps: u64, pace_bps: u64, to: SocketAddr) -> Run {
        let disk = tempfile::tempdir().expect("a directory");
        let directory = RunDirectory::new();
        let archive = disk.path().join("archive.toml");
        let text = format!(
            "[archive]\nrings = {:?}\nsegments = {:?}\nlog = \"warn\"\n\n[feeding]\ncursors = {:?}\nlisten = \"unix:{}\"\n\n\
             [feeds.yamcs]\nsources = [\"cso-1.frames\"]\nsession = \"TEST\"\nform = \"raw\"\nstart = \"oldest\"\n\
             transport = {{ kind = \"udp\", to = \"{to}\", pace_bps = {pace_bps} }}\n\
             filter = {{ spacecraft = [673], vcs = [0, 1, 2, 7] }}\n",
            directory.rings(),
            disk.path().join("segments"),
            disk.path().join("cursors"),
            directory.path().join("feeds.sock").display(),
        );
        std::fs::write(&archive, text).expect("the directory is writable");
        let feeds = Sidecar::start("fep-feeds", &archive);
        let station = Station::start(&station(frames, rate_bps)).expect("it starts");
        let link = tcp_link("cso-1", "cso/cso-1", station.address().expect("it listens"));
        Run { _disk: disk, directory, feeds, link, _station: station }
    }

    /// Until the feed has sent everything, watched by `drive`. Returns what was sent, and the packets of our own ring.
    fn through(&self, drive: impl FnOnce() -> Counts) -> (Counts, Packets, BTreeMap<String, u64>) {
        let config = self.directory.configure(&self.link);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let daemon = Daemon::start(&self.directory, &config);
            let follower = scope.spawn(|| follow_packets(&self.directory, &stop));
            let sent = drive();
            assert!(daemon.stop().success());
            stop.store(true, Ordering::Relaxed);
            let (packets, channels) = follower.join().expect("the follower ends");
            (sent, packets, channels)
        })
    }

    /// What the feed did for its only client.
    fn counts(&self) -> Result<Counts, String> {
        let status = request(&self.directory.path().join("feeds.sock"), "GET", "/feeds/yamcs")?;
        let status: FeedStatus = serde_json::from_str(&status).map_err(|error| error.to_string())?;
        status.clients.first().map(|client| client.counts.clone()).ok_or_else(|| "no client yet".to_owned())
    }
}

// REQ: FEP-FEED-013
#[test]
fn yamcs_counts_the_frames_that_the_feed_sent_and_holds_the_packets_of_our_ring_octet_for_octet() {
    let disk = tempfile::tempdir().expect("a directory");
    let (http, frames) = (free_tcp(), free_udp());
    let yamcs = Yamcs::start(&disk.path().join("yamcs"), http, frames);
    let run = Run::start(FRAMES, 4_000_000, 1_000_000, frames);
    let (sent, packets, channels) = run.through(|| drive(&run.directory, &yamcs));
    assert_eq!(
        (sent.sent, sent.repeated),
        (FRAMES, 0),
        "a clear channel: nothing is filtered, nothing comes twice"
    );
    let counted = wait_until("Yamcs has taken every frame", || {
        let counts = yamcs.counts()?;
        if counts.0 + counts.1 >= FRAMES { Ok(counts) } else { Err(format!("{counts:?}")) }
    });
    assert_eq!((counted.0, counted.1), (FRAMES, 0), "valid and invalid frames");
    let nothing = BTreeMap::from([("fep.vc7".to_owned(), 0)]);
    let expected: BTreeMap<String, u64> = channels.into_iter().chain(nothing).collect();
    assert_eq!(counted.2, expected, "packets of each virtual channel");
    let archived = wait_until("Yamcs has archived every packet", || {
        let archived = exported(&yamcs.get("/api/archive/cso-1:exportPackets")?);
        let count = |packets: &Packets| packets.values().map(Vec::len).sum::<usize>();
        if count(&archived) >= count(&packets) {
            Ok(archived)
        } else {
            Err(format!("{} of {} packets", count(&archived), count(&packets)))
        }
    });
    let lengths =
        |packets: &Packets| packets.iter().map(|(apid, hashes)| (*apid, hashes.len())).collect::<Vec<_>>();
    assert_eq!(lengths(&archived), lengths(&packets), "packets of each APID");
    assert!(archived == packets, "the same packets octet for octet");
    println!("{:?}", lengths(&archived));
    assert!(run.feeds.stop().success());
    unattended(&yamcs, frames, counted.0);
}

/// The same Yamcs, with nobody who waits for it: what was sent is what it counted and what its own socket had no room for,
/// to the frame.
fn unattended(yamcs: &Yamcs, frames: SocketAddr, before: u64) {
    let dropped_before = dropped(frames);
    let run = Run::start(UNATTENDED_FRAMES, UNATTENDED_BPS, UNATTENDED_BPS, frames);
    let (sent, ..) = run.through(|| {
        wait_until("the feed has sent every frame", || {
            let counts = run.counts()?;
            if counts.followed == UNATTENDED_FRAMES { Ok(counts) } else { Err(format!("{counts:?}")) }
        })
    });
    assert_eq!((sent.sent, sent.repeated), (UNATTENDED_FRAMES, 0));
    let (taken, invalid, drops) = wait_until("every frame is counted by Yamcs or by its socket", || {
        let (drops, (valid, invalid, _)) = (dropped(frames) - dropped_before, yamcs.counts()?);
        let taken = valid + invalid - before;
        let account = (taken, invalid, drops);
        if taken + drops >= UNATTENDED_FRAMES { Ok(account) } else { Err(format!("{account:?}")) }
    });
    println!(
        "unattended at {UNATTENDED_BPS} bit/s: {taken} taken, {invalid} invalid, {drops} dropped by the socket"
    );
    assert_eq!((taken + drops, invalid), (UNATTENDED_FRAMES, 0));
    assert!(run.feeds.stop().success());
}
