//! Sockets with the options a station link wants. Nothing here waits: sockets are made, not connected.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::spec::{LinkSpec, UdpSpec};

/// A TCP socket for one attempt to connect to `address`.
pub(crate) fn tcp_client(address: SocketAddr, spec: &LinkSpec) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Before connecting, so that the window scale is negotiated for it.
    set_receive_buffer(&socket, spec)?;
    set_connection_options(&socket, spec)?;
    Ok(socket)
}

/// A listening TCP socket.
pub(crate) fn tcp_listener(address: SocketAddr, spec: &LinkSpec) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait until connections of the last run have left TIME_WAIT.
    socket.set_reuse_address(true)?;
    set_receive_buffer(&socket, spec)?;
    socket.bind(&address.into())?;
    socket.listen(16)?;
    Ok(socket)
}

/// Keep-alive and TCP_USER_TIMEOUT, by which the kernel finds out that the other end is gone; and no waiting for more octets before
/// some are sent.
pub(crate) fn set_connection_options(socket: &Socket, spec: &LinkSpec) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if spec.keepalive_idle_s > 0 {
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(u64::from(spec.keepalive_idle_s)))
            .with_interval(Duration::from_secs(u64::from(spec.keepalive_interval_s)))
            .with_retries(spec.keepalive_probes);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    let timeout = Duration::from_millis(u64::from(spec.half_open_timeout_ms));
    socket.set_tcp_user_timeout((!timeout.is_zero()).then_some(timeout))
}

/// Closes with a reset, so that a refused station learns it at once.
pub(crate) fn refuse(socket: Socket) {
    // If the option cannot be set the station sees an orderly close instead, which refuses it as well.
    let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
}

/// A bound datagram socket that stamps arrivals and counts drops, in its multicast group if one is given.
pub(crate) fn udp(udp: &UdpSpec, spec: &LinkSpec) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(udp.bind), Type::DGRAM, Some(Protocol::UDP))?;
    if udp.multicast_group.is_some() {
        // Several links or programs of one host may listen to one group.
        socket.set_reuse_address(true)?;
    }
    set_receive_buffer(&socket, spec)?;
    let one: libc::c_int = 1;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &one)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &one)?;
    socket.bind(&udp.bind.into())?;
    if let Some(group) = udp.multicast_group {
        join(&socket, group, udp)?;
        send_from(&socket, udp)?;
    }
    Ok(socket)
}

/// Datagrams to a group leave by the interface on which ours is joined.
fn send_from(socket: &Socket, udp: &UdpSpec) -> io::Result<()> {
    let Some(name) = udp.multicast_interface.as_deref() else { return Ok(()) };
    match (udp.bind.ip(), name.parse::<Ipv4Addr>()) {
        (IpAddr::V4(_), Ok(address)) => socket.set_multicast_if_v4(&address),
        (IpAddr::V4(_), Err(_)) => {
            let request = libc::ip_mreqn {
                imr_multiaddr: libc::in_addr { s_addr: 0 },
                imr_address: libc::in_addr { s_addr: 0 },
                imr_ifindex: interface_index(socket, name)? as libc::c_int,
            };
            set_option(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
        }
        (IpAddr::V6(_), _) => socket.set_multicast_if_v6(interface_index(socket, name)?),
    }
}

fn join(socket: &Socket, group: IpAddr, udp: &UdpSpec) -> io::Result<()> {
    let named = udp.multicast_interface.as_deref();
    match group {
        IpAddr::V4(group) => {
            let interface = match named.map(|name| name.parse::<Ipv4Addr>().map_err(|_| name)) {
                None => InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED),
                Some(Ok(address)) => InterfaceIndexOrAddress::Address(address),
                Some(Err(name)) => InterfaceIndexOrAddress::Index(interface_index(socket, name)?),
            };
            // Without this the kernel also delivers groups that other programs of the host have joined.
            socket.set_multicast_all_v4(false)?;
            match (udp.multicast_source, interface) {
                // LinkSpec::validate lets a source come with an interface address only.
                (Some(IpAddr::V4(source)), InterfaceIndexOrAddress::Address(address)) => {
                    socket.join_ssm_v4(&source, &group, &address)
                }
                (_, interface) => socket.join_multicast_v4_n(&group, &interface),
            }
        }
        IpAddr::V6(group) => {
            let index = named.map_or(Ok(0), |name| interface_index(socket, name))?;
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(&group, index)
        }
    }
}

