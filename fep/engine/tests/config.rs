//! The configuration: what is built in loads, and every mistake is told with file, line, key and allowed values.

use std::fmt::Write as _;

use fep_ccsds::record::Session;
use fep_net::TransportSpec;
use fepd::config::{self, ConfigErrors, CorePolicy, VcService};
use proptest::prelude::*;

fn errors(text: &str) -> Vec<String> {
    match config::load_text("site.toml", text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(ConfigErrors(errors)) => errors.iter().map(ToString::to_string).collect(),
    }
}

// REQ: FEP-CFG-001
#[test]
fn the_built_in_configuration_loads_and_names_the_eight_simulated_links() {
    let config = config::load(None).unwrap_or_else(|errors| panic!("{errors}"));
    let links: Vec<&str> = config.links.iter().map(|link| link.channel.name.as_str()).collect();
    assert_eq!(
        links,
        [
            "aqua/db",
            "cso/cso-1",
            "cso/cso-2",
            "cso/cso-2-payload",
            "metopb/ahrpt",
            "noaa20/hrd",
            "noaa21/hrd",
            "npp/hrd"
        ]
    );
    assert!(config.links.iter().all(|link| link.session == Session::Test), "simulated data never looks live");
    let ids: std::collections::BTreeSet<u16> = config.links.iter().map(|link| link.id).collect();
    assert_eq!(ids.len(), config.links.len(), "numbers are distinct");
}

// REQ: FEP-CFG-002
#[test]
fn the_managed_parameters_of_the_captures_are_those_of_the_vectors() {
    for (mission, channel, scid, interleave, frame_len, insert_zone, trailer) in [
        ("npp", "hrd", 157, 4, 892, 0, 0),
        ("noaa20", "hrd", 159, 4, 892, 0, 0),
        ("aqua", "db", 154, 4, 892, 0, 0),
        ("metopb", "ahrpt", 11, 4, 892, 2, 0),
        ("noaa21", "hrd", 177, 5, 1115, 9, 4),
    ] {
        let mission = config::load_mission(mission).unwrap_or_else(|errors| panic!("{errors}"));
        let channel = &mission.channels[channel];
        assert_eq!((channel.scid, channel.frame.frame_len), (scid, frame_len));
        assert_eq!((channel.frame.insert_zone_len, channel.frame.trailer_len), (insert_zone, trailer));
        assert_eq!(channel.block_len(), 255 * interleave);
        assert!(channel.vcs.iter().any(|vc| vc.id == 63 && vc.service == VcService::Idle));
    }
}

// REQ: FEP-CFG-003
#[test]
fn every_mistake_is_told_at_once_with_its_line_its_key_and_what_is_allowed() {
    let text = r#"
[daemon]
realtime_priorty = 50
lock_memory = "yes"
control_mode = "rw"
log = "loud"

[rings]
frames_desc_log2 = 99
packets_data_mib = 48

[link]
session = "LIVE"

[links.alpha]
channel = "npp/xband"
transport = { kind = "tcp_client", address = "station:4001" }

[links.beta]
channel = "npp/hrd"
transport = { kind = "tcp_client", adress = "127.0.0.1:4001" }
core = 3

[links.gamma]
channel = "npp/hrd"
transport = { kind = "udp", bind = "0.0.0.0:4001" }
core = 3
reconnect_min_ms = 9000

[links.Delta]
channel = "npp/hrd"
"#;
    let channels =
        "aqua/db, cso/cso-1, cso/cso-2, cso/cso-2-payload, metopb/ahrpt, noaa20/hrd, noaa21/hrd, npp/hrd";
    let keys = "control_group, control_mode, control_socket, cores, lock_memory, log, metrics_address, \
                realtime_priority, run_dir";
    let expected = [
        format!("site.toml:3:1: daemon.realtime_priorty: unknown key (allowed: {keys})"),
        "site.toml:4:15: daemon.lock_memory: expected true or false, found a string".to_owned(),
        "site.toml:5:16: daemon.control_mode: \"rw\" are no permissions (allowed: octal digits, \"0600\" to \"0777\", \
         the owner reading and writing)"
            .to_owned(),
        "site.toml:6:7: daemon.log: \"loud\" is not a choice (allowed: error, warn, info, debug, trace)".to_owned(),
        "site.toml:9:20: rings.frames_desc_log2: 99 is out of range (allowed: 4 to 28)".to_owned(),
        "site.toml:10:20: rings.packets_data_mib: 48 is no power of two (allowed: 1, 2, 4, 8, … 1048576)".to_owned(),
        "site.toml:13:11: link.session: \"LIVE\" is not a choice (allowed: OPS, TEST, REPLAY)".to_owned(),
        format!("site.toml:16:11: links.alpha.channel: no channel is called \"npp/xband\" (allowed: {channels})"),
        "site.toml:17:13: links.alpha.transport: \"station:4001\" is not an IP address with a port; write \
         \"192.0.2.7:4001\" or \"[2001:db8::7]:4001\" (names are not resolved)"
            .to_owned(),
        "site.toml:21:13: links.beta.transport: unknown field `adress`, expected `address`".to_owned(),
        "site.toml:27:8: links.gamma.core: core 3 is taken by link \"beta\" (allowed: another core, \"auto\" or \
         \"none\")"
            .to_owned(),
        "site.toml:28:20: links.gamma.reconnect_min_ms: 9000 cannot be: must be 1 to 5000 milliseconds \
         (reconnect_max_ms)"
            .to_owned(),
        "site.toml:30:8: links.Delta: \"Delta\" is no name (1 to 19 of a-z, 0-9, - and _)".to_owned(),
    ];
    assert_eq!(errors(text).join("\n"), expected.join("\n"));
}
