//! Which addresses are the same door: what a person writes in one way, the system may know by another.

use std::net::{IpAddr, SocketAddr};

/// The address as the system sees it: `::ffff:127.0.0.1` is `127.0.0.1`.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether `list` names this machine, however either is written.
#[must_use]
pub fn names(list: &[IpAddr], ip: IpAddr) -> bool {
    list.iter().any(|named| named.to_canonical() == ip.to_canonical())
}

/// Whether what arrives at one of two addresses could arrive at the other: the same port, and the same machine or all addresses
/// of one. `0.0.0.0` is every IPv4 address, `[::]` every address of either version. Port 0 is a port that nobody else has.
#[must_use]
pub fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (one, other) = (canonical(one), canonical(other));
    let covers = |all: IpAddr, ip: IpAddr| match all {
        IpAddr::V4(all) => all.is_unspecified() && ip.is_ipv4(),
        IpAddr::V6(all) => all.is_unspecified(),
    };
    one.port() == other.port()
        && one.port() != 0
        && (one.ip() == other.ip() || covers(one.ip(), other.ip()) || covers(other.ip(), one.ip()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_ways_to_write_a_door_are_one_door() {
        let overlap = |one: &str, other: &str| {
            let (one, other) = (one.parse().expect("an address"), other.parse().expect("an address"));
            assert_eq!(super::overlap(one, other), super::overlap(other, one), "either way round");
            super::overlap(one, other)
        };
        for (one, other) in [
            ("127.0.0.1:4101", "127.0.0.1:4101"),
            ("127.0.0.1:4101", "[::ffff:127.0.0.1]:4101"),
            ("127.0.0.1:4101", "0.0.0.0:4101"),
            ("10.0.0.7:4101", "[::ffff:0.0.0.0]:4101"),
            ("10.0.0.7:4101", "[::]:4101"),
            ("[::1]:4101", "[::]:4101"),
            ("0.0.0.0:4101", "[::]:4101"),
        ] {
            assert!(overlap(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("127.0.0.1:4101", "127.0.0.1:4102"),
            ("127.0.0.1:4101", "127.0.0.2:4101"),
            ("[::1]:4101", "0.0.0.0:4101"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("0.0.0.0:0", "[::]:0"),
        ] {
            assert!(!overlap(one, other), "{one} {other}");
        }
    }
}
