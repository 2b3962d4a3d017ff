//! The order of the crates: who may stand on whom (docs/architecture.md draws it), held against what cargo resolves.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::root;

/// What each crate may depend on, of this workspace; tests and benchmarks stand on what they measure. A crate that is not
/// listed is refused, so that nobody forgets to think of its place.
const ORDER: &[(&str, &[&str])] = &[
    // Time and bytes are arguments up to `fep-downlink`: no clock but fep-time's, no socket, no thread.
    ("fep-time", &[]),
    ("fep-colour", &[]),
    ("fep-coding", &[]),
    ("fep-config", &[]),
    ("fep-ccsds", &["fep-coding", "fep-time"]),
    ("fep-mission", &["fep-ccsds", "fep-coding", "fep-colour", "fep-config", "fep-time"]),
    ("fep-record", &["fep-ccsds", "fep-time"]),
    ("fep-downlink", &["fep-ccsds", "fep-coding", "fep-mission", "fep-record", "fep-time"]),
    // Shared memory, sockets, simulators: they know nothing of one another.
    ("fep-bus", &["fep-colour", "fep-time"]),
    ("fep-net", &["fep-time"]),
    ("fep-sim", &["fep-ccsds", "fep-coding", "fep-time"]),
    // The daemon: what it is configured with and says, and what it does.
    (
        "fep-control",
        &[
            "fep-ccsds",
            "fep-coding",
            "fep-config",
            "fep-downlink",
            "fep-mission",
            "fep-net",
            "fep-record",
            "fep-time",
        ],
    ),
    (
        "fepd",
        &[
            "fep-bus",
            "fep-ccsds",
            "fep-coding",
            "fep-config",
            "fep-control",
            "fep-downlink",
            // Of the kit only what is a declaration: codes of events, and signs of life.
            "fep-events",
            "fep-mission",
            "fep-net",
            "fep-notify",
            "fep-record",
            "fep-time",
        ],
    ),
    // Sidecars: never the engine, never one another's insides.
    ("fep-kit", &["fep-config", "fep-time"]),
    // The parts of the kit that keep something; each is there for whoever needs it alone.
    ("fep-file", &[]),
    // Its tests stand on its own feature `testing`.
    ("fep-database", &["fep-file", "fep-time"]),
    ("fep-audit", &["fep-database", "fep-time"]),
    ("fep-events", &["fep-record"]),
    ("fep-event-ring", &["fep-bus", "fep-events", "fep-file", "fep-record", "fep-segments", "fep-time"]),
    ("fep-notify", &[]),
    ("fep-process", &["fep-kit", "fep-notify"]),
    ("fep-jobs", &["fep-database", "fep-time"]),
    ("fep-orders", &["fep-audit", "fep-database", "fep-time"]),
    ("fep-identity", &["fep-bus", "fep-file", "fep-record", "fep-time"]),
    (
        "fep-route",
        &[
            "fep-audit",
            "fep-bus",
            "fep-database",
            "fep-identity",
            "fep-jobs",
            "fep-kit",
            "fep-notify",
            "fep-orders",
            "fep-record",
            "fep-time",
        ],
    ),
    // Reached from outside: its types are its own, so that whoever asks a service links nothing of it.
    ("fep-client", &["fep-colour", "fep-time"]),
    ("fep-password", &[]),
    // The proof of the kit: everything that a service may stand on.
    (
        "fep-template",
        &[
            "fep-audit",
            "fep-database",
            "fep-event-ring",
            "fep-events",
            "fep-identity",
            "fep-jobs",
            "fep-kit",
            "fep-orders",
            "fep-process",
            "fep-record",
            "fep-route",
            "fep-time",
        ],
    ),
    // The one process that reads accounts and private keys.
    (
        "fep-identity-service",
        &[
            "fep-audit",
            "fep-database",
            "fep-event-ring",
            "fep-events",
            "fep-identity",
            "fep-kit",
            "fep-password",
            "fep-process",
            "fep-record",
            "fep-route",
            "fep-time",
        ],
    ),
    ("fep-segments", &["fep-bus", "fep-file", "fep-record", "fep-time"]),
    ("fep-archive-query", &["fep-colour", "fep-record", "fep-time"]),
    (
        "fep-recorder",
        &[
            "fep-bus",
            "fep-config",
            "fep-event-ring",
            "fep-events",
            "fep-kit",
            "fep-process",
            "fep-record",
            "fep-segments",
            "fep-time",
        ],
    ),
    (
        "fep-catalogue",
        &[
            "fep-archive-query",
            "fep-audit",
            "fep-bus",
            "fep-ccsds",
            "fep-colour",
            "fep-database",
            "fep-downlink",
            "fep-file",
            "fep-jobs",
            "fep-mission",
            "fep-orders",
            "fep-record",
            "fep-segments",
            "fep-time",
        ],
    ),
    // What is played again goes out by the wire format of the feeds.
    ("fep-feed-wire", &["fep-bus", "fep-config", "fep-record", "fep-time"]),
    ("fep-replay", &["fep-bus", "fep-feed-wire", "fep-record", "fep-segments", "fep-time"]),
    (
        "fep-feeds",
        &[
            "fep-bus",
            "fep-ccsds",
            "fep-config",
            "fep-event-ring",
            "fep-events",
            "fep-feed-wire",
            "fep-file",
            "fep-identity",
            "fep-kit",
            "fep-process",
            "fep-record",
            "fep-route",
            "fep-segments",
            "fep-time",
        ],
    ),
    (
        "fep-archive",
        &[
            "fep-archive-query",
            "fep-audit",
            "fep-bus",
            "fep-catalogue",
            "fep-ccsds",
            "fep-database",
            "fep-downlink",
            "fep-event-ring",
            "fep-events",
            "fep-feed-wire",
            "fep-file",
            "fep-config",
            "fep-identity",
            "fep-jobs",
            "fep-kit",
            "fep-mission",
            "fep-orders",
            "fep-process",
            "fep-record",
            "fep-replay",
            "fep-route",
            "fep-segments",
            "fep-time",
        ],
    ),
    // One query a process; what it is asked comes as an order.
    ("fep-archive-sql", &["fep-archive-query", "fep-catalogue"]),
    // A client of everything, and of the daemon's threads nothing.
    (
        "fepctl",
        &[
            "fep-archive-query",
            "fep-bus",
            "fep-ccsds",
            "fep-client",
            "fep-coding",
            "fep-config",
            "fep-control",
            "fep-downlink",
            "fep-event-ring",
            "fep-events",
            "fep-file",
            "fep-mission",
            "fep-password",
            "fep-record",
            "fep-segments",
            "fep-sim",
            "fep-time",
        ],
    ),
];

