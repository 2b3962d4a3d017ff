//! Feeds over TLS: services are known by their certificates, others by a ticket that nobody reads on the way.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use fep_feed_wire::control::FromFeed;
use fep_feed_wire::wire::{Decoder, MESSAGE_MAX, Message, encode_acknowledgement, encode_control};
use fep_identity::Scope;
use fep_record::Session;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::*;

/// What the tests of one house need: authority of clients, certificate of the feed.
struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
    server: CertificateDer<'static>,
}

impl Pki {
    fn new(dir: &Path) -> Pki {
        let mut params = CertificateParams::new(vec![]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let authority = authority.expect("an authority");
        std::fs::write(dir.join("clients.pem"), authority.pem()).expect("written");
        let made = rcgen::generate_simple_self_signed(vec!["fep.example".to_owned()]).expect("a certificate");
        std::fs::write(dir.join("cert.pem"), made.cert.pem()).expect("written");
        std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(dir.join("key.pem"), mode).expect("set");
        Pki { authority, server: made.cert.der().clone() }
    }

    fn feed(dir: &Path) -> String {
        let tls = format!(
            "bind = \"127.0.0.1:0\", certificate = {:?}, key = {:?}, client_ca = {:?}",
            dir.join("cert.pem"),
            dir.join("key.pem"),
            dir.join("clients.pem")
        );
        asking().replace("bind = \"127.0.0.1:0\"", &tls)
    }

    /// A connection that shows the certificate of this name, if any.
    fn connect(&self, address: SocketAddr, name: Option<&str>) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.server.clone()).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let config = match name {
            None => config.with_no_client_auth(),
            Some(name) => {
                let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                let key = KeyPair::generate().expect("a key");
                let certificate = params.signed_by(&key, &self.authority).expect("signed").der().clone();
                let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
                config.with_client_auth_cert(vec![certificate], key).expect("they belong together")
            }
        };
        let name = ServerName::try_from("fep.example").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(LONG)).expect("a timeout");
        StreamOwned::new(connection, stream)
    }
}

/// Says hello, and acknowledges after `count` records; their payloads, or why it was refused.
fn take(
    stream: &mut StreamOwned<ClientConnection, TcpStream>,
    more: &str,
    count: usize,
) -> Result<Vec<Vec<u8>>, String> {
    let hello = format!("{{\"say\":\"hello\",\"protocol\":1,\"client\":\"c\"{more}}}");
    let mut octets = Vec::new();
    encode_control(hello.as_bytes(), &mut octets);
    stream.write_all(&octets).map_err(|error| error.to_string())?;
    let (mut decoder, mut buffer) = (Decoder::new(MESSAGE_MAX), vec![0; 65_536]);
    let (mut taken, mut last) = (Vec::new(), 0);
    while taken.len() < count {
        let read = stream.read(&mut buffer).map_err(|error| error.to_string())?;
        if read == 0 {
            return Err("closed".to_owned());
        }
        decoder.push(&buffer[..read]);
        while let Some(message) = decoder.next_message().expect("messages") {
            match message {
                Message::Record(head, payload) => {
                    last = head.number;
                    taken.push(payload.to_vec());
                }
                Message::Control(json) => {
                    if let FromFeed::Refused { reason, .. } = serde_json::from_slice(json).expect("control") {
                        return Err(reason);
                    }
                }
                Message::Acknowledgement(_) => panic!("from a feed"),
            }
        }
    }
    if more.contains("acknowledge") {
        octets.clear();
        encode_acknowledgement(last, &mut octets);
        stream.write_all(&octets).map_err(|error| error.to_string())?;
    }
    Ok(taken)
}

