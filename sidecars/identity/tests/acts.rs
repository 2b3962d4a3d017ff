//! What the real process reports and counts of acts, those that fail and those whose caller goes away among them.

mod site;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use site::{PASSWORD, PATIENCE, Site, everything};

/// Names of the events of a process that has ended, with what they are about.
fn events(site: &Site) -> Vec<(String, String)> {
    let attached =
        fep_bus::Consumer::attach(&site.path("bus"), "identity.events", "test", fep_bus::Resume::Oldest);
    let (mut consumer, mut found, mut payload) = (attached.expect("a ring"), Vec::new(), Vec::new());
    while let fep_bus::Poll::Record(_) = consumer.poll(&mut payload) {
        let event: Value = serde_json::from_slice(&payload).expect("JSON");
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        found.push((text("event"), text("subject")));
    }
    found
}

// REQ: FEP-IDN-170
#[test]
fn what_fails_after_it_was_recorded_is_neither_an_event_nor_counted_as_done() {
    let site = Site::new();
    assert!(site.add_administrator("anna", PASSWORD).status.success());
    let running = site.start();
    let anna = running.login("anna");
    let administrator = |name: &str, password: &str| json!({"name": name, "password": password, "roles": ["administrator"], "scopes": everything()});
    running.json("POST /v1/accounts", &anna, &administrator("bert", PASSWORD));
    // The account exists; the password holds the name of its account.
    for (name, password) in [("bert", PASSWORD), ("anna", PASSWORD), ("carl", "carl and his long password")] {
        let (status, text) = running.ask("POST /v1/accounts", &anna, &administrator(name, password));
        assert_eq!(status, 409, "{name}: {text}");
    }
    assert_eq!(running.ask("POST /v1/accounts/nobody/disable", &anna, &Value::Null).0, 404);
    assert_eq!(running.ask("POST /v1/accounts/nobody/enable", &anna, &Value::Null).0, 404);
    let metrics = running.ask("GET /metrics", "", &Value::Null).1;
    for (action, count) in [
        ("account added", 1),
        ("account not added", 3),
        ("account not disabled", 1),
        ("account not enabled", 1),
        ("login", 1),
    ] {
        assert!(metrics.contains(&format!("{{action=\"{action}\"}} {count}\n")), "{action}: {metrics}");
    }
    for action in ["account disabled", "account enabled"] {
        assert!(!metrics.contains(&format!("{{action=\"{action}\"}}")), "{action}: {metrics}");
    }
    let added = running.json("GET /v1/audit?action=account%20added", &anna, &Value::Null);
    assert_eq!(added.as_array().map(Vec::len), Some(4), "the trail has what was tried");
    running.stop();
    let found = events(&site);
    let of = |name: &str| -> Vec<&str> {
        found.iter().filter(|(event, _)| event == name).map(|(_, subject)| subject.as_str()).collect()
    };
    assert_eq!(of("administrator_made"), ["bert"], "{found:?}");
    assert_eq!(of("account_disabled"), [""; 0], "{found:?}");
}

// REQ: FEP-IDN-170
#[test]
fn what_is_done_is_recorded_and_reported_also_when_the_caller_has_gone() {
    let site = Site::new();
    assert!(site.add_administrator("anna", PASSWORD).status.success());
    let running = site.start();
    let anna = running.login("anna");
    let until = Instant::now() + PATIENCE;
    let wait_for = |path: &str| {
        while running.json(path, &anna, &Value::Null).as_array().is_none_or(Vec::is_empty) {
            assert!(Instant::now() < until, "{path}: nothing");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    for name in ["hidden-1", "hidden-2", "hidden-3"] {
        let new =
            json!({"name": name, "password": PASSWORD, "roles": ["administrator"], "scopes": everything()});
        let asked = running.send("POST /v1/accounts", &anna, &new);
        // It is recorded, and the password is being hashed: the caller goes.
        wait_for(&format!("GET /v1/audit?action=account%20added&subject={name}"));
        drop(asked);
    }
    let made = || running.ask("GET /metrics", "", &Value::Null).1.contains("{action=\"account added\"} 3\n");
    while !made() {
        assert!(Instant::now() < until, "what was begun was not done, or not counted");
        std::thread::sleep(Duration::from_millis(20));
    }
    running.stop();
    let found = events(&site);
    for name in ["hidden-1", "hidden-2", "hidden-3"] {
        assert!(found.contains(&("administrator_made".to_owned(), name.to_owned())), "{name}: {found:?}");
    }
}
