//! What only one link can have: a local address, a serial line, standard input.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use fep_net::TransportSpec;

/// What has been claimed, and by whom.
#[derive(Default)]
pub(super) struct Exclusive {
    claims: Vec<(Claim, String)>,
}

/// One thing that cannot be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Claim {
    Tcp(SocketAddr),
    /// Sockets of multicast groups share an address with one another, and with nobody else.
    Udp {
        bind: SocketAddr,
        multicast: bool,
    },
    Serial(PathBuf),
    Stdin,
}

impl Exclusive {
    /// The exporter of metrics listens there.
    pub(super) fn claim_metrics(&mut self, address: SocketAddr) {
        if address.port() != 0 {
            self.claims.push((Claim::Tcp(address), "daemon.metrics_address".to_owned()));
        }
    }

    /// `who` receives by this transport.
    ///
    /// # Errors
    /// Somebody else does, in words, with both names.
    pub(super) fn claim(&mut self, transport: &TransportSpec, who: &str) -> Result<(), String> {
        let claim = match transport {
            // Port 0 becomes another one for each.
            TransportSpec::TcpServer(tcp) if tcp.address.port() != 0 => Claim::Tcp(tcp.address),
            TransportSpec::Udp(udp) if udp.bind.port() != 0 => {
                Claim::Udp { bind: udp.bind, multicast: udp.multicast_group.is_some() }
            }
            TransportSpec::Serial(serial) => Claim::Serial(plain(&serial.device)),
            TransportSpec::Stdin(_) => Claim::Stdin,
            // A FIFO cannot be told from a file before it is opened, and a file is read by as many as like.
            TransportSpec::TcpServer(_)
            | TransportSpec::TcpClient(_)
            | TransportSpec::Udp(_)
            | TransportSpec::File(_) => return Ok(()),
        };
        let clash = self.claims.iter().find_map(|(other, by)| clash(&claim, other, who, by));
        // It is claimed all the same: a third one clashes with the first, and is told so.
        self.claims.push((claim, who.to_owned()));
        clash.map_or(Ok(()), Err)
    }
}

/// Why two claims cannot both be granted.
fn clash(new: &Claim, old: &Claim, who: &str, by: &str) -> Option<String> {
    match (new, old) {
        (Claim::Tcp(new), Claim::Tcp(old)) => overlap("tcp", *new, *old, who, by),
        (Claim::Udp { multicast: true, .. }, Claim::Udp { multicast: true, .. }) => None,
        (Claim::Udp { bind: new, .. }, Claim::Udp { bind: old, .. }) => overlap("udp", *new, *old, who, by),
        (Claim::Serial(new), Claim::Serial(old)) if new == old => {
            Some(format!("{who} and {by} read the same line, {}", new.display()))
        }
        (Claim::Stdin, Claim::Stdin) => {
            Some(format!("{who} and {by} both read standard input: each would get a part of it"))
        }
        _ => None,
    }
}

fn overlap(kind: &str, new: SocketAddr, old: SocketAddr, who: &str, by: &str) -> Option<String> {
    if !overlaps(new, old) {
        return None;
    }
    Some(match new == old {
        true => format!("{kind} {new} is received by {by} too"),
        false => format!("{kind} {new} of {who} overlaps {kind} {old} of {by}"),
    })
}

/// Whether the kernel refuses to bind both: the same port, and one address is the other or holds it. `[::]` holds every IPv4
/// address as well (`net.ipv6.bindv6only` is 0 unless somebody sets it), and `::ffff:192.0.2.7` is `192.0.2.7`.
fn overlaps(a: SocketAddr, b: SocketAddr) -> bool {
    let (x, y) = (a.ip().to_canonical(), b.ip().to_canonical());
    let holds = |wide: IpAddr, narrow: IpAddr| {
        wide == narrow || (wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4()))
    };
    // A link-local address means another one on each interface.
    let scopes_differ = match (a, b) {
        (SocketAddr::V6(a), SocketAddr::V6(b)) => {
            a.scope_id() != b.scope_id() && a.scope_id() != 0 && b.scope_id() != 0
        }
        _ => false,
    };
    a.port() == b.port() && !scopes_differ && (holds(x, y) || holds(y, x))
}

/// Without `.` and doubled separators: names of one file that look different only by these are the same.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    // REQ: FEP-CFG-300
    #[test]
    fn two_addresses_overlap_exactly_when_the_kernel_refuses_to_bind_both() {
        let ips = ["0.0.0.0", "127.0.0.1", "127.0.0.2", "[::]", "[::1]", "[::ffff:127.0.0.1]"];
        for first in ips {
            for second in ips {
                let Ok(tcp) = TcpListener::bind(format!("{first}:0")) else { continue };
                let a = tcp.local_addr().unwrap();
                let b: SocketAddr = format!("{second}:{}", a.port()).parse().unwrap();
                let refused = TcpListener::bind(b).is_err();
                assert_eq!(overlaps(a, b), refused, "tcp {a} and {b}");
                assert_eq!(overlaps(b, a), refused, "tcp {b} and {a}");
                let Ok(udp) = UdpSocket::bind(format!("{first}:0")) else { continue };
                let a = udp.local_addr().unwrap();
                let b: SocketAddr = format!("{second}:{}", a.port()).parse().unwrap();
                assert_eq!(overlaps(a, b), UdpSocket::bind(b).is_err(), "udp {a} and {b}");
            }
        }
    }
}
