//! Where a replay goes, and where it must never go.

use std::net::SocketAddr;
use std::path::PathBuf;

use fep_bus::Colour;
use fep_feed_wire::FeedSections;
use fep_feed_wire::address::{canonical, overlap};
use fep_feed_wire::spec::{SessionName, Transport};
use serde::{Deserialize, Serialize};

use crate::live::{Live, Protocol, is_of_this_machine};

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

/// Where replays may go: over a network only where an address is named, and nowhere that live data goes.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Directory of the rings, below which replay rings are made; without it there are none.
    pub rings: Option<PathBuf>,
    /// Addresses that framed replays may be sent to, or waited for at. Port 0 names any port that the system chooses to listen
    /// at.
    pub receivers: Vec<SocketAddr>,
    /// Addresses that take live data: refused whatever else is allowed, with the same port of every address of the same machine.
    pub operational: Vec<SocketAddr>,
    /// Addresses that payloads alone may be sent to, or waited for at, and framed replays too. Nothing in a payload says that it
    /// is replayed.
    pub raw_targets: Vec<SocketAddr>,
    /// Whether red data may be sent over a network.
    pub red_over_network: bool,
    /// The sockets of live processes.
    pub live: Live,
}

impl Policy {
    /// Takes note of all addresses of the feeds: where they listen, and where those go that are not meant for replayed data.
    pub fn refuse_feeds(&mut self, feeds: &FeedSections) {
        self.operational.extend(feeds.feeding.listen.parse::<SocketAddr>());
        for feed in feeds.feeds.values() {
            let is_live = feed.session != SessionName::Replay;
            match &feed.transport {
                Transport::TcpServer { bind, .. } => self.operational.push(*bind),
                Transport::TcpClient { address, .. } => self.operational.extend(is_live.then_some(*address)),
                Transport::Udp { to, bind, .. } => {
                    self.operational.extend(is_live.then_some(*to));
                    self.operational.extend(*bind);
                }
            }
        }
    }

