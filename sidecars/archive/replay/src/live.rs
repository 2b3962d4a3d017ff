//! Whose the sockets of this machine are, as the kernel has it.
//!
//! A configuration says what a process was meant to do; the kernel says what it does. So before a replay leaves, and once a
//! second while it runs, the sockets at its address are looked up in `/proc/net`, and their processes in `/proc/PID`. A
//! program of ours is known by its name: `fepd`, or one that begins with `fep-`. What cannot be found out counts as ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fep_feed_wire::address::canonical;

/// Protocol of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// TCP states as `/proc/net/tcp` has them (`include/net/tcp_states.h`).
const TIME_WAIT: u8 = 6;
const LISTEN: u8 = 10;

/// Looks at the sockets of this machine.
#[derive(Debug, Clone)]
pub struct Live {
    proc: PathBuf,
    /// Sockets that were found to be others': the same ones need no second search.
    others: BTreeSet<u64>,
}

impl Default for Live {
    fn default() -> Live {
        Live { proc: PathBuf::from("/proc"), others: BTreeSet::new() }
    }
}

/// One line of `/proc/net/tcp` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    uid: u32,
    inode: u64,
}

/// Whether an address belongs to this machine: then every other address of it is only another way to the same processes.
pub(crate) fn is_of_this_machine(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    // A socket takes only an address that the machine has; port 0 asks for any that is free.
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

impl Live {
    /// Whether a live process of ours listens at this address (at the same port of any address of this machine, if it is one of
    /// this machine), or is connected to it. Sockets of this process are left out: those are replays.
    ///
    /// # Errors
    /// Who, or why it cannot be found out.
    pub(crate) fn check(&mut self, protocol: Protocol, address: SocketAddr) -> Result<(), String> {
        let address = canonical(address);
        let ip = address.ip();
        let group = ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        let here = group || is_of_this_machine(ip);
        self.search(protocol, |socket| {
            let listens = protocol == Protocol::Udp || socket.state == LISTEN;
            (listens && here && socket.local.port() == address.port())
                || (socket.state != TIME_WAIT && socket.remote == address)
        })
        .map_err(|who| format!("{address} is in use by {who}"))
    }

    /// Whether the other end of a connection is a live process of ours.
    ///
    /// # Errors
    /// As [`Live::check`].
    pub(crate) fn check_peer(&mut self, peer: SocketAddr, own: SocketAddr) -> Result<(), String> {
        let (peer, own) = (canonical(peer), canonical(own));
        self.search(Protocol::Tcp, |socket| socket.local == peer && socket.remote == own)
            .map_err(|who| format!("the connection from {peer} comes from {who}"))
    }

    /// Finds whether any of these sockets is ours.
    fn search(&mut self, protocol: Protocol, is_meant: impl Fn(&Socket) -> bool) -> Result<(), String> {
        let unknown = |error: io::Error| format!("a process that cannot be found out: {error}");
        let mut doubt = None;
        // What ends between two looks is not there at the second.
        for _ in 0..2 {
            let mut meant = self.sockets(protocol).map_err(unknown)?;
            meant.retain(|socket| {
                socket.inode != 0 && is_meant(socket) && !self.others.contains(&socket.inode)
            });
            if meant.is_empty() {
                return Ok(());
            }
            match self.owners(&meant).map_err(unknown)? {
                Owner::Ours(program) => return Err(format!("the live process {program}")),
                Owner::Others => {
                    self.others = meant.iter().map(|socket| socket.inode).collect();
                    return Ok(());
                }
                Owner::Unknown(why) => doubt = Some(why),
            }
        }
        doubt.map_or(Ok(()), Err)
    }

    fn sockets(&self, protocol: Protocol) -> io::Result<Vec<Socket>> {
        let (four, six) = match protocol {
            Protocol::Tcp => ("net/tcp", "net/tcp6"),
            Protocol::Udp => ("net/udp", "net/udp6"),
        };
        let mut sockets = parse(&fs::read_to_string(self.proc.join(four))?);
        match fs::read_to_string(self.proc.join(six)) {
            Ok(text) => sockets.extend(parse(&text)),
            // A system without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(sockets)
    }

    /// Whose these sockets are, all together.
    fn owners(&self, sockets: &[Socket]) -> io::Result<Owner> {
        let mut open: BTreeMap<u64, u32> = sockets.iter().map(|socket| (socket.inode, socket.uid)).collect();
        let mut seen = BTreeSet::new();
        // Programs of ours whose sockets this process may not see, by user.
        let mut hidden: BTreeMap<u32, String> = BTreeMap::new();
        for entry in fs::read_dir(&self.proc)? {
            let path = entry?.path();
            let pid =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
            let Some(pid) = pid else { continue };
            // A process that ends meanwhile has no sockets any more.
            let (Ok(program), Some(uid)) = (fs::read_to_string(path.join("comm")), uid_of(&path)) else {
                continue;
            };
            let program = program.trim_end();
            seen.insert(uid);
            match inodes_of(&path) {
                Ok(inodes) => {
                    let holds: Vec<u64> =
                        inodes.into_iter().filter(|inode| open.contains_key(inode)).collect();
                    if is_ours(program) && pid != std::process::id() && !holds.is_empty() {
                        return Ok(Owner::Ours(format!("{program} ({pid})")));
                    }
                    open.retain(|inode, _| !holds.contains(inode));
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_ours(program) => {
                    hidden.insert(uid, format!("{program} ({pid})"));
                }
                Err(_) => {}
            }
        }
        for uid in open.values() {
            if let Some(program) = hidden.get(uid) {
                return Ok(Owner::Ours(format!("{program}, or another process of user {uid}")));
            }
            if !seen.contains(uid) {
                let why = format!("a process of user {uid}, whose processes cannot be seen here");
                return Ok(Owner::Unknown(why));
            }
        }
        Ok(Owner::Others)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Owner {
    Ours(String),
    Others,
    Unknown(String),
}

fn is_ours(program: &str) -> bool {
    program == "fepd" || program.starts_with("fep-")
}

fn uid_of(process: &Path) -> Option<u32> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    // Real, effective, saved, of the file system: sockets belong to the last.
    line.split_ascii_whitespace().next_back()?.parse().ok()
}

/// Inodes of the sockets that a process has open.
fn inodes_of(process: &Path) -> io::Result<Vec<u64>> {
    let mut inodes = Vec::new();
    for entry in fs::read_dir(process.join("fd"))? {
        let Ok(link) = fs::read_link(entry?.path()) else { continue };
        let octets = link.as_os_str().as_bytes();
        let inode = octets.strip_prefix(b"socket:[").and_then(|rest| rest.strip_suffix(b"]"));
        let inode: Option<u64> =
            inode.and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
        inodes.extend(inode);
    }
    Ok(inodes)
}

/// The sockets of a table; its heading and lines of another form are passed over.
fn parse(text: &str) -> Vec<Socket> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let local = parse_address(words.next()?)?;
    let remote = parse_address(words.next()?)?;
    let state = u8::from_str_radix(words.next()?, 16).ok()?;
    // Queues, timer, retransmissions.
    let uid = words.nth(3)?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    Some(Socket { local, remote, state, uid, inode })
}

/// `0100007F:1F90`: words of 32 bits as this processor reads them from network order, and the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if !ip.is_ascii() {
        return None;
    }
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut octets = [0; 16];
            octets.as_chunks_mut::<4>().0.copy_from_slice(&words);
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    // The oracle is the kernel: what the system says of sockets that this test has made.
    #[test]
    fn the_kernels_tables_are_read_as_the_sockets_are() {
        let inode_of = |fd: std::os::fd::RawFd| {
            let link = fs::read_link(format!("/proc/self/fd/{fd}")).expect("open");
            let text = link.to_string_lossy().into_owned();
            text.trim_start_matches("socket:[").trim_end_matches(']').parse::<u64>().expect("a socket")
        };
        use std::os::fd::AsRawFd;
        let live = Live::default();
        for bind in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(bind) else { continue };
            let address = listener.local_addr().expect("bound");
            let tables = live.sockets(Protocol::Tcp).expect("a table");
            let inode = inode_of(listener.as_raw_fd());
            let found = tables.iter().find(|socket| socket.inode == inode).expect("it is in the table");
            assert_eq!((found.local, found.state), (address, LISTEN));
            let udp = UdpSocket::bind(bind).expect("a port");
            let inode = inode_of(udp.as_raw_fd());
            let tables = live.sockets(Protocol::Udp).expect("a table");
            let found = tables.iter().find(|socket| socket.inode == inode).expect("it is in the table");
            assert_eq!(found.local, udp.local_addr().expect("bound"));
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let inode = inode_of(stream.as_raw_fd());
        let tables = live.sockets(Protocol::Tcp).expect("a table");
        let found = tables.iter().find(|socket| socket.inode == inode).expect("it is in the table");
        assert_eq!(found.local, stream.local_addr().expect("connected"));
        assert_eq!(found.remote, stream.peer_addr().expect("connected"));
        assert_eq!(parse("no table\n 1: xx yy\n 2: 0100007F:12 é\n"), []);
    }

    /// A `/proc` with one socket, which listens on port 4101 of every address, and one process.
    fn proc(program: &str, pid: u32, uid_of_process: u32, holds: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("net")).expect("made");
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let port = 4101;
        let row = format!(
            "   0: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 777 1 0 0\n"
        );
        fs::write(dir.path().join("net/tcp"), format!("{heading}{row}")).expect("written");
        fs::write(dir.path().join("net/udp"), heading).expect("written");
        let process = dir.path().join(pid.to_string());
        fs::create_dir_all(process.join("fd")).expect("made");
        fs::write(process.join("comm"), format!("{program}\n")).expect("written");
        let uid = uid_of_process;
        fs::write(process.join("status"), format!("Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"))
            .expect("written");
        if !holds.is_empty() {
            std::os::unix::fs::symlink(holds, process.join("fd/3")).expect("linked");
        }
        dir
    }

    fn check(dir: &tempfile::TempDir, address: &str) -> Result<(), String> {
        let mut live = Live { proc: dir.path().to_owned(), ..Live::default() };
        live.check(Protocol::Tcp, address.parse().expect("an address"))
    }

    // REQ: FEP-REPLAY-151
    #[test]
    fn a_socket_is_ours_by_its_process_and_in_doubt_it_is_ours() {
        let fepd = proc("fepd", 4_000_001, 1000, "socket:[777]");
        let refused = check(&fepd, "127.0.0.1:4101").expect_err("it is fepd's");
        assert_eq!(refused, "127.0.0.1:4101 is in use by the live process fepd (4000001)");
        assert_eq!(check(&fepd, "127.0.0.1:4102"), Ok(()), "another port");
        assert_eq!(check(&fepd, "192.0.2.7:4101"), Ok(()), "another machine");
        let feeds = proc("fep-feeds", 4_000_001, 1000, "socket:[777]");
        assert!(check(&feeds, "127.0.0.1:4101").is_err());
        let yamcs = proc("java", 4_000_001, 1000, "socket:[777]");
        assert_eq!(check(&yamcs, "127.0.0.1:4101"), Ok(()), "a receiver");
        let replay = proc("fep-archive", std::process::id(), 1000, "socket:[777]");
        assert_eq!(check(&replay, "127.0.0.1:4101"), Ok(()), "a replay's own socket");
        // The owner is not seen: another process of its user is, and is not ours.
        let other = proc("java", 4_000_001, 1000, "");
        assert_eq!(check(&other, "127.0.0.1:4101"), Ok(()));
        // No process of its user is seen at all.
        let nobody = proc("fepd", 4_000_001, 2000, "");
        let refused = check(&nobody, "127.0.0.1:4101").expect_err("whose is it?");
        assert!(refused.contains("user 1000, whose processes cannot be seen here"), "{refused}");
        // There is no table.
        let empty = tempfile::tempdir().expect("a directory");
        let refused = check(&empty, "127.0.0.1:4101").expect_err("nothing is known");
        assert!(refused.contains("cannot be found out"), "{refused}");
    }
}
