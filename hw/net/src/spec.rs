//! What a station link is told to do: the configuration the daemon reads from TOML, and its checks.
//!
//! This module is data and arithmetic only; it opens nothing. Every field has a default that suits a station on
//! a local network, every check names the field, the value it had and what is allowed.
//!
//! ```toml
//! transport = { kind = "tcp_client", address = "127.0.0.1:4001" }
//! wait = "adaptive"
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

/// One station link: where the bytes come from and how the receiving thread behaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// Where the bytes come from.
    pub transport: TransportSpec,
    /// What a turn does when nothing has arrived.
    #[serde(default)]
    pub wait: WaitMode,
    /// The longest one turn of `poll` may sleep, in microseconds, 1..=1_000_000. Default 10_000.
    #[serde(default = "defaults::max_wait_us")]
    pub max_wait_us: u32,
    /// `wait = "adaptive"`: how long after the last byte the thread keeps spinning before it sleeps, in
    /// microseconds, 0..=1_000_000. Default 50.
    #[serde(default = "defaults::spin_us")]
    pub spin_us: u32,
    /// Receive into provided buffers with multishot requests where the kernel has them (6.0 and later).
    /// `false` forces one request a receive, into one buffer of our own. Default true.
    #[serde(default = "defaults::multishot")]
    pub multishot: bool,
    /// Size of one receive buffer in octets, 4096..=16 MiB. Default 128 KiB. Not used by `udp`, whose
    /// buffers follow `max_datagram_bytes`.
    #[serde(default = "defaults::receive_buffer_bytes")]
    pub receive_buffer_bytes: u32,
    /// How many receive buffers, a power of two, 2..=32768. Default: 8 for streams, 1024 for datagrams.
    #[serde(default)]
    pub receive_buffers: Option<u16>,
    /// Kernel socket buffer asked for (SO_RCVBUFFORCE, else SO_RCVBUF), in octets, 4096..=1 GiB.
    /// Default: the kernel's own sizing for TCP, 32 MiB for UDP.
    #[serde(default)]
    pub socket_buffer_bytes: Option<u32>,
    /// First pause before a new attempt to connect, in milliseconds, 1..=`reconnect_max_ms`. Default 100.
    #[serde(default = "defaults::reconnect_min_ms")]
    pub reconnect_min_ms: u32,
    /// Longest pause before a new attempt to connect, in milliseconds, at most one hour. Default 10_000.
    /// Pauses double from the first to this one; each is shortened at random by up to half of itself, so that
    /// links that failed together do not come back together.
    #[serde(default = "defaults::reconnect_max_ms")]
    pub reconnect_max_ms: u32,
    /// How long one attempt to connect may take, in milliseconds, 1..=600_000. Default 3_000.
    #[serde(default = "defaults::connect_timeout_ms")]
    pub connect_timeout_ms: u32,
    /// TCP: how long sent data (keep-alive probes too) may stay unacknowledged before the kernel gives the
    /// connection up (TCP_USER_TIMEOUT), in milliseconds, 0 (the kernel's own rule)..=3_600_000. Default 10_000.
    #[serde(default = "defaults::half_open_timeout_ms")]
    pub half_open_timeout_ms: u32,
    /// TCP: silence before the first keep-alive probe, in seconds, 0 (no probes)..=32_767. Default 5.
    #[serde(default = "defaults::keepalive_idle_s")]
    pub keepalive_idle_s: u32,
    /// TCP: time between keep-alive probes, in seconds, 1..=32_767. Default 2.
    #[serde(default = "defaults::keepalive_interval_s")]
    pub keepalive_interval_s: u32,
    /// TCP: unanswered probes before the connection is given up, 1..=127. Default 3.
    #[serde(default = "defaults::keepalive_probes")]
    pub keepalive_probes: u32,
    /// TCP: drop a connection that delivered no octet for so long, in milliseconds, 1..=86_400_000; it counts as half-open.
    /// Default: none, because many stations are silent between passes.
    #[serde(default)]
    pub idle_timeout_ms: Option<u32>,
}

