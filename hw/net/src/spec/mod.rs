//! The specification of a station link: the configuration that programs read from TOML, and its checks.
//!
//! This module is data and arithmetic only; it opens nothing, and it compiles without io_uring and sockets
//! (`default-features = false`). Every field has a default that suits a station on a local network; every check names the
//! field as it is written in TOML, the value it had and what is allowed.
//!
//! ```toml
//! transport = { kind = "tcp_client", address = "127.0.0.1:4001" }
//! protocol = { kind = "length_prefixed", length_octets = 4, keepalive_ms = 1000, idle_timeout_ms = 5000 }
//! wait = "adaptive"
//! ```

mod protocol;
mod transport;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use protocol::{Endian, LengthOf, LengthPrefixedSpec, ProtocolSpec};
pub use transport::{
    FileSpec, Parity, SendTo, SerialSpec, StdinSpec, TcpClientSpec, TcpServerSpec, TransportSpec, UdpSpec,
};

/// One station link: where its octets come from and go to, and how its thread behaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// Where the octets come from and go to.
    pub transport: TransportSpec,
    /// What is spoken on the transport. Default: `raw`, octets as they are.
    #[serde(default)]
    pub protocol: ProtocolSpec,
    /// What a turn does when nothing has arrived.
    #[serde(default)]
    pub wait: WaitMode,
    /// The longest one turn of `poll` may sleep, in microseconds, 1..=1_000_000. Default 10_000.
    #[serde(default = "defaults::max_wait_us")]
    pub max_wait_us: u32,
    /// `wait = "adaptive"`: how long after the last octet the thread keeps spinning before it sleeps, in
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
    /// First pause before a new attempt to connect, or to open again what failed, in milliseconds, 1..=`reconnect_max_ms`.
    /// Default 100.
    #[serde(default = "defaults::reconnect_min_ms")]
    pub reconnect_min_ms: u32,
    /// Longest pause before a new attempt to connect, in milliseconds, at most one hour. Default 10_000.
    /// Pauses double from the first to this one; each is shortened at random by up to half of itself, so that
    /// links that failed together do not come back together.
    #[serde(default = "defaults::reconnect_max_ms")]
    pub reconnect_max_ms: u32,
    /// Octets that may wait to be sent, 4096..=256 MiB; what does not fit is refused. Default 1 MiB.
    #[serde(default = "defaults::transmit_buffer_bytes")]
    pub transmit_buffer_bytes: u32,
    /// Units that may wait to be sent, 1..=65_536; one more is refused. Default 1_024.
    #[serde(default = "defaults::transmit_units")]
    pub transmit_units: u32,
    /// How long one attempt to connect may take, in milliseconds, 1..=600_000. Default 3_000.
    #[serde(default = "defaults::connect_timeout_ms")]
    pub connect_timeout_ms: u32,
    /// TCP: how long sent data (keep-alive probes too) may stay unacknowledged before the kernel gives the
    /// connection up (TCP_USER_TIMEOUT), in milliseconds, 0 (the kernel's own rule)..=3_600_000. Default 10_000.
    /// A peer that acknowledges but never reads counts as well: what it has no room for stays unacknowledged.
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
    /// TCP: end a connection that delivered no octet for so long, in milliseconds, 1..=86_400_000; it counts as half-open.
    /// Default: none, because many stations are silent between passes.
    #[serde(default)]
    pub idle_timeout_ms: Option<u32>,
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
    /// The path of the field as written in TOML, for example `transport.address`.
    pub field: &'static str,
    /// What it held.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
}

impl SpecError {
    /// The key of the link's table that holds the field: `transport` of `transport.address`.
    pub fn key(&self) -> &'static str {
        self.field.split('.').next().unwrap_or(self.field)
    }
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
    pub(super) fn transmit_buffer_bytes() -> u32 {
        1 << 20
    }
    pub(super) fn transmit_units() -> u32 {
        1_024
    }
}

#[cfg(feature = "io")]
const SOCKET_BUFFER_UDP: u32 = 32 << 20;
/// All receive buffers of one link together: more is a mistake in the configuration, not a wish.
const RECEIVE_MEMORY_MAX: u64 = 1 << 30;

pub(crate) fn within<T: PartialOrd + std::fmt::Display>(
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

pub(crate) fn refuse(
    field: &'static str,
    value: impl std::fmt::Display,
    allowed: impl Into<String>,
) -> SpecError {
    SpecError { field, value: value.to_string(), allowed: allowed.into() }
}

impl LinkSpec {
    /// A link over `transport` with every other field at its default.
    pub fn new(transport: TransportSpec) -> LinkSpec {
        LinkSpec {
            transport,
            protocol: ProtocolSpec::default(),
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
            transmit_buffer_bytes: defaults::transmit_buffer_bytes(),
            transmit_units: defaults::transmit_units(),
        }
    }

    /// A TCP client of the station at `address`.
    pub fn tcp_client(address: SocketAddr) -> LinkSpec {
        LinkSpec::new(TransportSpec::TcpClient(TcpClientSpec { address }))
    }

    /// A TCP server at `address` for one station of any address.
    pub fn tcp_server(address: SocketAddr) -> LinkSpec {
        LinkSpec::new(TransportSpec::TcpServer(TcpServerSpec::new(address)))
    }

    /// Unicast datagrams at `bind`; nothing is sent.
    pub fn udp(bind: SocketAddr) -> LinkSpec {
        LinkSpec::new(TransportSpec::Udp(UdpSpec::new(bind)))
    }

    /// A raw serial line, 8 bits, no parity, one stop bit.
    pub fn serial(device: impl Into<PathBuf>, baud: u32) -> LinkSpec {
        LinkSpec::new(TransportSpec::Serial(SerialSpec::new(device.into(), baud)))
    }

    /// A file, played once, unpaced.
    pub fn file(path: impl Into<PathBuf>) -> LinkSpec {
        LinkSpec::new(TransportSpec::File(FileSpec::new(path.into())))
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
        within("transmit_buffer_bytes", self.transmit_buffer_bytes, 4096, 256 << 20, "octets")?;
        within("transmit_units", self.transmit_units, 1, 65_536, "units")?;
        self.transport.validate()?;
        self.protocol.validate(&self.transport, self.transmit_buffer_bytes)
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
    #[cfg(feature = "io")]
    pub(crate) fn socket_buffer(&self) -> Option<u32> {
        let default = matches!(self.transport, TransportSpec::Udp(_)).then_some(SOCKET_BUFFER_UDP);
        self.socket_buffer_bytes.or(default)
    }
}
