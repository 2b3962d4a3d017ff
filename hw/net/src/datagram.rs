//! What the kernel says about a datagram beside its octets: control messages (recvmsg(2), cmsg(3)).
//!
//! Pure parsing of octets; malformed control data gives no facts, never a fault.

use std::net::{SocketAddr, SocketAddrV6};

/// Room for the control messages we ask for: SCM_TIMESTAMPNS (16 + 16 octets) and SO_RXQ_OVFL (16 + 4, padded to 24).
pub(crate) const CONTROL_BYTES: usize = 64;

/// `struct io_uring_recvmsg_out`: four 32-bit words, put before the control messages of a multishot datagram.
pub(crate) const MULTISHOT_HEADER_BYTES: usize = 16;

/// Room for the address of a sender: `sockaddr_in` needs 16 octets of it, `sockaddr_in6` 28; a multiple of 8, so that what follows
/// is aligned.
pub(crate) const SENDER_BYTES: usize = 32;

const HEADER_BYTES: usize = 16;
const ALIGN: usize = 8;

/// One received datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Datagram<'a> {
    pub(crate) payload: &'a [u8],
    /// It was longer than the buffer.
    pub(crate) truncated: bool,
    /// Reading of the socket's drop counter when the datagram was queued; the kernel is silent while it is 0.
    pub(crate) drops: Option<u32>,
    /// When the kernel received it: UTC, nanoseconds since 1970-01-01.
    pub(crate) rx_utc_ns: Option<i64>,
    /// Who sent it, where that was asked for.
    pub(crate) sender: Option<SocketAddr>,
}

/// Takes apart a buffer that a multishot receive filled: header, `sender_bytes` for the sender's address, room for control messages,
/// payload.
pub(crate) fn multishot(buffer: &[u8], sender_bytes: usize) -> Option<Datagram<'_>> {
    let (header, rest) = buffer.split_first_chunk::<MULTISHOT_HEADER_BYTES>()?;
    let word = |at: usize| Some(u32::from_ne_bytes(*header.get(at..)?.first_chunk::<4>()?));
    let (control_len, flags) = (word(4)? as usize, word(12)?);
    let (sender, rest) = rest.split_at_checked(sender_bytes)?;
    let (control, payload) = rest.split_first_chunk::<CONTROL_BYTES>()?;
    let truncated = flags & libc::MSG_TRUNC.unsigned_abs() != 0;
    let datagram = with_control(payload, control.get(..control_len)?, truncated);
    Some(Datagram { sender: address(sender), ..datagram })
}

/// The address that a `sockaddr` holds (ip(7), ipv6(7)); `None` for other families and for too few octets.
pub(crate) fn address(octets: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = octets.split_first_chunk::<2>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => Some(SocketAddr::from((*rest.first_chunk::<4>()?, port))),
        libc::AF_INET6 => {
            let (flow, rest) = rest.split_first_chunk::<4>()?;
            let (address, rest) = rest.split_first_chunk::<16>()?;
            let scope = u32::from_ne_bytes(*rest.first_chunk::<4>()?);
            Some(SocketAddrV6::new((*address).into(), port, u32::from_be_bytes(*flow), scope).into())
        }
        _ => None,
    }
}

/// Joins a payload with what its control messages say.
pub(crate) fn with_control<'a>(payload: &'a [u8], mut control: &[u8], truncated: bool) -> Datagram<'a> {
    let mut datagram = Datagram { payload, truncated, drops: None, rx_utc_ns: None, sender: None };
    while let Some((header, rest)) = control.split_first_chunk::<HEADER_BYTES>() {
        let [l0, l1, l2, l3, l4, l5, l6, l7, v0, v1, v2, v3, k0, k1, k2, k3] = *header;
        let len = usize::from_ne_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
        let level = i32::from_ne_bytes([v0, v1, v2, v3]);
        let kind = i32::from_ne_bytes([k0, k1, k2, k3]);
        let Some(data) = len.checked_sub(HEADER_BYTES).and_then(|len| rest.get(..len)) else { break };
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                datagram.drops = data.first_chunk::<4>().map(|count| u32::from_ne_bytes(*count));
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => datagram.rx_utc_ns = timestamp(data),
            _ => {}
        }
        control = rest.get(data.len().next_multiple_of(ALIGN)..).unwrap_or(&[]);
    }
    datagram
}

