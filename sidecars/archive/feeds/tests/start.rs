//! A check of the configuration is the start's own code: both refuse the same, in the same words.

use fep_feeds::FeedsConfig;
use fep_kit::{Document, Stop};
use fep_process::{Notify, Process};

fn process(stop: Stop) -> Process {
    Process { stop, notify: Notify::default() }
}

// REQ: FEP-FEED-150
// REQ: FEP-FEED-161
#[test]
fn what_a_start_refuses_a_check_refuses_in_the_same_words() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("a file");
    for (text, expected) in [
        (
            "[archive]\nlog = \"fep=loud\"\n".to_owned(),
            "test.toml:2:1: archive.log: \"fep=loud\" is not a log filter",
        ),
        (
            "[feeding]\nlisten = \"localhost:80\"\n".to_owned(),
            "test.toml:2:1: feeding.listen: \"localhost:80\" is neither",
        ),
        ("[feeding]\nlisten_mode = \"9\"\n".to_owned(), "test.toml:2:1: feeding.listen_mode: no permissions"),
        (format!("[feeding]\ncursors = {file:?}\n"), "test.toml:2:1: feeding.cursors:"),
        (
            "\n[users.anna]\nroles = [\"read\"]\n".to_owned(),
            "test.toml:2:2: users: users are not configured here any more: a caller shows a ticket of fep-identity, or is a known peer (allowed: nothing; [identity] says",
        ),
        (
            "[feeding.clients.a]\nred = true\n".to_owned(),
            "feeding.clients: clients are not configured here any more: they show a ticket or a certificate",
        ),
        (
            "[feeding]\nlisten = \"0.0.0.0:8401\"\n".to_owned(),
            "test.toml:2:1: feeding.listen: 0.0.0.0:8401 can be reached from other machines",
        ),
        ("[identity]\nissuer = \"x\"\n".to_owned(), "test.toml:2:1: identity.issuer: unknown key"),
        (
            "[identity.peers.a]\nroles = [\"observer\"]\nscopes = []\n".to_owned(),
            "identity.peers.a: nothing proves that it is this service",
        ),
        (
            "[feeds.f]\nsources = [\"../../etc/passwd\"]\nsession = \"OPS\"\nform = \"framed\"\n\
             transport = { kind = \"tcp_server\", bind = \"127.0.0.1:0\" }\n"
                .to_owned(),
            "test.toml:2:1: feeds.f.sources: \"../../etc/passwd\" is no name of a ring",
        ),
    ] {
        let document = Document::from_text("test.toml", text).expect("TOML");
        let checked = FeedsConfig::read(&document).map(drop).expect_err(expected).to_string();
        assert!(checked.contains(expected), "{checked}\nexpected\n{expected}");
        assert!(checked.matches("allowed").count() <= 1, "what is allowed is said once: {checked}");
        let started = fep_feeds::run(&document, &process(Stop::default())).expect_err(expected);
        assert_eq!(started, checked);
    }
}

// REQ: FEP-KIT-172
#[test]
fn a_check_names_feeds_whose_certificates_cannot_be_used() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("missing.pem");
    let feed = |name: &str, port: u16, tls: &str| {
        format!(
            "[feeds.{name}]\nsources = [\"a.frames\"]\nsession = \"OPS\"\nform = \"framed\"\n\
             transport = {{ kind = \"tcp_server\", bind = \"127.0.0.1:{port}\"{tls} }}\n"
        )
    };
    let text = feed("plain", 4101, "")
        + &feed("ill", 4102, &format!(", certificate = {missing:?}, key = {missing:?}"));
    let document = Document::from_text("test.toml", text).expect("TOML");
    let notes = FeedsConfig::read(&document).expect("it starts").notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("feeds.ill does not run") && notes[0].contains("missing.pem: No such file"),
        "{notes:?}"
    );
}

// REQ: FEP-FEED-153
#[test]
fn a_second_process_with_the_same_cursors_ends_at_its_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = format!("[feeding]\nlisten = \"\"\ncursors = {:?}\n", dir.path().join("cursors"));
    let document = Document::from_text("test.toml", text).expect("TOML");
    let stops = [Stop::default(), Stop::default()];
    let mut threads: Vec<_> = stops
        .iter()
        .map(|stop| {
            let (document, process) = (document.clone(), process(stop.clone()));
            std::thread::spawn(move || fep_feeds::run(&document, &process))
        })
        .collect();
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let ended = loop {
        match threads.iter().position(std::thread::JoinHandle::is_finished) {
            Some(ended) => break ended,
            None => assert!(std::time::Instant::now() < give_up, "both run"),
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let refused = threads.remove(ended).join().expect("no panic").expect_err("the other has the directory");
    assert!(refused.contains("feeding.cursors, a directory for one process alone"), "{refused}");
    stops.iter().for_each(Stop::now);
    threads.remove(0).join().expect("no panic").expect("an orderly end");
}
