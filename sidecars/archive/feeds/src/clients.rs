//! Who may take a feed: clients by name and token, peers by address, and where red data may go.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use fep_kit::access::digest_of_hex;
use sha2::{Digest, Sha256};

use fep_feed_wire::address;
use fep_feed_wire::spec::{FeedSpec, Feeding, Transport};

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
    /// Of a configuration without mistakes.
    pub(crate) fn new(feeding: &Feeding) -> Clients {
        let known = feeding.clients.iter().filter_map(|(name, client)| {
            let digest = digest_of_hex(&client.token_sha256)?;
            let feeds = client.feeds.clone().unwrap_or_default();
            Some((name.clone(), Known { digest, feeds, red: client.red }))
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
            && !address::names(peers, ip)
        {
            return Err((
                format!("{ip} is none of the peers of this feed"),
                "its peers (transport.peers)".to_owned(),
            ));
        }
        if spec.is_red() && !address::names(&self.red_receivers, ip) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use fep_feed_wire::FeedSections;
    use fep_kit::Document;

    // REQ: FEP-FEED-403
    #[test]
    fn red_is_given_to_nobody_but_cleared_clients_at_addresses_that_are_named() {
        let text = "[feeding]\nred_receivers = [\"::ffff:127.0.0.1\"]\n\
            [feeding.clients.c]\nred = true\nfeeds = [\"red\"]\n\
            token_sha256 = \"8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8\"\n\
            [feeding.clients.d]\nfeeds = [\"red\", \"black\"]\n\
            token_sha256 = \"f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753\"\n\
            [feeds.red]\nsources = [\"red/a.frames\"]\nsession = \"OPS\"\nform = \"framed\"\n\
            transport = { kind = \"tcp_server\", bind = \"127.0.0.1:0\" }\n\
            [feeds.black]\nsources = [\"a.frames\"]\nsession = \"OPS\"\nform = \"framed\"\n\
            transport = { kind = \"tcp_server\", bind = \"127.0.0.1:0\", peers = [\"127.0.0.2\"] }\n";
        let document = Document::from_text("archive.toml", text).expect("TOML");
        let config = FeedSections::read(&document).unwrap_or_else(|errors| panic!("{errors}"));
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