/// Whether a socket is still in its group: a kernel forgets memberships with an interface that is removed, and an interface
/// of the same name or address that comes later is another one. One that is only down and up again keeps them.
///
/// IPv6 without `multicast_interface` cannot be looked at: the kernel answers for the membership it has forgotten.
///
/// # Errors
/// It is not, and why. The socket is of no use any more.
pub(crate) fn check_membership(socket: &Socket, group: IpAddr, udp: &UdpSpec) -> io::Result<()> {
    // There is nothing to ask for memberships; but a second one is refused.
    match join(socket, group, udp) {
        Ok(()) => Err(io::Error::from_raw_os_error(libc::ENODEV)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EADDRINUSE) => Ok(()),
            // So it is said of a source.
            Some(libc::EADDRNOTAVAIL) if udp.multicast_source.is_some() => Ok(()),
            _ => Err(error),
        },
    }
}

fn interface_index(socket: &Socket, name: &str) -> io::Result<u32> {
    rustix::net::netdevice::name_to_index(socket, name).map_err(|error| {
        io::Error::new(io::Error::from(error).kind(), format!("multicast_interface \"{name}\": {error}"))
    })
}

/// Asks for the kernel buffer of the specification: beyond the system's limit if we may, up to it if not.
fn set_receive_buffer(socket: &Socket, spec: &LinkSpec) -> io::Result<()> {
    let Some(bytes) = spec.socket_buffer() else { return Ok(()) };
    match set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(bytes as libc::c_int)) {
        Ok(()) => Ok(()),
        Err(_) => socket.set_recv_buffer_size(bytes as usize),
    }
}

fn set_option<T: Copy>(
    socket: &Socket,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the value is a C type of the size given, which the kernel only reads.
    let answer = unsafe {
        let value = (&raw const *value).cast();
        libc::setsockopt(socket.as_raw_fd(), level, option, value, size_of::<T>() as _)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Datagrams this socket dropped so far because its buffer was full, modulo 2^32.
pub(crate) fn drops(socket: &Socket) -> io::Result<u32> {
    /// `linux/sock_diag.h`: SK_MEMINFO_DROPS, the ninth of the words SO_MEMINFO gives.
    const DROPS: usize = 8;
    let mut words = [0u32; DROPS + 1];
    let mut len = size_of_val(&words) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` octets into `words` and says in `len` how many it wrote.
    let answer = unsafe {
        let words = (&raw mut words).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, words, &raw mut len)
    };
    match answer {
        0 if len as usize == size_of_val(&words) => Ok(words[DROPS]),
        0 => Err(io::ErrorKind::Unsupported.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-NET-006
    #[test]
    fn keep_alive_and_user_timeout_are_set_as_specified() {
        let address = "127.0.0.1:4001".parse().unwrap();
        let mut spec = LinkSpec::tcp_client(address);
        (spec.keepalive_idle_s, spec.keepalive_interval_s, spec.keepalive_probes) = (7, 3, 4);
        spec.half_open_timeout_ms = 4321;
        let socket = tcp_client(address, &spec).unwrap();
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(7));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(3));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(4321)));
        spec.keepalive_idle_s = 0;
        assert!(!tcp_client(address, &spec).unwrap().keepalive().unwrap());
    }

    #[test]
    fn a_receive_buffer_beyond_the_systems_limit_is_granted_or_cut_but_never_an_error() {
        let mut spec = LinkSpec::udp("127.0.0.1:0".parse().unwrap());
        spec.socket_buffer_bytes = Some(1 << 30);
        let crate::spec::TransportSpec::Udp(of_spec) = &spec.transport else { unreachable!() };
        let socket = udp(of_spec, &spec).unwrap();
        assert!(socket.recv_buffer_size().unwrap() > 4096);
        assert_eq!(drops(&socket).unwrap(), 0);
    }
}