/// Crates that measure or test the others.
const OUTSIDE: &[&str] = &["fep-benches", "fep-tests"];

/// What cargo resolves for this workspace.
pub(crate) fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// Names of the packages that each package of the workspace depends on to be built, its tests left out.
fn dependencies(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let members: BTreeSet<&str> =
        metadata["workspace_members"].as_array().expect("members").iter().filter_map(Value::as_str).collect();
    let packages = metadata["packages"].as_array().expect("packages");
    let own = packages.iter().filter(|package| members.contains(package["id"].as_str().unwrap_or("")));
    own.map(|package| {
        let needed = package["dependencies"].as_array().expect("dependencies").iter();
        let needed = needed.filter(|dependency| dependency["kind"].is_null());
        let names = needed.filter_map(|dependency| dependency["name"].as_str()).map(str::to_owned);
        (package["name"].as_str().expect("a name").to_owned(), names.collect())
    })
    .collect()
}

#[test]
fn crates_depend_on_one_another_in_the_order_of_the_design() {
    let found = dependencies(&metadata());
    let order: BTreeMap<&str, &[&str]> = ORDER.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, needed) in &found {
        let own: Vec<&String> = needed.iter().filter(|other| found.contains_key(*other)).collect();
        match order.get(name.as_str()) {
            Some(allowed) => wrong.extend(
                own.iter()
                    .filter(|other| !allowed.contains(&other.as_str()))
                    .map(|other| format!("{name} must not depend on {other}")),
            ),
            None if OUTSIDE.contains(&name.as_str()) => {}
            None => wrong.push(format!("{name} has no place in the order (tests/tidy/order.rs)")),
        }
    }
    wrong.extend(
        order.keys().filter(|name| !found.contains_key(**name)).map(|name| format!("no crate is {name}")),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Everything that is linked with a package, by the features that it asks for itself.
fn linked(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn decoding_links_no_web_server_no_runtime_and_no_ring_of_the_kernel() {
    let heavy = ["axum", "tokio", "hyper", "io-uring", "socket2"];
    for package in ["fep-downlink", "fep-mission", "fep-control"] {
        let linked = linked(package);
        let found: Vec<_> = heavy.iter().filter(|name| linked.contains(**name)).collect();
        assert!(found.is_empty(), "{package} links {found:?}");
    }
    // What is played again, and who speaks with a feed, need no server of feeds.
    for package in ["fep-feed-wire", "fep-replay"] {
        let linked = linked(package);
        let found: Vec<_> = heavy.iter().filter(|name| linked.contains(**name)).collect();
        assert!(found.is_empty() && !linked.contains("fep-feeds"), "{package} links {found:?}");
    }
    assert!(!linked("fep-archive").contains("fep-feeds"), "fep-archive links the server of the feeds");
    let linked = linked("fepctl");
    let found: Vec<_> =
        ["fepd", "axum", "io-uring"].into_iter().filter(|name| linked.contains(*name)).collect();
    assert!(found.is_empty(), "fepctl links {found:?}");
}
