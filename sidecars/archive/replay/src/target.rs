//! Where a replay goes, and where it must never go.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use fep_bus::Colour;
use fep_feed_wire::FeedSections;
use fep_feed_wire::spec::{SessionName, Transport};
use serde::{Deserialize, Serialize};

/// How records lie on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The payloads alone, one after the other; over UDP one a datagram.
    Raw,
    /// Messages with metadata, each of which says that it is replayed: `docs/feeds.md`.
    #[default]
    Framed,
}

/// Where a replay goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// Connects to a receiver.
    TcpClient {
        /// Its address.
        address: SocketAddr,
        /// How records lie on the wire.
        #[serde(default)]
        form: Form,
    },
    /// Waits for a receiver to connect; the first one is served.
    TcpServer {
        /// Address to listen at.
        bind: SocketAddr,
        /// How records lie on the wire.
        #[serde(default)]
        form: Form,
    },
    /// Datagrams to a receiver.
    Udp {
        /// Its address.
        to: SocketAddr,
        /// How records lie on the wire.
        #[serde(default)]
        form: Form,
    },
    /// A ring of its own, `replay.NAME.frames` or `.packets`, which waits for its consumers.
    Ring {
        /// Names of the consumers that are waited for: nothing is overwritten before they have read it.
        #[serde(default = "consumers")]
        consumers: Vec<String>,
    },
}

fn consumers() -> Vec<String> {
    vec!["replay".to_owned()]
}

/// Why a replay may not go there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} (allowed: {allowed})")]
pub struct NotAllowed {
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub allowed: String,
}

/// Where replays may go. Without one word of configuration: to this machine, and nowhere where live data goes.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Directory of the rings, below which replay rings are made; without it there are none.
    pub rings: Option<PathBuf>,
    /// Machines other than this one that replays may be sent to.
    pub receivers: Vec<IpAddr>,
    /// Addresses that take live data: refused whatever else is allowed.
    pub operational: Vec<SocketAddr>,
    /// Addresses that payloads alone may be sent to, or waited for at. Nothing in a payload says that it is replayed, so each
    /// is named with its port, those of this machine too.
    pub raw_targets: Vec<SocketAddr>,
    /// Whether red data may be sent over a network.
    pub red_over_network: bool,
}

impl Policy {
    /// Takes note of the addresses of all feeds that are not meant for replayed data.
    pub fn refuse_feeds(&mut self, feeds: &FeedSections) {
        for feed in feeds.feeds.values().filter(|feed| feed.session != SessionName::Replay) {
            match &feed.transport {
                Transport::Udp { to: address, .. } | Transport::TcpClient { address, .. } => {
                    self.operational.push(*address);
                }
                // We listen there ourselves: no replay can connect but as a client, and then it is refused as one.
                Transport::TcpServer { bind, .. } => self.operational.push(*bind),
            }
        }
    }

    /// Whether data of this colour may be replayed to this target.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn check(&self, target: &Target, colour: Colour) -> Result<(), NotAllowed> {
        let refuse = |what: String, allowed: &str| Err(NotAllowed { what, allowed: allowed.to_owned() });
        let (address, form) = match target {
            Target::Ring { consumers } if consumers.is_empty() => {
                return refuse(
                    "a replay ring waits for at least one consumer".to_owned(),
                    "one name or more",
                );
            }
            Target::Ring { .. } if self.rings.is_none() => {
                return refuse("there is no directory of rings".to_owned(), "a target over TCP or UDP");
            }
            Target::Ring { .. } => return Ok(()),
            Target::TcpClient { address, form } | Target::Udp { to: address, form } => (address, *form),
            Target::TcpServer { bind, form } => (bind, *form),
        };
        if colour == Colour::Red && !self.red_over_network {
            return refuse("red data does not leave by a network".to_owned(), "a replay ring");
        }
        if self.operational.iter().any(|taken| is_same(taken, address)) {
            return refuse(
                format!("{address} takes live data"),
                "an address that no feed of another session uses",
            );
        }
        let ip = address.ip().to_canonical();
        if form == Form::Raw {
            let named =
                |named: &SocketAddr| named.ip().to_canonical() == ip && named.port() == address.port();
            if self.raw_targets.iter().any(named) {
                return Ok(());
            }
            let allowed = format!("framed messages{}", list(&self.raw_targets));
            return refuse(format!("nothing named {address} a target of raw replays"), &allowed);
        }
        if ip.is_loopback() || self.receivers.contains(&ip) {
            return Ok(());
        }
        let allowed = format!("a loopback address{}", list(&self.receivers));
        refuse(format!("{ip} is not a receiver of replays"), &allowed)
    }
}

/// What else is allowed, after what always is.
fn list(allowed: &[impl ToString]) -> String {
    allowed.iter().map(|one| format!(", {}", one.to_string())).collect()
}