/// Where the bytes of a link come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TransportSpec {
    /// We connect to the station.
    TcpClient(TcpClientSpec),
    /// The station connects to us, one at a time.
    TcpServer(TcpServerSpec),
    /// The station sends datagrams, to this host or to a multicast group.
    Udp(UdpSpec),
    /// A raw serial line.
    Serial(SerialSpec),
    /// A regular file, paced or as fast as it is taken, once or repeatedly.
    File(FileSpec),
    /// Standard input: a pipe, a terminal or a redirected file.
    Stdin(StdinSpec),
}

/// `kind = "tcp_client"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpClientSpec {
    /// The station's address, an IP address and a port. Names are not resolved: that would block the link's thread.
    #[serde(deserialize_with = "socket_address")]
    pub address: SocketAddr,
}

/// `kind = "tcp_server"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpServerSpec {
    /// Where we listen. Port 0 lets the kernel choose; `Link::local_address` tells.
    #[serde(deserialize_with = "socket_address")]
    pub address: SocketAddr,
    /// Addresses that may connect; empty means any. Others are refused and counted.
    #[serde(default)]
    pub allowed_peers: Vec<IpAddr>,
    /// While a station is connected, a second one is refused and counted; but when the first has been silent
    /// for so long it is taken for half-open and replaced. Milliseconds, 0 (never replace)..=86_400_000. Default 5_000.
    #[serde(default = "defaults::takeover_silence_ms")]
    pub takeover_silence_ms: u32,
}

/// `kind = "udp"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UdpSpec {
    /// Local address and port; for multicast, the group or the wildcard address with the group's port.
    #[serde(deserialize_with = "socket_address")]
    pub bind: SocketAddr,
    /// Multicast group to join.
    #[serde(default)]
    pub multicast_group: Option<IpAddr>,
    /// Interface on which to join: its name (`"eth1"`) or, for IPv4, its address. Default: the kernel's choice.
    #[serde(default)]
    pub multicast_interface: Option<String>,
    /// Only datagrams of this sender (source-specific multicast, IPv4 only; `multicast_interface` must then be an address).
    #[serde(default)]
    pub multicast_source: Option<IpAddr>,
    /// Longest datagram received whole, in octets, 1..=65_535; a longer one is handed on cut, marked and counted. Default 9_216.
    #[serde(default = "defaults::max_datagram_bytes")]
    pub max_datagram_bytes: u32,
}

/// `kind = "serial"`: a raw line; no character is special, nothing is echoed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialSpec {
    /// The device, e.g. `"/dev/ttyS0"`.
    pub device: PathBuf,
    /// Speed in bit/s, 50..=20_000_000; the driver may refuse it.
    pub baud: u32,
    /// Bits a character, 5..=8. Default 8.
    #[serde(default = "defaults::data_bits")]
    pub data_bits: u8,
    /// Parity. Default none.
    #[serde(default)]
    pub parity: Parity,
    /// Stop bits, 1 or 2. Default 1.
    #[serde(default = "defaults::stop_bits")]
    pub stop_bits: u8,
    /// RTS/CTS hardware flow control. Default false.
    #[serde(default)]
    pub rts_cts: bool,
}

/// Parity of a serial line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parity {
    /// No parity bit.
    #[default]
    None,
    /// Even parity.
    Even,
    /// Odd parity.
    Odd,
}

/// `kind = "file"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// A regular file.
    pub path: PathBuf,
    /// Pace in bit/s, 1..=1e12: exact on average, without drift. Default: as fast as it is taken.
    #[serde(default)]
    pub pace_bps: Option<u64>,
    /// How many times the file is played; 0 means for ever. Default 1.
    #[serde(default = "defaults::repeat")]
    pub repeat: u32,
}

/// `kind = "stdin"`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StdinSpec {
    /// Pace in bit/s, 1..=1e12. Default: as fast as it comes.
    #[serde(default)]
    pub pace_bps: Option<u64>,
}

/// What a turn of `poll` does when nothing has arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitMode {
    /// Returns at once; the thread never sleeps. Needs a core of its own.
    Busy,
    /// Sleeps in the kernel until data comes or `max_wait_us` is over.
    #[default]
    Wait,
    /// Returns at once for `spin_us` after the last octet, then sleeps as `wait` does.
    Adaptive,
}

