//! Who may take a feed: clients by name and token, peers by address, and where red data may go.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use fep_kit::access::digest_of_hex;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::spec::{FeedSpec, Feeding, Form, Transport, check_name};

/// A client as configured: `[feeding.clients.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSpec {
    /// SHA-256 of its token, 64 hexadecimal digits (`printf %s TOKEN | sha256sum`).
    pub token_sha256: String,
    /// Feeds that it may take; left out, all that are not red.
    #[serde(default)]
    pub feeds: Vec<String>,
    /// Whether it may take red data, of the feeds that it names.
    #[serde(default)]
    pub red: bool,
}

/// Why somebody is refused, and what would be right.
pub(crate) type Refusal = (String, String);

/// The clients of all feeds, and where red data may go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clients {
    known: BTreeMap<String, Known>,
    red_receivers: Vec<IpAddr>,
}

#[derive(Debug, Clone)]
struct Known {
    digest: [u8; 32],
    feeds: Vec<String>,
    red: bool,
}

impl Clients {
    /// Of a configuration that [`check`] has nothing against.
    pub(crate) fn new(feeding: &Feeding) -> Clients {
        let known = feeding.clients.iter().filter_map(|(name, client)| {
            let digest = digest_of_hex(&client.token_sha256)?;
            Some((name.clone(), Known { digest, feeds: client.feeds.clone(), red: client.red }))
        });
        Clients { known: known.collect(), red_receivers: feeding.red_receivers.clone() }
    }

    /// Whether a peer may connect to a feed that listens.
    ///
    /// # Errors
    /// A refusal that says what is allowed.
    pub(crate) fn may_connect(&self, spec: &FeedSpec, peer: SocketAddr) -> Result<(), Refusal> {
        let ip = peer.ip().to_canonical();
        if let Transport::TcpServer { peers, .. } = &spec.transport
            && !peers.is_empty()
            && !peers.contains(&ip)
        {
            return Err((
                format!("{ip} is none of the peers of this feed"),
                "its peers (transport.peers)".to_owned(),
            ));
        }
        if spec.is_red() && !self.red_receivers.contains(&ip) {
            return Err((
                format!("{ip} may not receive red data"),
                "the addresses of feeding.red_receivers".to_owned(),
            ));
        }
        Ok(())
    }

    /// Whether who says that it is `name` may take a feed. Where no client is configured, every name may (such feeds are on the
    /// loopback address and black).
    ///
    /// # Errors
    /// A refusal. It does not say whether the name is known.
    pub(crate) fn may_take(
        &self,
        feed: &str,
        is_red: bool,
        name: &str,
        token: Option<&str>,
    ) -> Result<(), Refusal> {
        if self.known.is_empty() && !is_red {
            return Ok(());
        }
        let digest: [u8; 32] = Sha256::digest(token.unwrap_or_default().as_bytes()).into();
        // Every octet is compared, whatever the first ones are.
        let is =
            |known: &&Known| known.digest.iter().zip(&digest).fold(0, |other, (a, b)| other | (a ^ b)) == 0;
        let Some(known) = self.known.get(name).filter(is) else {
            return Err((
                format!("nobody of the name {name:?} has this token"),
                "\"token\" in the hello: that of the client of this name (feeding.clients)".to_owned(),
            ));
        };
        let named = known.feeds.iter().any(|named| named == feed);
        let allowed = if is_red { known.red && named } else { known.feeds.is_empty() || named };
        if !allowed {
            let colour = if is_red { "red feed" } else { "feed" };
            return Err((
                format!("client {name:?} may not take the {colour} {feed:?}"),
                "the feeds of its entry in feeding.clients".to_owned(),
            ));
        }
        Ok(())
    }
}