fn timestamp(data: &[u8]) -> Option<i64> {
    let (seconds, rest) = data.split_first_chunk::<8>()?;
    let nanoseconds = rest.first_chunk::<8>()?;
    i64::from_ne_bytes(*seconds).checked_mul(1_000_000_000)?.checked_add(i64::from_ne_bytes(*nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER_BYTES + data.len()).to_ne_bytes().to_vec();
        bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        bytes
    }

    #[test]
    fn drop_count_and_kernel_time_are_found_in_either_order() {
        let time: Vec<u8> = [7i64.to_ne_bytes(), 9i64.to_ne_bytes()].concat();
        let (time, drops) =
            (message(libc::SCM_TIMESTAMPNS, &time), message(libc::SO_RXQ_OVFL, &42u32.to_ne_bytes()));
        assert_eq!(time.len() + drops.len(), 56);
        for control in [[time.clone(), drops.clone()].concat(), [drops, time].concat()] {
            let datagram = with_control(b"x", &control, false);
            assert_eq!((datagram.drops, datagram.rx_utc_ns), (Some(42), Some(7_000_000_009)));
        }
    }

    #[test]
    fn a_multishot_buffer_of_any_length_is_taken_apart_without_harm() {
        let mut buffer =
            [0u32, CONTROL_BYTES as u32, 3, libc::MSG_TRUNC.unsigned_abs()].map(u32::to_ne_bytes).concat();
        buffer.resize(MULTISHOT_HEADER_BYTES + CONTROL_BYTES, 0);
        buffer.extend(b"abc");
        for cut in 0..MULTISHOT_HEADER_BYTES + CONTROL_BYTES {
            assert_eq!(multishot(&buffer[..cut], 0), None, "cut at {cut}");
        }
        let whole = multishot(&buffer, 0).unwrap();
        assert_eq!((whole.payload, whole.truncated), (&b"abc"[..], true));
        buffer[4..8].copy_from_slice(&65u32.to_ne_bytes());
        assert_eq!(multishot(&buffer, 0), None);
    }

    #[test]
    fn the_address_of_a_sender_is_read_from_what_the_kernel_writes_and_from_nothing_less() {
        for text in ["192.0.2.7:4001", "[2001:db8::7]:65535", "[fe80::1%7]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut octets = Vec::new();
            match address {
                SocketAddr::V4(v4) => {
                    octets.extend((libc::AF_INET as u16).to_ne_bytes());
                    octets.extend(v4.port().to_be_bytes());
                    octets.extend(v4.ip().octets());
                }
                SocketAddr::V6(v6) => {
                    octets.extend((libc::AF_INET6 as u16).to_ne_bytes());
                    octets.extend(v6.port().to_be_bytes());
                    octets.extend(v6.flowinfo().to_be_bytes());
                    octets.extend(v6.ip().octets());
                    octets.extend(v6.scope_id().to_ne_bytes());
                }
            }
            for cut in 0..octets.len() {
                assert_eq!(super::address(&octets[..cut]), None, "{text} cut at {cut}");
            }
            octets.resize(SENDER_BYTES, 0);
            assert_eq!(super::address(&octets), Some(address));
        }
        assert_eq!(super::address(&[0; SENDER_BYTES]), None);
    }

    #[test]
    fn malformed_control_messages_say_nothing_and_do_no_harm() {
        let good = message(libc::SO_RXQ_OVFL, &42u32.to_ne_bytes());
        for cut in 0..HEADER_BYTES + 4 {
            assert_eq!(with_control(b"x", &good[..cut], false).drops, None, "cut at {cut}");
        }
        for len in [0usize, 1, 15, 17, usize::MAX] {
            let mut bad = good.clone();
            bad[..8].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(with_control(b"x", &bad, false).drops, None, "length {len}");
        }
    }
}