    /// Whether data of this colour may be replayed to this target now.
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
        let allowed = "an address that nothing live uses";
        if self.operational.iter().any(|taken| is_same(*taken, *address)) {
            return refuse(format!("{address} takes live data"), allowed);
        }
        if !matches!(target, Target::TcpServer { .. })
            && (address.port() == 0 || address.ip().to_canonical().is_unspecified())
        {
            return refuse(format!("{address} is nobody's address"), "the address of a receiver");
        }
        let named = |list: &[SocketAddr]| list.iter().any(|named| canonical(*named) == canonical(*address));
        match form {
            Form::Raw if !named(&self.raw_targets) => {
                let allowed = format!("framed messages{}", list(&self.raw_targets));
                return refuse(format!("nothing named {address} a target of raw replays"), &allowed);
            }
            Form::Framed if !named(&self.receivers) && !named(&self.raw_targets) => {
                let allowed = format!("a replay ring{}{}", list(&self.receivers), list(&self.raw_targets));
                return refuse(format!("nothing named {address} a receiver of replays"), &allowed);
            }
            Form::Raw | Form::Framed => {}
        }
        match door(target).map(|(protocol, address)| self.live.clone().check(protocol, address)) {
            Some(Err(what)) => refuse(what, allowed),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

/// The address of a target over a network.
pub(crate) fn door(target: &Target) -> Option<(Protocol, SocketAddr)> {
    match target {
        Target::TcpClient { address, .. } => Some((Protocol::Tcp, *address)),
        Target::TcpServer { bind, .. } => Some((Protocol::Tcp, *bind)),
        Target::Udp { to, .. } => Some((Protocol::Udp, *to)),
        Target::Ring { .. } => None,
    }
}

/// What else is allowed, after what always is.
fn list(allowed: &[SocketAddr]) -> String {
    allowed.iter().map(|one| format!(", {one}")).collect()
}

/// Whether two addresses name the same door: the port, and the same machine by whatever address of it.
fn is_same(taken: SocketAddr, address: SocketAddr) -> bool {
    let both_here = || is_of_this_machine(taken.ip()) && is_of_this_machine(address.ip());
    overlap(taken, address) || (taken.port() != 0 && taken.port() == address.port() && both_here())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fep_kit::Document;

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("an address")
    }

    fn udp(to: &str) -> Target {
        Target::Udp { to: at(to), form: Form::Framed }
    }

    fn every_kind(address: &str, form: Form) -> [Target; 3] {
        [
            Target::Udp { to: at(address), form },
            Target::TcpClient { address: at(address), form },
            Target::TcpServer { bind: at(address), form },
        ]
    }

    // REQ: FEP-REPLAY-004
    #[test]
    fn a_replay_goes_to_no_address_that_takes_live_data_whatever_else_is_allowed() {
        let document = Document::from_text(
            "archive.toml",
            "[feeds.mcs]\nsources = [\"a.frames\"]\nsession = \"OPS\"\nform = \"raw\"\ntransport = { kind = \"udp\", to = \"192.0.2.7:10017\" }\n\
             [feeds.door]\nsources = [\"a.frames\"]\nsession = \"TEST\"\nform = \"framed\"\ntransport = { kind = \"tcp_server\", bind = \"127.0.0.1:4101\" }\n\
             [feeds.school]\nsources = [\"replay.a.frames\"]\nsession = \"REPLAY\"\nform = \"raw\"\ntransport = { kind = \"udp\", to = \"192.0.2.7:10018\" }\n",
        )
        .expect("TOML");
        let sections = FeedSections::read(&document).expect("valid feeds");
        let check = |to: &str, target: &Target| {
            // Named with its port, and refused all the same.
            let mut policy = Policy { receivers: vec![at(to)], ..Policy::default() };
            policy.refuse_feeds(&sections);
            policy.check(target, Colour::Black).map_err(|refused| refused.what)
        };
        assert_eq!(
            check("192.0.2.7:10018", &udp("192.0.2.7:10018")),
            Ok(()),
            "the feed is meant for replays"
        );
        let refused = check("192.0.2.7:10017", &udp("192.0.2.7:10017"));
        assert_eq!(refused, Err("192.0.2.7:10017 takes live data".to_owned()));
        assert!(
            check("[::ffff:192.0.2.7]:10017", &udp("[::ffff:192.0.2.7]:10017")).is_err(),
            "written otherwise"
        );
        let server = Target::TcpServer { bind: at("0.0.0.0:10017"), form: Form::Framed };
        assert!(check("0.0.0.0:10017", &server).is_err(), "on every address, that one included");
    }

    // REQ: FEP-REPLAY-150
    #[test]
    fn the_port_of_a_live_feed_is_refused_at_every_address_of_this_machine() {
        for bind in ["127.0.0.1:4101", "0.0.0.0:4101", "[::]:4101", "[::ffff:127.0.0.1]:4101", "[::1]:4101"] {
            for trick in [
                "127.0.0.1:4101",
                "127.0.0.2:4101",
                "127.255.255.254:4101",
                "0.0.0.0:4101",
                "[::]:4101",
                "[::1]:4101",
                "[::ffff:127.0.0.1]:4101",
                "[::ffff:127.0.0.2]:4101",
                "[::ffff:0.0.0.0]:4101",
            ] {
                let policy = Policy {
                    receivers: vec![at(trick)],
                    raw_targets: vec![at(trick)],
                    operational: vec![at(bind)],
                    ..Policy::default()
                };
                for target in [every_kind(trick, Form::Framed), every_kind(trick, Form::Raw)].concat() {
                    let refused = policy.check(&target, Colour::Black).map_err(|refused| refused.what);
                    assert_eq!(refused, Err(format!("{} takes live data", at(trick))), "{bind} {target:?}");
                }
            }
        }
    }

    // REQ: FEP-REPLAY-150
    #[test]
    fn a_target_is_an_address_and_no_name_of_a_host() {
        for name in ["localhost:4101", "localhost.:4101", "127.1:4101", "2130706433:4101", "0x7f000001:4101"]
        {
            let text = format!("{{\"kind\":\"udp\",\"to\":\"{name}\"}}");
            assert!(serde_json::from_str::<Target>(&text).is_err(), "{name}");
        }
    }

    // REQ: FEP-REPLAY-004, FEP-REPLAY-150
    #[test]
    fn a_replay_goes_over_no_network_to_what_is_not_named_with_its_port() {
        for target in every_kind("127.0.0.1:9", Form::Framed) {
            let refused =
                Policy::default().check(&target, Colour::Black).expect_err("nothing is named").to_string();
            let expected = "nothing named 127.0.0.1:9 a receiver of replays (allowed: a replay ring)";
            assert_eq!(refused, expected);
        }
        let policy = Policy { receivers: vec![at("192.0.2.9:4200"), at("127.0.0.1:0")], ..Policy::default() };
        assert_eq!(policy.check(&udp("192.0.2.9:4200"), Colour::Black), Ok(()));
        assert_eq!(policy.check(&udp("[::ffff:192.0.2.9]:4200"), Colour::Black), Ok(()));
        for other in ["192.0.2.9:4201", "192.0.2.10:4200", "127.0.0.1:4200"] {
            let refused = policy.check(&udp(other), Colour::Black).expect_err(other).to_string();
            let expected = format!(
                "nothing named {other} a receiver of replays (allowed: a replay ring, 192.0.2.9:4200, 127.0.0.1:0)"
            );
            assert_eq!(refused, expected);
        }
        let server = Target::TcpServer { bind: at("127.0.0.1:0"), form: Form::Framed };
        assert_eq!(policy.check(&server, Colour::Black), Ok(()), "a port that the system chooses");
        assert!(policy.check(&udp("127.0.0.1:0"), Colour::Black).is_err(), "nobody's address");
    }

    // REQ: FEP-REPLAY-010
    #[test]
    fn raw_octets_go_to_no_address_that_the_configuration_does_not_name_with_its_port() {
        let mut policy = Policy {
            receivers: vec![at("192.0.2.9:10016"), at("127.0.0.1:10016")],
            raw_targets: vec![at("192.0.2.9:10015"), at("127.0.0.1:10015")],
            ..Policy::default()
        };
        for refused in ["127.0.0.1:10016", "192.0.2.9:10016", "192.0.2.10:10015", "[::1]:10015"] {
            for target in every_kind(refused, Form::Raw) {
                let said = policy.check(&target, Colour::Black).expect_err(refused).to_string();
                assert_eq!(
                    said,
                    format!(
                        "nothing named {refused} a target of raw replays \
                         (allowed: framed messages, 192.0.2.9:10015, 127.0.0.1:10015)"
                    )
                );
            }
        }
        for named in ["192.0.2.9:10015", "127.0.0.1:10015", "[::ffff:192.0.2.9]:10015"] {
            for form in [Form::Raw, Form::Framed] {
                let all = every_kind(named, form);
                assert!(all.iter().all(|target| policy.check(target, Colour::Black).is_ok()), "{named}");
            }
        }
        policy.operational.push(at("192.0.2.9:10015"));
        for target in every_kind("192.0.2.9:10015", Form::Raw) {
            assert!(policy.check(&target, Colour::Black).is_err(), "it takes live data: named or not");
        }
    }

    // REQ: FEP-REPLAY-009
    #[test]
    fn red_data_leaves_by_no_network_unless_that_is_said() {
        let receivers = vec![at("127.0.0.1:9")];
        let policy = Policy { rings: Some("/dev/shm/x".into()), receivers, ..Policy::default() };
        assert!(policy.check(&udp("127.0.0.1:9"), Colour::Red).is_err());
        assert_eq!(policy.check(&Target::Ring { consumers: consumers() }, Colour::Red), Ok(()));
        let said = Policy { red_over_network: true, ..policy };
        assert_eq!(said.check(&udp("127.0.0.1:9"), Colour::Red), Ok(()));
    }
}