/// A specification that cannot be obeyed. Says which field, what it held and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} = {value}: {allowed}")]
pub struct SpecError {
    /// The field, as written in TOML.
    pub field: &'static str,
    /// What it held.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
}

mod defaults {
    pub(super) fn max_wait_us() -> u32 {
        10_000
    }
    pub(super) fn spin_us() -> u32 {
        50
    }
    pub(super) fn multishot() -> bool {
        true
    }
    pub(super) fn receive_buffer_bytes() -> u32 {
        128 << 10
    }
    pub(super) fn reconnect_min_ms() -> u32 {
        100
    }
    pub(super) fn reconnect_max_ms() -> u32 {
        10_000
    }
    pub(super) fn connect_timeout_ms() -> u32 {
        3_000
    }
    pub(super) fn half_open_timeout_ms() -> u32 {
        10_000
    }
    pub(super) fn keepalive_idle_s() -> u32 {
        5
    }
    pub(super) fn keepalive_interval_s() -> u32 {
        2
    }
    pub(super) fn keepalive_probes() -> u32 {
        3
    }
    pub(super) fn takeover_silence_ms() -> u32 {
        5_000
    }
    pub(super) fn max_datagram_bytes() -> u32 {
        9_216
    }
    pub(super) fn data_bits() -> u8 {
        8
    }
    pub(super) fn stop_bits() -> u8 {
        1
    }
    pub(super) fn repeat() -> u32 {
        1
    }
}

const SOCKET_BUFFER_UDP: u32 = 32 << 20;
const PACE_MAX_BPS: u64 = 1_000_000_000_000;
/// All receive buffers of one link together: more is a mistake in the configuration, not a wish.
const RECEIVE_MEMORY_MAX: u64 = 1 << 30;

fn socket_address<'de, D: Deserializer<'de>>(input: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(input)?;
    text.parse().map_err(|_| {
        serde::de::Error::custom(format_args!(
            "\"{text}\" is not an IP address with a port; write \"192.0.2.7:4001\" or \"[2001:db8::7]:4001\" (names are not resolved)"
        ))
    })
}

fn within<T: PartialOrd + std::fmt::Display>(
    field: &'static str,
    value: T,
    low: T,
    high: T,
    unit: &str,
) -> Result<(), SpecError> {
    if value >= low && value <= high {
        return Ok(());
    }
    Err(SpecError { field, value: value.to_string(), allowed: format!("must be {low} to {high} {unit}") })
}

fn refuse(field: &'static str, value: impl std::fmt::Display, allowed: impl Into<String>) -> SpecError {
    SpecError { field, value: value.to_string(), allowed: allowed.into() }
}

impl LinkSpec {
    /// A link over `transport` with every other field at its default.
    pub fn new(transport: TransportSpec) -> LinkSpec {
        LinkSpec {
            transport,
            wait: WaitMode::default(),
            max_wait_us: defaults::max_wait_us(),
            spin_us: defaults::spin_us(),
            multishot: defaults::multishot(),
            receive_buffer_bytes: defaults::receive_buffer_bytes(),
            receive_buffers: None,
            socket_buffer_bytes: None,
            reconnect_min_ms: defaults::reconnect_min_ms(),
            reconnect_max_ms: defaults::reconnect_max_ms(),
            connect_timeout_ms: defaults::connect_timeout_ms(),
            half_open_timeout_ms: defaults::half_open_timeout_ms(),
            keepalive_idle_s: defaults::keepalive_idle_s(),
            keepalive_interval_s: defaults::keepalive_interval_s(),
            keepalive_probes: defaults::keepalive_probes(),
            idle_timeout_ms: None,
        }
    }

    /// A TCP client of the station at `address`.
    pub fn tcp_client(address: SocketAddr) -> LinkSpec {
        LinkSpec::new(TransportSpec::TcpClient(TcpClientSpec { address }))
    }

    /// A TCP server at `address` for one station of any address.
    pub fn tcp_server(address: SocketAddr) -> LinkSpec {
        LinkSpec::new(TransportSpec::TcpServer(TcpServerSpec {
            address,
            allowed_peers: Vec::new(),
            takeover_silence_ms: defaults::takeover_silence_ms(),
        }))
    }

