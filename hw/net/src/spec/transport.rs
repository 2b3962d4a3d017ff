//! Transports: what carries the octets of a link.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{SpecError, refuse, within};

/// What carries the octets of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TransportSpec {
    /// We connect to the station.
    TcpClient(TcpClientSpec),
    /// The station connects to us, one at a time.
    TcpServer(TcpServerSpec),
    /// Datagrams, to and from this host, or of a multicast group.
    Udp(UdpSpec),
    /// A raw serial line.
    Serial(SerialSpec),
    /// A regular file or a FIFO, paced or as fast as it is taken, once or repeatedly. Receives only.
    File(FileSpec),
    /// Standard input: a pipe, a terminal or a redirected file. Receives only.
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
    /// The address of this host at which we listen, written `bind` as for `udp`. Port 0 lets the kernel choose;
    /// `Link::local_address` has the result.
    #[serde(rename = "bind", deserialize_with = "socket_address")]
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
    /// Longest datagram received whole, in octets, 1..=65_535; a longer one is delivered cut, marked and counted. Default 9_216.
    #[serde(default = "defaults::max_datagram_bytes")]
    pub max_datagram_bytes: u32,
    /// Where transmitted units go, one datagram each: an address with a port, or `"sender"`. Default: none, the link only receives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_to: Option<SendTo>,
    /// A link of datagrams has no end of connection: after so long without one, `Event::Silence` is reported once, so that what is
    /// held for more octets can be finished. Milliseconds, 0 (never)..=86_400_000. Default 1_000.
    #[serde(default = "defaults::silence_ms")]
    pub silence_ms: u32,
}

/// Where the datagrams of a link go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendTo {
    /// To one address, which may be that of a multicast group.
    Address(SocketAddr),
    /// To the sender of the datagram received last; until one has come, nothing can be sent. Anybody who can reach the socket
    /// can become that sender: for closed networks only.
    Sender,
}

impl fmt::Display for SendTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendTo::Address(address) => address.fmt(f),
            SendTo::Sender => f.write_str("sender"),
        }
    }
}

impl Serialize for SendTo {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SendTo {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<SendTo, D::Error> {
        let text = String::deserialize(input)?;
        if text == "sender" {
            return Ok(SendTo::Sender);
        }
        parse_address(&text).map(SendTo::Address).map_err(|what| {
            serde::de::Error::custom(format_args!("{what}; or write \"sender\" to answer whoever sent last"))
        })
    }
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
    /// A regular file, or a FIFO, which is read as a stream: a pass is then what one writer, or several at once, write until
    /// the last of them closes. Devices, sockets and folders are refused (serial lines have a kind of their own).
    pub path: PathBuf,
    /// Pace in bit/s, 1..=1e12: exact on average, without drift. Default: as fast as it is taken.
    #[serde(default)]
    pub pace_bps: Option<u64>,
    /// How many passes are read: plays of a file, runs of a FIFO's writers; 0 means for ever. Default 1.
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

mod defaults {
    pub(super) fn takeover_silence_ms() -> u32 {
        5_000
    }
    pub(super) fn max_datagram_bytes() -> u32 {
        9_216
    }
    pub(super) fn silence_ms() -> u32 {
        1_000
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

const PACE_MAX_BPS: u64 = 1_000_000_000_000;
const DAY_MS: u32 = 86_400_000;

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "\"{text}\" is not an IP address with a port; write \"192.0.2.7:4001\" or \"[2001:db8::7]:4001\" (names are not resolved)"
        )
    })
}

fn socket_address<'de, D: Deserializer<'de>>(input: D) -> Result<SocketAddr, D::Error> {
    parse_address(&String::deserialize(input)?).map_err(serde::de::Error::custom)
}

impl TcpServerSpec {
    /// A server at `address` for one station of any address.
    pub fn new(address: SocketAddr) -> TcpServerSpec {
        let takeover_silence_ms = defaults::takeover_silence_ms();
        TcpServerSpec { address, allowed_peers: Vec::new(), takeover_silence_ms }
    }
}

impl SerialSpec {
    /// A line of 8 bits a character, no parity, one stop bit, no flow control.
    pub fn new(device: PathBuf, baud: u32) -> SerialSpec {
        let (data_bits, stop_bits) = (defaults::data_bits(), defaults::stop_bits());
        SerialSpec { device, baud, data_bits, parity: Parity::None, stop_bits, rts_cts: false }
    }
}

impl FileSpec {
    /// One pass, unpaced.
    pub fn new(path: PathBuf) -> FileSpec {
        FileSpec { path, pace_bps: None, repeat: defaults::repeat() }
    }
}

impl UdpSpec {
    /// Unicast datagrams at `bind`; nothing is sent.
    pub fn new(bind: SocketAddr) -> UdpSpec {
        UdpSpec {
            bind,
            multicast_group: None,
            multicast_interface: None,
            multicast_source: None,
            max_datagram_bytes: defaults::max_datagram_bytes(),
            send_to: None,
            silence_ms: defaults::silence_ms(),
        }
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

    pub(super) fn validate(&self) -> Result<(), SpecError> {
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
                    return Err(refuse("transport.bind", tcp.address, "must be an address of this host"));
                }
                within("transport.takeover_silence_ms", tcp.takeover_silence_ms, 0, DAY_MS, "milliseconds")
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
                    return Err(refuse("transport.path", "\"\"", "must name a regular file or a FIFO"));
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
        within("transport.silence_ms", self.silence_ms, 0, DAY_MS, "milliseconds")?;
        if let Some(SendTo::Address(to)) = self.send_to {
            if to.port() == 0 || to.ip().is_unspecified() {
                return Err(refuse("transport.send_to", to, "must be an address with a port, 1 to 65535"));
            }
            if to.is_ipv4() != self.bind.is_ipv4() {
                let allowed = format!("must be of the same IP version as bind = {}", self.bind);
                return Err(refuse("transport.send_to", to, allowed));
            }
        }
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
