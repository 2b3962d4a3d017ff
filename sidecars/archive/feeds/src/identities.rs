//! Who may take a feed: clients by ticket or certificate, peers by address, and where red data may go.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fep_bus::Colour;
use fep_feed_wire::address;
use fep_feed_wire::spec::{FeedSpec, Transport};
use fep_identity::{Authenticator, Caller, Credentials, NumericDate, Person, Role, Spacecraft};
use fep_record::Session;
use fep_time::Monotonic;

/// Why somebody is refused, and what would be right.
pub(crate) type Refusal = (String, String);

/// How often it is looked whether a client still is who it was: a revocation ends its connection after this time, and that of
/// one look at the file of public keys.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What begins an API token, which only fep-identity takes.
const API_TOKEN: &str = "fep_";

/// Who may take feeds, and where red data may go.
#[derive(Debug)]
pub(crate) struct Identities {
    authenticator: Arc<Authenticator>,
    red_receivers: Vec<IpAddr>,
}

/// A client that was let in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admitted {
    /// Who it is; `None` where the feed asks nobody.
    pub(crate) person: Option<Person>,
    /// The spacecraft that its scopes reach in this feed; `None` is every one, also those that are added later.
    pub(crate) spacecraft: Option<Vec<u16>>,
    proof: Option<Proof>,
}

/// What a client proved who it is with, to be looked at again.
#[derive(Debug, Clone)]
struct Proof {
    token: Option<String>,
    credentials: Credentials,
    caller: Arc<Caller>,
    /// When it ends whatever the clock of the machine says meanwhile: a clock that is set back prolongs nothing.
    ends_at: Option<Instant>,
}

impl Identities {
    pub(crate) fn new(authenticator: Arc<Authenticator>, red_receivers: Vec<IpAddr>) -> Identities {
        Identities { authenticator, red_receivers }
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

    /// Whether a client may take a feed: an observer whose scopes reach its colour, its session and some of its spacecraft.
    ///
    /// # Errors
    /// A refusal. Of a proof that does not hold it says no more than that; the log says why.
    pub(crate) fn admit(
        &self,
        feed: &FeedSpec,
        token: Option<&str>,
        credentials: Credentials,
    ) -> Result<Admitted, Refusal> {
        if feed.anonymous {
            return Ok(Admitted::default());
        }
        self.authenticator.look(Monotonic::now());
        let now = NumericDate::now();
        let caller = self.authenticator.caller(token, credentials.clone(), now).map_err(|why| {
            tracing::info!("a client is not known: {why}");
            let reason = match token {
                Some(token) if token.starts_with(API_TOKEN) => "an API token is not accepted here",
                Some(_) => "this ticket is not accepted",
                None => "nothing shows who this is",
            };
            let allowed = "\"token\" in the hello: a ticket (POST /v1/login of fep-identity, POST /v1/ticket for an \
                           API token); or the TLS certificate of a service in [identity.peers]";
            (reason.to_owned(), allowed.to_owned())
        })?;
        let denied = |denied: String| (denied, "an administrator gives roles and scopes".to_owned());
        caller.may_as(Role::Observer).map_err(|error| denied(error.to_string()))?;
        let spacecraft = spacecraft(&caller, feed)
            .ok_or_else(|| denied(format!("no scope of {} reaches this feed", caller.person.account)))?;
        let ends_at = caller.until.and_then(|until| {
            let left_s = u64::try_from(until.s_since(now)).unwrap_or(0);
            Instant::now().checked_add(Duration::from_secs(left_s))
        });
        let person = Some(caller.person.clone());
        let proof = Some(Proof { token: token.map(str::to_owned), credentials, caller, ends_at });
        Ok(Admitted { person, spacecraft, proof })
    }

    /// Why a client that was let in may not stay.
    fn may_stay(&self, proof: &Proof) -> Result<(), String> {
        if proof.ends_at.is_some_and(|at| Instant::now() >= at) {
            return Err("its ticket has ended".to_owned());
        }
        self.authenticator.look(Monotonic::now());
        let now =
            self.authenticator.caller(proof.token.as_deref(), proof.credentials.clone(), NumericDate::now());
        match now {
            Ok(now) if now.roles == proof.caller.roles && now.scopes == proof.caller.scopes => Ok(()),
            Ok(_) => Err("it may do something else now".to_owned()),
            Err(why) => Err(why.to_string()),
        }
    }

    /// What is wrong with the file of public keys, if anything is.
    pub(crate) fn fault(&self) -> Option<String> {
        self.authenticator.look(Monotonic::now());
        self.authenticator.fault()
    }
}

/// Looks now and then whether a client may stay.
pub(crate) struct Watch<'a> {
    identities: &'a Identities,
    proof: Option<&'a Proof>,
    next: Instant,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(identities: &'a Identities, admitted: &'a Admitted) -> Watch<'a> {
        Watch { identities, proof: admitted.proof.as_ref(), next: Instant::now() + LOOK_EVERY }
    }

    /// Why the client may not stay, at most [`LOOK_EVERY`] after it became so.
    pub(crate) fn turned(&mut self, now: Instant) -> Result<(), String> {
        let Some(proof) = self.proof.filter(|_| now >= self.next) else { return Ok(()) };
        self.next = now + LOOK_EVERY;
        self.identities.may_stay(proof)
    }
}