// REQ: FEP-FEED-167
#[test]
fn over_tls_a_service_is_known_by_its_certificate_and_a_person_by_a_ticket() {
    let mut house = House::new(&["a.frames"]);
    let pki = Pki::new(house.dir.path());
    house.account("anna", vec![Scope::ALL]);
    house.peers = "[identity.peers.archive]\ncertificate = \"dns:archive.example\"\nroles = [\"observer\"]\n\
                   scopes = [{ spacecraft = \"all\", colours = [\"black\"], sessions = [\"ops\"] }]\n"
        .to_owned();
    house.frames("a.frames", 0..3000, Session::Ops);
    house.start(&Pki::feed(house.dir.path()));
    let address = house.address("f");
    let expected: Vec<Vec<u8>> = (0..3000).map(payload).collect();
    let mut stream = pki.connect(address, Some("archive.example"));
    assert_eq!(take(&mut stream, ",\"acknowledge\":true", 3000).as_ref(), Ok(&expected));
    house.until("its acknowledgement is taken", "f", |status| {
        status.clients[0].sources.first().is_some_and(|source| source.confirmed_seq == 3001)
    });
    let status = house.client("f", "c");
    assert_eq!(status.owner.as_deref(), Some("service:archive"));
    for (name, more, reason) in [
        (None, String::new(), "nothing shows who this is"),
        (Some("stranger.example"), String::new(), "nothing shows who this is"),
        (None, format!(",\"token\":\"{}\"", house.ticket("anna")), "the name \"c\" belongs to somebody else"),
        // A ticket that is refused is not made good by the certificate.
        (Some("archive.example"), ",\"token\":\"a.b.c\"".to_owned(), "this ticket is not accepted"),
    ] {
        let refused = take(&mut pki.connect(address, name), &more, 1);
        assert_eq!(refused, Err(reason.to_owned()), "{name:?}");
    }
    // Who speaks no TLS gets nothing but an end.
    let mut plain = TcpStream::connect(address).expect("it listens");
    plain.set_read_timeout(Some(LONG)).expect("a timeout");
    let mut octets = Vec::new();
    encode_control(b"{\"say\":\"hello\",\"protocol\":1,\"client\":\"x\"}", &mut octets);
    plain.write_all(&octets).expect("sent");
    let mut said = Vec::new();
    // The end may come as a reset: what was sent was not read.
    let _ = plain.read_to_end(&mut said);
    assert!(said.len() < 16, "an alert at most: {said:?}");
}

// REQ: FEP-FEED-167
#[test]
fn over_tls_the_cursor_never_passes_what_the_client_cannot_read_yet_and_reaches_all_it_can() {
    let mut house = House::new(&["a.frames"]);
    let pki = Pki::new(house.dir.path());
    house.peers = "[identity.peers.archive]\ncertificate = \"dns:archive.example\"\nroles = [\"observer\"]\n\
                   scopes = [{ spacecraft = \"all\", colours = [\"black\"], sessions = [\"ops\"] }]\n"
        .to_owned();
    house.start(&Pki::feed(house.dir.path()));
    // It takes nothing after its hello, so that records wait in sockets, in TLS and in the feed.
    let mut stream = pki.connect(house.address("f"), Some("archive.example"));
    assert_eq!(take(&mut stream, "", 0), Ok(vec![]));
    house.until("it is served", "f", |status| {
        status.clients.first().is_some_and(|client| client.peer.is_some())
    });
    for batch in 0..40 {
        house.frames("a.frames", batch * 100..(batch + 1) * 100, Session::Ops);
        house.until("they are followed", "f", |status| {
            let client = &status.clients[0];
            client.counts.followed == (batch + 1) * 100 || client.on_the_way > 1000
        });
    }
    let before = house.client("f", "c").sources[0].confirmed_seq;
    assert!(before <= 4001, "{before}");
    // Whatever arrives of it now is confirmed, to the last record.
    let (mut decoder, mut buffer, mut number) = (Decoder::new(MESSAGE_MAX), vec![0; 65_536], 0);
    while number < 4000 {
        let read = stream.read(&mut buffer).expect("octets");
        assert!(read > 0, "the feed closed the connection");
        decoder.push(&buffer[..read]);
        while let Some(message) = decoder.next_message().expect("messages") {
            if let Message::Record(_, octets) = message {
                assert_eq!(octets, payload(number));
                number += 1;
            }
        }
    }
    house.until("all of it is confirmed", "f", |status| status.clients[0].sources[0].confirmed_seq == 4001);
}