/// Checks clients and feeds against each other. `refuse` takes key, mistake, and what is allowed.
pub(crate) fn check(
    feeding: &Feeding,
    feeds: &BTreeMap<String, FeedSpec>,
    refuse: &mut impl FnMut(&str, &str, &str),
) {
    let mut tokens: BTreeMap<[u8; 32], &str> = BTreeMap::new();
    for (name, client) in &feeding.clients {
        let key = format!("feeding.clients.{name}");
        if let Err(allowed) = check_name(name) {
            refuse(&key, "no name of a client", allowed);
        }
        match digest_of_hex(&client.token_sha256) {
            None => refuse(&format!("{key}.token_sha256"), "no SHA-256", "64 hexadecimal digits"),
            Some(digest) => {
                if let Some(other) = tokens.insert(digest, name) {
                    let mistake = format!("{other} has the same token: these would be one client");
                    refuse(&format!("{key}.token_sha256"), &mistake, "a token of one's own");
                }
            }
        }
        let known = || feeds.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        if let Some(unknown) = client.feeds.iter().find(|feed| !feeds.contains_key(*feed)) {
            refuse(&format!("{key}.feeds"), &format!("there is no feed \"{unknown}\""), &known());
        }
        if client.red && client.feeds.is_empty() {
            let mistake = "red data goes only to clients whose feeds are named";
            refuse(&format!("{key}.feeds"), mistake, "the names of feeds");
        }
    }
    for (name, feed) in feeds {
        let key = format!("feeds.{name}.transport");
        let is_red = feed.is_red();
        if let Some((place, mistake, allowed)) = feed.colour_problem() {
            refuse(&format!("feeds.{name}.{place}"), &mistake, allowed);
        }
        match &feed.transport {
            Transport::TcpServer { bind, peers, .. } => {
                let open = !bind.ip().to_canonical().is_loopback();
                if feed.form == Form::Framed && feeding.clients.is_empty() && (open || is_red) {
                    let mistake = format!("{bind} can be reached by others and no client is configured");
                    let mistake =
                        if open { mistake } else { "red data and no client is configured".to_owned() };
                    refuse(
                        &key,
                        &mistake,
                        "clients with tokens (feeding.clients), or black data on a loopback address",
                    );
                }
                if feed.form == Form::Raw && open && peers.is_empty() {
                    let mistake =
                        format!("{bind} can be reached by others, and a raw feed asks nobody who it is");
                    refuse(&key, &mistake, "peers = [\"IP\", …], a loopback address, or form = \"framed\"");
                }
            }
            Transport::TcpClient { address: to, .. } | Transport::Udp { to, .. } => {
                if is_red && !feeding.red_receivers.contains(&to.ip().to_canonical()) {
                    let mistake = format!("{} may not receive red data", to.ip());
                    refuse(&key, &mistake, "the addresses of feeding.red_receivers");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FeedsConfig;
    use fep_kit::Document;

    // REQ: FEP-FEED-403
    #[test]
    fn red_is_given_to_nobody_but_cleared_clients_at_addresses_that_are_named() {
        let text = "[feeding]\nred_receivers = [\"127.0.0.1\"]\n\
            [feeding.clients.c]\nred = true\nfeeds = [\"red\"]\n\
            token_sha256 = \"8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8\"\n\
            [feeding.clients.d]\nfeeds = [\"red\", \"black\"]\n\
            token_sha256 = \"f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753\"\n\
            [feeds.red]\nsources = [\"red/a.frames\"]\nsession = \"OPS\"\nform = \"framed\"\n\
            transport = { kind = \"tcp_server\", bind = \"127.0.0.1:0\" }\n\
            [feeds.black]\nsources = [\"a.frames\"]\nsession = \"OPS\"\nform = \"framed\"\n\
            transport = { kind = \"tcp_server\", bind = \"127.0.0.1:0\", peers = [\"127.0.0.2\"] }\n";
        let document = Document::from_text("archive.toml", text).expect("TOML");
        let config = FeedsConfig::read(&document).unwrap_or_else(|errors| panic!("{errors}"));
        let clients = Clients::new(&config.feeding);
        let connects = |feed: &str, peer: &str| {
            clients.may_connect(&config.feeds[feed], peer.parse().expect("an address")).is_ok()
        };
        assert!(connects("red", "127.0.0.1:5"));
        assert!(connects("red", "[::ffff:127.0.0.1]:5"), "the same machine");
        assert!(!connects("red", "127.0.0.2:5") && !connects("red", "10.0.0.7:5"));
        assert!(connects("black", "127.0.0.2:5") && !connects("black", "127.0.0.1:5"));
        let takes = |feed: &str, name: &str, token: &str| {
            clients.may_take(feed, config.feeds[feed].is_red(), name, Some(token)).is_ok()
        };
        assert!(takes("red", "c", "alpha"));
        assert!(!takes("red", "d", "beta"), "a client that may not take red");
        assert!(takes("black", "d", "beta"));
        assert!(!takes("black", "c", "alpha"), "not named");
        assert!(!takes("red", "c", "beta"), "another's token");
        assert!(
            Clients::default().may_take("red", true, "c", Some("alpha")).is_err(),
            "without clients no red"
        );
    }
}