    /// Unicast datagrams at `bind`.
    pub fn udp(bind: SocketAddr) -> LinkSpec {
        LinkSpec::new(TransportSpec::Udp(UdpSpec {
            bind,
            multicast_group: None,
            multicast_interface: None,
            multicast_source: None,
            max_datagram_bytes: defaults::max_datagram_bytes(),
        }))
    }

    /// A raw serial line, 8 bits, no parity, one stop bit.
    pub fn serial(device: impl Into<PathBuf>, baud: u32) -> LinkSpec {
        LinkSpec::new(TransportSpec::Serial(SerialSpec {
            device: device.into(),
            baud,
            data_bits: defaults::data_bits(),
            parity: Parity::None,
            stop_bits: defaults::stop_bits(),
            rts_cts: false,
        }))
    }

    /// A file, played once, unpaced.
    pub fn file(path: impl Into<PathBuf>) -> LinkSpec {
        LinkSpec::new(TransportSpec::File(FileSpec {
            path: path.into(),
            pace_bps: None,
            repeat: defaults::repeat(),
        }))
    }

    /// Standard input, unpaced.
    pub fn stdin() -> LinkSpec {
        LinkSpec::new(TransportSpec::Stdin(StdinSpec::default()))
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that cannot be obeyed, with its value and what is allowed.
    pub fn validate(&self) -> Result<(), SpecError> {
        within("max_wait_us", self.max_wait_us, 1, 1_000_000, "microseconds")?;
        within("spin_us", self.spin_us, 0, 1_000_000, "microseconds")?;
        within("receive_buffer_bytes", self.receive_buffer_bytes, 4096, 16 << 20, "octets")?;
        if let Some(count) = self.receive_buffers {
            within("receive_buffers", count, 2, 32_768, "buffers")?;
            if !count.is_power_of_two() {
                return Err(refuse("receive_buffers", count, "must be a power of two"));
            }
        }
        let memory = u64::from(self.buffer_count()) * u64::from(self.payload_bytes());
        if memory > RECEIVE_MEMORY_MAX {
            return Err(refuse(
                "receive_buffers",
                self.buffer_count(),
                format!("times {} octets each must stay below 1 GiB in all", self.payload_bytes()),
            ));
        }
        if let Some(bytes) = self.socket_buffer_bytes {
            within("socket_buffer_bytes", bytes, 4096, 1 << 30, "octets")?;
        }
        within("reconnect_max_ms", self.reconnect_max_ms, 1, 3_600_000, "milliseconds")?;
        within(
            "reconnect_min_ms",
            self.reconnect_min_ms,
            1,
            self.reconnect_max_ms,
            "milliseconds (reconnect_max_ms)",
        )?;
        within("connect_timeout_ms", self.connect_timeout_ms, 1, 600_000, "milliseconds")?;
        within("half_open_timeout_ms", self.half_open_timeout_ms, 0, 3_600_000, "milliseconds")?;
        within("keepalive_idle_s", self.keepalive_idle_s, 0, 32_767, "seconds")?;
        within("keepalive_interval_s", self.keepalive_interval_s, 1, 32_767, "seconds")?;
        within("keepalive_probes", self.keepalive_probes, 1, 127, "probes")?;
        if let Some(idle) = self.idle_timeout_ms {
            within("idle_timeout_ms", idle, 1, 86_400_000, "milliseconds")?;
        }
        self.transport.validate()
    }

    /// Number of receive buffers of a stream or datagram socket.
    pub(crate) fn buffer_count(&self) -> u16 {
        let default = if matches!(self.transport, TransportSpec::Udp(_)) { 1024 } else { 8 };
        self.receive_buffers.unwrap_or(default)
    }

    /// Octets of station data one receive buffer holds.
    pub(crate) fn payload_bytes(&self) -> u32 {
        match &self.transport {
            TransportSpec::Udp(udp) => udp.max_datagram_bytes,
            _ => self.receive_buffer_bytes,
        }
    }

    /// The kernel socket buffer to ask for, if any.
    pub(crate) fn socket_buffer(&self) -> Option<u32> {
        let default = matches!(self.transport, TransportSpec::Udp(_)).then_some(SOCKET_BUFFER_UDP);
        self.socket_buffer_bytes.or(default)
    }
}

impl TransportSpec {
    /// The `kind` as written in TOML.
    pub fn kind(&self) -> &'static str {
        match self {
            TransportSpec::TcpClient(_) => "tcp_client",
            TransportSpec::TcpServer(_) => "tcp_server",
            TransportSpec::Udp(_) => "udp",
            TransportSpec::Serial(_) => "serial",
            TransportSpec::File(_) => "file",
            TransportSpec::Stdin(_) => "stdin",
        }
    }

