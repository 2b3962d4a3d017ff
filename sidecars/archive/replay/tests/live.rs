//! Live processes of ours as receivers of a replay: found by their sockets, whatever the configuration names.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fep_bus::{Colour, Record, Tag};
use fep_ccsds::Gvcid;
use fep_record::{FrameRecord, KIND_FRAME, Session};
use fep_replay::{Order, Phase, Played, Policy, Replay, ReplaySpec, ReplayStatus, Shelf, StartError};
use fep_segments::Stream;
use fep_time::Tai;

const LONG: Duration = Duration::from_secs(60);
/// What the other process does, as `what address`.
const ROLE: &str = "FEP_REPLAY_TEST_ROLE";

/// Not a test of its own: what the process that the tests start does. Without the variable it does nothing.
#[test]
fn the_other_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (what, address) = role.split_once(' ').expect("what and address");
    let address: SocketAddr = address.parse().expect("an address");
    let say = |said: &str| {
        println!("\n{said}");
        std::io::stdout().flush().expect("somebody reads");
    };
    // Until the test has closed our standard input.
    let wait = || drop(std::io::stdin().read_to_end(&mut Vec::new()));
    match what {
        "tcp" => {
            let listener = TcpListener::bind(address).expect("a port");
            say(&format!("at {}", listener.local_addr().expect("bound")));
            wait();
        }
        "udp" => {
            let socket = UdpSocket::bind(address).expect("a port");
            say(&format!("at {}", socket.local_addr().expect("bound")));
            wait();
        }
        "connect" => {
            let mut stream = TcpStream::connect(address).expect("it listens");
            say(&format!("at {}", stream.local_addr().expect("connected")));
            let mut octets = Vec::new();
            // A connection that is reset has brought nothing either.
            let _ = stream.read_to_end(&mut octets);
            say(&format!("received {}", octets.len()));
        }
        other => panic!("{other}"),
    }
}

/// A process of this program under another name.
struct Process {
    child: Child,
    _dir: tempfile::TempDir,
    said: std::io::BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(name: &str, role: &str) -> Process {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join(name);
        std::fs::copy(std::env::current_exe().expect("this program"), &program).expect("copied");
        let mut command = Command::new(&program);
        command.args(["--exact", "the_other_process", "--nocapture"]).env(ROLE, role);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let said = std::io::BufReader::new(child.stdout.take().expect("piped"));
        Process { child, _dir: dir, said }
    }

    /// The rest of the next line that begins so.
    fn hear(&mut self, beginning: &str) -> String {
        use std::io::BufRead;
        let mut line = String::new();
        while self.said.read_line(&mut line).expect("a pipe") > 0 {
            if let Some(rest) = line.trim_end().strip_prefix(beginning) {
                return rest.to_owned();
            }
            line.clear();
        }
        panic!("it ended without {beginning:?}");
    }