/// The colour of a feed.
pub(crate) fn colour(feed: &FeedSpec) -> Colour {
    if feed.is_red() { Colour::Red } else { Colour::Black }
}

/// The spacecraft of a feed that a caller reaches: `None` is nothing, `Some(None)` is every one.
fn spacecraft(caller: &Caller, feed: &FeedSpec) -> Option<Option<Vec<u16>>> {
    let session = Session::from(feed.session);
    let of_feed =
        |scope: &&fep_identity::Scope| scope.colours.has(colour(feed)) && scope.sessions.has(session);
    let mut reached = Vec::new();
    for scope in caller.scopes.iter().filter(of_feed) {
        match &scope.spacecraft {
            Spacecraft::All(_) => return Some(None),
            Spacecraft::These(scids) => reached.extend(scids),
        }
    }
    let wanted = &feed.filter.spacecraft;
    let meets = reached.iter().any(|scid| wanted.is_empty() || wanted.contains(scid));
    meets.then_some(Some(reached))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use fep_feed_wire::FeedSections;
    use fep_identity::{Colours, PeerCertificate, PeerService, Peers, RoleSet, Scope, Sessions};
    use fep_kit::Document;

    fn feeds() -> BTreeMap<String, FeedSpec> {
        let text = "[feeds.red]\nsources = [\"red/a.frames\"]\nsession = \"OPS\"\nform = \"framed\"\n\
            transport = { kind = \"tcp_server\", bind = \"127.0.0.1:0\" }\n\
            [feeds.black]\nsources = [\"a.frames\"]\nsession = \"OPS\"\nform = \"framed\"\n\
            transport = { kind = \"tcp_server\", bind = \"127.0.0.1:0\", peers = [\"127.0.0.2\"] }\n\
            [feeds.one]\nsources = [\"a.frames\"]\nsession = \"OPS\"\nform = \"framed\"\nfilter = { spacecraft = [157] }\n\
            transport = { kind = \"tcp_server\", bind = \"127.0.0.1:0\" }\n\
            [feeds.test]\nsources = [\"a.frames\"]\nsession = \"TEST\"\nform = \"framed\"\n\
            transport = { kind = \"tcp_server\", bind = \"127.0.0.1:0\" }\n";
        let document = Document::from_text("archive.toml", text).expect("TOML");
        FeedSections::read(&document).unwrap_or_else(|errors| panic!("{errors}")).feeds
    }

    fn scope(spacecraft: Spacecraft, colours: &[Colour], sessions: &[Session]) -> Scope {
        Scope { spacecraft, colours: Colours::of(colours), sessions: Sessions::of(sessions) }
    }

    /// Services known by the names of their certificates.
    fn identities(services: &[(&str, &[Role], Vec<Scope>)]) -> (tempfile::TempDir, Identities) {
        let dir = tempfile::tempdir().expect("a directory");
        let peers = services.iter().map(|(name, roles, scopes)| {
            let certificate = Some(format!("dns:{name}").parse().expect("a name"));
            let roles = RoleSet::of(roles);
            ((*name).to_owned(), PeerService { uid: None, certificate, roles, scopes: scopes.clone() })
        });
        let authenticator = Authenticator::new(&dir.path().join("none"), Peers::new(peers.collect()));
        let red = vec!["::ffff:127.0.0.1".parse().expect("an address")];
        let identities = Identities::new(Arc::new(authenticator.expect("no keys yet")), red);
        (dir, identities)
    }

    fn shows(name: &str) -> Credentials {
        let certificate = PeerCertificate { spki_sha256: [0; 32], dns_names: vec![name.to_owned()] };
        Credentials::Certificate(Arc::new(certificate))
    }

    // REQ: FEP-FEED-403
    #[test]
    fn red_data_goes_to_addresses_that_are_named_and_peers_are_held_to_their_list() {
        let (feeds, (_dir, identities)) = (feeds(), identities(&[]));
        let connects = |feed: &str, peer: &str| {
            identities.may_connect(&feeds[feed], peer.parse().expect("an address")).is_ok()
        };
        assert!(connects("red", "127.0.0.1:5"));
        assert!(connects("red", "[::ffff:127.0.0.1]:5"), "the same machine");
        assert!(!connects("red", "127.0.0.2:5") && !connects("red", "10.0.0.7:5"));
        assert!(connects("black", "127.0.0.2:5") && !connects("black", "127.0.0.1:5"));
    }

    // REQ: FEP-FEED-162
    #[test]
    fn a_feed_is_for_observers_whose_scopes_reach_its_colour_session_and_spacecraft() {
        let (black, red, ops, test) = (Colour::Black, Colour::Red, Session::Ops, Session::Test);
        let both = [black, red];
        let mixture =
            vec![scope(Spacecraft::ALL, &[red], &[test]), scope(Spacecraft::these([157]), &[black], &[ops])];
        let (_dir, identities) = identities(&[
            ("all", &[Role::Observer], vec![Scope::ALL]),
            ("operator", &[Role::Operator], vec![Scope::ALL]),
            ("black", &[Role::Observer], vec![scope(Spacecraft::ALL, &[black], &[ops])]),
            ("other", &[Role::Observer], vec![scope(Spacecraft::these([9]), &both, &[ops])]),
            ("mixture", &[Role::Observer], mixture),
            ("nothing", &[Role::Observer], vec![]),
        ]);
        let feeds = feeds();
        let all = Ok(None);
        let only = |scids: &[u16]| Ok(Some(scids.to_vec()));
        let no = |name: &str| Err(format!("no scope of {name} reaches this feed"));
        for (name, feed, expected) in [
            ("all", "red", all.clone()),
            ("all", "one", all.clone()),
            ("all", "test", all.clone()),
            ("black", "black", all.clone()),
            ("black", "red", no("black")),
            ("black", "test", no("black")),
            ("other", "black", only(&[9])),
            ("other", "red", only(&[9])),
            ("other", "one", no("other")),
            ("mixture", "black", only(&[157])),
            ("mixture", "one", only(&[157])),
            ("mixture", "red", no("mixture")),
            ("mixture", "test", no("mixture")),
            ("nothing", "black", no("nothing")),
            ("stranger", "black", Err("nothing shows who this is".to_owned())),
            ("operator", "black", Err("operator has none of the roles that this needs: observer".to_owned())),
        ] {
            let admitted = identities.admit(&feeds[feed], None, shows(name));
            let found = admitted.map(|admitted| admitted.spacecraft).map_err(|(reason, _)| reason);
            assert_eq!(found, expected, "{name} {feed}");
        }
        let forged = identities.admit(&feeds["black"], Some("a.b.c"), shows("all"));
        assert_eq!(forged.map(drop).expect_err("forged").0, "this ticket is not accepted");
    }
}