/// Whether two addresses name the same door: the port, and the machine or all of its addresses.
fn is_same(taken: &SocketAddr, address: &SocketAddr) -> bool {
    let (taken_ip, ip) = (taken.ip().to_canonical(), address.ip().to_canonical());
    let everywhere = (taken_ip.is_unspecified() && ip.is_loopback()) || ip.is_unspecified();
    taken.port() == address.port() && (taken_ip == ip || everywhere)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fep_kit::Document;

    fn udp(to: &str) -> Target {
        Target::Udp { to: to.parse().expect("an address"), form: Form::Framed }
    }

    // REQ: FEP-REPLAY-004
    #[test]
    fn a_replay_goes_to_no_address_that_takes_live_data_whatever_else_is_allowed() {
        let document = Document::from_text(
            "archive.toml",
            "[feeding.clients.school]\ntoken_sha256 = \"8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8\"\n\
             [feeds.mcs]\nsources = [\"a.frames\"]\nsession = \"OPS\"\nform = \"raw\"\ntransport = { kind = \"udp\", to = \"192.0.2.7:10017\" }\n\
             [feeds.door]\nsources = [\"a.frames\"]\nsession = \"TEST\"\nform = \"framed\"\ntransport = { kind = \"tcp_server\", bind = \"0.0.0.0:4101\" }\n\
             [feeds.school]\nsources = [\"replay.a.frames\"]\nsession = \"REPLAY\"\nform = \"raw\"\ntransport = { kind = \"udp\", to = \"192.0.2.7:10018\" }\n",
        )
        .expect("TOML");
        let mut policy =
            Policy { receivers: vec!["192.0.2.7".parse().expect("an address")], ..Policy::default() };
        policy.refuse_feeds(&FeedSections::read(&document).expect("valid feeds"));
        let check = |to: &str| policy.check(&udp(to), Colour::Black).map_err(|refused| refused.to_string());
        assert_eq!(check("192.0.2.7:10018"), Ok(()), "the feed is meant for replays");
        let refused = check("192.0.2.7:10017").expect_err("an operational consumer");
        assert!(refused.starts_with("192.0.2.7:10017 takes live data"), "{refused}");
        assert!(check("[::ffff:192.0.2.7]:10017").is_err(), "the same machine written in another way");
        assert!(check("127.0.0.1:4101").is_err(), "we listen there ourselves");
        let server =
            Target::TcpServer { bind: "0.0.0.0:10017".parse().expect("an address"), form: Form::Framed };
        assert!(policy.check(&server, Colour::Black).is_err(), "on every address, that one included");
    }

    #[test]
    fn a_replay_stays_on_this_machine_unless_a_receiver_is_named() {
        let policy =
            Policy { receivers: vec!["192.0.2.9".parse().expect("an address")], ..Policy::default() };
        assert_eq!(policy.check(&udp("127.0.0.1:9"), Colour::Black), Ok(()));
        assert_eq!(policy.check(&udp("192.0.2.9:9"), Colour::Black), Ok(()));
        let refused = policy.check(&udp("192.0.2.10:9"), Colour::Black).expect_err("nobody named it");
        assert_eq!(
            refused.to_string(),
            "192.0.2.10 is not a receiver of replays (allowed: a loopback address, 192.0.2.9)"
        );
    }

    // REQ: FEP-REPLAY-010
    #[test]
    fn raw_octets_go_to_no_address_that_the_configuration_does_not_name_with_its_port() {
        let at = |address: &str| -> SocketAddr { address.parse().expect("an address") };
        let every_kind = |address: &str| {
            [
                Target::Udp { to: at(address), form: Form::Raw },
                Target::TcpClient { address: at(address), form: Form::Raw },
                Target::TcpServer { bind: at(address), form: Form::Raw },
            ]
        };
        let mut policy = Policy {
            receivers: vec!["192.0.2.9".parse().expect("an address")],
            raw_targets: vec![at("192.0.2.9:10015"), at("127.0.0.1:10015")],
            ..Policy::default()
        };
        for refused in
            ["127.0.0.1:10016", "192.0.2.9:10016", "192.0.2.10:10015", "0.0.0.0:10015", "[::1]:10015"]
        {
            for target in every_kind(refused) {
                let told = policy.check(&target, Colour::Black).expect_err(refused).to_string();
                assert_eq!(
                    told,
                    format!(
                        "nothing named {refused} a target of raw replays \
                         (allowed: framed messages, 192.0.2.9:10015, 127.0.0.1:10015)"
                    )
                );
            }
        }
        for named in ["192.0.2.9:10015", "127.0.0.1:10015", "[::ffff:192.0.2.9]:10015"] {
            assert!(
                every_kind(named).iter().all(|target| policy.check(target, Colour::Black).is_ok()),
                "{named}"
            );
        }
        policy.operational.push(at("192.0.2.9:10015"));
        for target in every_kind("192.0.2.9:10015") {
            assert!(policy.check(&target, Colour::Black).is_err(), "it takes live data: named or not");
        }
    }

    // REQ: FEP-REPLAY-009
    #[test]
    fn red_data_leaves_by_no_network_unless_that_is_said() {
        let policy = Policy { rings: Some("/dev/shm/x".into()), ..Policy::default() };
        assert!(policy.check(&udp("127.0.0.1:9"), Colour::Red).is_err());
        assert_eq!(policy.check(&Target::Ring { consumers: consumers() }, Colour::Red), Ok(()));
        let said = Policy { red_over_network: true, ..policy };
        assert_eq!(said.check(&udp("127.0.0.1:9"), Colour::Red), Ok(()));
    }
}