    fn address(&mut self) -> SocketAddr {
        self.hear("at ").parse().expect("an address")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn shelf() -> Box<Shelf> {
    let record = |number: u64| {
        let gvcid = Gvcid { tfvn: 0, scid: 673, vcid: 1 };
        let (flags, words) =
            FrameRecord { gvcid, session: Session::Ops, ..FrameRecord::default() }.to_words();
        // A millisecond between two.
        let received = Tai(number as i64 * 1_000_000);
        let tag = Tag { kind: KIND_FRAME, flags, received, published: received, words };
        let record =
            Record { seq: number + 1, pos: number * 192, len: 100, tag, payload_before: number * 100 };
        (Played { stream: 0, record }, vec![number as u8; 100])
    };
    Box::new(Shelf::new(vec![Stream::new(Colour::Black, "x.frames")], (0..1000).map(record).collect()))
}

/// Everything is named that can be: only the live process stands against it.
fn policy(address: SocketAddr) -> Policy {
    Policy { receivers: vec![address], raw_targets: vec![address], ..Policy::default() }
}

fn start(target: serde_json::Value, policy: &Policy) -> Result<Replay, StartError> {
    let spec = serde_json::json!({ "name": "test", "target": target, "loop": true });
    let spec: ReplaySpec = serde_json::from_value(spec).expect("a specification");
    Replay::start(spec, shelf(), policy)
}

fn until(what: &str, replay: &Replay, mut reached: impl FnMut(&ReplayStatus) -> bool) -> ReplayStatus {
    let give_up = Instant::now() + LONG;
    loop {
        let status = replay.status();
        if reached(&status) {
            return status;
        }
        assert!(Instant::now() < give_up, "{what} is not reached: {status:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

// REQ: FEP-REPLAY-151
#[test]
fn a_link_of_fepd_and_the_door_of_a_feed_are_no_receivers_by_whatever_address_they_are_named() {
    for program in ["fepd", "fep-feeds"] {
        for bind in ["127.0.0.1:0", "0.0.0.0:0"] {
            let mut tcp = Process::start(program, &format!("tcp {bind}"));
            let port = tcp.address().port();
            for ip in ["127.0.0.1", "127.0.0.2", "127.255.255.254", "[::1]", "[::ffff:127.0.0.1]"] {
                let address: SocketAddr = format!("{ip}:{port}").parse().expect("an address");
                for (kind, key) in [("tcp_client", "address"), ("tcp_server", "bind")] {
                    for form in ["framed", "raw"] {
                        let target = serde_json::json!({ "kind": kind, key: address, "form": form });
                        let refused = start(target, &policy(address)).err().expect("it is ours").to_string();
                        assert!(
                            refused.contains(&format!("in use by the live process {program} (")),
                            "{refused}"
                        );
                    }
                }
            }
            let mut udp = Process::start(program, &format!("udp {bind}"));
            let port = udp.address().port();
            for ip in
                ["127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "239.1.1.1", "255.255.255.255"]
            {
                let to: SocketAddr = format!("{ip}:{port}").parse().expect("an address");
                let target = serde_json::json!({ "kind": "udp", "to": to, "form": "raw" });
                let refused = start(target, &policy(to)).err().expect("it is ours").to_string();
                assert!(refused.contains(&format!("in use by the live process {program} (")), "{refused}");
            }
        }
    }
}

// REQ: FEP-REPLAY-151
#[test]
fn another_program_at_an_address_that_is_named_is_a_receiver() {
    let mut receiver = Process::start("mission-control", "udp 127.0.0.1:0");
    let to = receiver.address();
    let target = serde_json::json!({ "kind": "udp", "to": to });
    let replay = start(target, &policy(to)).expect("it starts");
    // Beyond the second look at whose it is.
    until("going on", &replay, |status| status.sent > 1500);
    replay.order(Order::Stop).expect("it runs");
    assert_eq!(replay.wait(LONG).phase, Phase::Stopped);
}

// REQ: FEP-REPLAY-152
#[test]
fn a_replay_ends_when_a_live_process_comes_to_where_it_goes() {
    let free = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    // Datagrams to a port where nobody is: the system says so now and then, so somebody is, beside the one to come.
    let beside = UdpSocket::bind(("127.0.0.2", free.port())).expect("the same port of another address");
    let to = beside.local_addr().expect("bound");
    let replay = start(serde_json::json!({ "kind": "udp", "to": to }), &policy(to)).expect("nobody of ours");
    until("going on", &replay, |status| status.sent > 0);
    let mut fepd = Process::start("fepd", &format!("udp {free}"));
    fepd.address();
    let status = until("the end", &replay, |status| status.phase.is_over());
    let problem = status.problem.expect("it failed");
    assert_eq!(status.phase, Phase::Failed);
    assert!(problem.contains("is in use by the live process fepd ("), "{problem}");
}

// REQ: FEP-REPLAY-152
#[test]
fn a_live_process_that_connects_to_a_replay_receives_nothing() {
    let bind: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    for form in ["framed", "raw"] {
        let target = serde_json::json!({ "kind": "tcp_server", "bind": bind, "form": form });
        let replay = start(target, &policy(bind)).expect("it listens");
        let address = replay.status().address.expect("it listens");
        // A link of fepd takes the address for that of its station.
        let mut fepd = Process::start("fepd", &format!("connect {address}"));
        let status = until("the end", &replay, |status| status.phase.is_over());
        let problem = status.problem.expect("it failed");
        assert!(problem.contains("comes from the live process fepd ("), "{problem}");
        assert_eq!((status.phase, status.sent), (Phase::Failed, 0));
        drop(replay);
        assert_eq!(fepd.hear("received "), "0");
    }
}