    fn validate(&self) -> Result<(), SpecError> {
        match self {
            TransportSpec::TcpClient(tcp) => {
                if tcp.address.port() == 0 {
                    return Err(refuse(
                        "transport.address",
                        tcp.address,
                        "the station's port must be 1 to 65535",
                    ));
                }
                if tcp.address.ip().is_unspecified() || tcp.address.ip().is_multicast() {
                    return Err(refuse("transport.address", tcp.address, "must be the address of one host"));
                }
                Ok(())
            }
            TransportSpec::TcpServer(tcp) => {
                if tcp.address.ip().is_multicast() {
                    return Err(refuse("transport.address", tcp.address, "must be an address of this host"));
                }
                within(
                    "transport.takeover_silence_ms",
                    tcp.takeover_silence_ms,
                    0,
                    86_400_000,
                    "milliseconds",
                )
            }
            TransportSpec::Udp(udp) => udp.validate(),
            TransportSpec::Serial(serial) => {
                if !serial.device.is_absolute() {
                    let shown = serial.device.display();
                    return Err(refuse(
                        "transport.device",
                        shown,
                        "must be an absolute path such as /dev/ttyS0",
                    ));
                }
                within("transport.baud", serial.baud, 50, 20_000_000, "bit/s")?;
                within("transport.data_bits", serial.data_bits, 5, 8, "bits")?;
                within("transport.stop_bits", serial.stop_bits, 1, 2, "bits")
            }
            TransportSpec::File(file) => {
                if file.path.as_os_str().is_empty() {
                    return Err(refuse("transport.path", "\"\"", "must name a regular file"));
                }
                pace(file.pace_bps)
            }
            TransportSpec::Stdin(stdin) => pace(stdin.pace_bps),
        }
    }
}

impl UdpSpec {
    fn validate(&self) -> Result<(), SpecError> {
        within("transport.max_datagram_bytes", self.max_datagram_bytes, 1, 65_535, "octets")?;
        let Some(group) = self.multicast_group else {
            if let Some(interface) = &self.multicast_interface {
                return Err(refuse("transport.multicast_interface", interface, "needs a multicast_group"));
            }
            if let Some(source) = self.multicast_source {
                return Err(refuse("transport.multicast_source", source, "needs a multicast_group"));
            }
            if self.bind.ip().is_multicast() {
                return Err(refuse(
                    "transport.bind",
                    self.bind,
                    "a multicast address needs the same multicast_group",
                ));
            }
            return Ok(());
        };
        if !group.is_multicast() {
            let allowed = "must be in 224.0.0.0/4 or ff00::/8";
            return Err(refuse("transport.multicast_group", group, allowed));
        }
        if group.is_ipv4() != self.bind.is_ipv4() {
            let allowed = format!("must be of the same IP version as bind = {}", self.bind);
            return Err(refuse("transport.multicast_group", group, allowed));
        }
        if self.bind.port() == 0 {
            return Err(refuse("transport.bind", self.bind, "a multicast group needs its port, 1 to 65535"));
        }
        let Some(source) = self.multicast_source else { return Ok(()) };
        if !(source.is_ipv4() && group.is_ipv4()) {
            return Err(refuse("transport.multicast_source", source, "is for IPv4 groups and senders only"));
        }
        match &self.multicast_interface {
            Some(name) if name.parse::<Ipv4Addr>().is_err() => {
                let allowed = "must be an IPv4 address when multicast_source is given";
                Err(refuse("transport.multicast_interface", name, allowed))
            }
            _ => Ok(()),
        }
    }
}

fn pace(pace_bps: Option<u64>) -> Result<(), SpecError> {
    pace_bps.map_or(Ok(()), |bps| within("transport.pace_bps", bps, 1, PACE_MAX_BPS, "bit/s"))
}
