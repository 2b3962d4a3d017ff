//! The units of systemd in `config/systemd`: what each must have, and what `systemd-analyze` says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use crate::order::metadata;
use crate::root;

/// Keys that every unit has with this value.
const EVERYWHERE: &[(&str, &str)] = &[
    ("Type", "notify"),
    ("NotifyAccess", "main"),
    ("Restart", "on-failure"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectControlGroups", "yes"),
    ("NoNewPrivileges", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("RestrictNamespaces", "yes"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("SystemCallArchitectures", "native"),
    ("CapabilityBoundingSet", ""),
    // `yes` removes everything of the unit's user in /dev/shm at each stop and each automatic restart: its rings.
    ("RemoveIPC", "no"),
];

/// Keys that every unit has with some value.
const SOME_VALUE: &[&str] = &[
    "ExecStart",
    "User",
    "Group",
    "WatchdogSec",
    "RestrictAddressFamilies",
    "SystemCallFilter",
    "TimeoutStopSec",
];

struct Unit {
    name: String,
    text: String,
    keys: BTreeMap<String, Vec<String>>,
}

impl Unit {
    /// The one value of a key.
    fn value(&self, key: &str) -> &str {
        let values = self.keys.get(key).map_or(&[][..], Vec::as_slice);
        assert_eq!(values.len(), 1, "{}: {key} stands once", self.name);
        &values[0]
    }

    fn words(&self, key: &str) -> BTreeSet<&str> {
        self.keys.get(key).into_iter().flatten().flat_map(|value| value.split_whitespace()).collect()
    }
}

fn directory() -> PathBuf {
    root().join("config/systemd")
}

fn units() -> Vec<Unit> {
    let entries = std::fs::read_dir(directory()).expect("config/systemd is a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut units: Vec<Unit> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "service"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a unit is text");
            let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
                let (key, value) = line.split_once('=').expect("a line is a section, a comment or a key");
                keys.entry(key.to_owned()).or_default().push(value.to_owned());
            }
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            Unit { name, text, keys }
        })
        .collect();
    units.sort_by(|one, other| one.name.cmp(&other.name));
    units
}

/// Names of the programs of the workspace.
fn programs() -> BTreeSet<String> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let targets = packages.iter().flat_map(|package| package["targets"].as_array().expect("targets"));
    targets
        .filter(|target| target["kind"][0] == "bin")
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect()
}

// REQ: FEP-KIT-270
#[test]
fn every_unit_runs_a_program_of_ours_as_a_user_of_its_own_and_is_hardened() {
    let units = units();
    let names: Vec<&str> = units.iter().map(|unit| unit.name.as_str()).collect();
    let expected = ["fep-archive-red", "fep-archive", "fep-feeds", "fep-identity", "fep-recorder", "fepd"];
    assert_eq!(names, expected.map(|name| format!("{name}.service")));
    let programs = programs();
    let users = std::fs::read_to_string(directory().join("sysusers.d/fep.conf")).expect("users");
    for unit in &units {
        for (key, value) in EVERYWHERE {
            assert_eq!(unit.value(key), *value, "{}: {key}", unit.name);
        }
        for key in SOME_VALUE {
            assert!(!unit.value(key).is_empty(), "{}: {key}", unit.name);
        }
        let command = unit.value("ExecStart");
        let (program, arguments) = command.split_once(' ').expect("a program and its arguments");
        let program = program.strip_prefix("/usr/bin/").expect("a program of the system");
        assert!(programs.contains(program), "{}: {program}", unit.name);
        assert!(arguments.starts_with("--config /etc/fep/"), "{}: {arguments}", unit.name);
        let user = unit.value("User");
        assert!(
            user != "root" && users.lines().any(|line| declares(line, "u", user)),
            "{}: {user}",
            unit.name
        );
        for group in unit.words("Group").union(&unit.words("SupplementaryGroups")) {
            let known = ["u", "g"].iter().any(|kind| users.lines().any(|line| declares(line, kind, group)));
            assert!(known, "{}: {group}", unit.name);
        }
        // io_uring where it is used, and nowhere else.
        let rings = unit.words("SystemCallFilter").iter().any(|call| call.starts_with("io_uring"));
        assert_eq!(rings, ["fepd", "fep-recorder"].contains(&program), "{}", unit.name);
        // Only fepd is real-time.
        let real_time = unit.value("RestrictRealtime") == "no";
        assert_eq!(real_time, program == "fepd", "{}", unit.name);
    }
}

// REQ: FEP-KIT-195
#[test]
fn the_login_service_has_one_address_in_its_unit_its_configuration_and_fepctl() {
    let units = units();
    let unit = units.iter().find(|unit| unit.name == "fep-identity.service").expect("a unit");
    let socket = format!("unix:/run/{}/identity.sock", unit.value("RuntimeDirectory"));
    for file in ["config/identity.toml", "sidecars/identity/src/config.rs", "sidecars/ctl/src/places.rs"] {
        let text = std::fs::read_to_string(root().join(file)).expect("text");
        assert!(text.contains(&format!("\"{socket}\"")), "{file}: {socket}");
    }
    // Every user may pass to it, and other services to the public keys.
    assert_eq!(unit.value("RuntimeDirectoryMode"), "0755");
    assert_eq!(unit.value("StateDirectoryMode"), "0711");
}

fn declares(line: &str, kind: &str, name: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some(kind) && words.next() == Some(name)
}

// REQ: FEP-KIT-270
#[test]
fn red_data_is_open_to_the_units_that_serve_it_and_to_no_other() {
    for unit in units() {
        let is_red = unit.words("SupplementaryGroups").contains("fep-red");
        let serves_red = ["fepd.service", "fep-recorder.service", "fep-archive-red.service"];
        assert_eq!(is_red, serves_red.contains(&unit.name.as_str()), "{}", unit.name);
        let hidden = unit.words("InaccessiblePaths");
        // The recorder's user has the red segments: a black process of that user does not see them.
        if unit.value("User") == "fep-archive" && !is_red {
            for path in [
                "-/var/lib/fep/archive/segments/red",
                "-/dev/shm/fep/bus/red",
                "-/dev/shm/fep/bus/services/red",
            ] {
                assert!(hidden.contains(path), "{}: {path}", unit.name);
            }
        }
    }
    let users = std::fs::read_to_string(directory().join("sysusers.d/fep.conf")).expect("users");
    let members: Vec<&str> =
        users.lines().filter(|line| line.starts_with("m ") && line.ends_with(" fep-red")).collect();
    assert_eq!(members.len(), 1, "only fepd is a member by itself: {members:?}");
    assert!(members[0].starts_with("m fepd "), "{members:?}");
    let paths = std::fs::read_to_string(directory().join("tmpfiles.d/fep.conf")).expect("directories");
    let red = paths.lines().find(|line| line.contains("/segments/red")).expect("made before it is hidden");
    assert_eq!(red.split_whitespace().nth(2), Some("0700"));
}

/// Whether this process is root and has a program of systemd.
fn is_root_with(program: &str) -> bool {
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let exists = Command::new(program).arg("--version").output().is_ok();
    if !(root && exists) {
        eprintln!("skipped: it takes root and {program}");
    }
    root && exists
}

// REQ: FEP-BUS-160
#[test]
fn systemd_makes_the_places_of_rings_and_nobody_but_their_owners_can_write_there() {
    use std::os::unix::fs::MetadataExt;
    if !is_root_with("systemd-sysusers") || !is_root_with("systemd-tmpfiles") {
        return;
    }
    // The whole below another root, with users of its own.
    let place = tempfile::tempdir().expect("a directory");
    let root = place.path();
    std::fs::create_dir_all(root.join("etc")).expect("made");
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("written");
    std::fs::write(root.join("etc/group"), "root:x:0:\n").expect("written");
    for directory in ["dev/shm", "var/lib"] {
        std::fs::create_dir_all(root.join(directory)).expect("made");
    }
    for (program, arguments, file) in [
        ("systemd-sysusers", &[][..], "sysusers.d/fep.conf"),
        ("systemd-tmpfiles", &["--create"][..], "tmpfiles.d/fep.conf"),
        // As an update of the package does, while everything runs.
        ("systemd-tmpfiles", &["--create"][..], "tmpfiles.d/fep.conf"),
    ] {
        let output = Command::new(program)
            .arg(format!("--root={}", root.display()))
            .args(arguments)
            .arg(directory().join(file))
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("unsafe"), "{program}: {said}");
    }
    let table = |file: &str, id: usize| -> BTreeMap<u32, String> {
        let text = std::fs::read_to_string(root.join("etc").join(file)).expect("a table");
        let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        fields.map(|fields| (fields[id].parse().expect("a number"), fields[0].to_owned())).collect()
    };
    let (users, groups) = (table("passwd", 2), table("group", 2));
    let found = |path: &str| {
        let found = std::fs::metadata(root.join("dev/shm/fep").join(path)).expect(path);
        let (user, group) = (users[&found.uid()].as_str(), groups[&found.gid()].as_str());
        (user.to_owned(), group.to_owned(), found.mode() & 0o7777)
    };
    let has = |path: &str, user: &str, group: &str, mode: u32| {
        assert_eq!(found(path), (user.to_owned(), group.to_owned(), mode), "{path}");
    };
    has("", "root", "fepd", 0o775);
    for own in ["bus/black", "bus/red", "bus/latest", "bus/metrics"] {
        has(own, "fepd", "fep", 0o755);
    }
    for roots in ["bus", "bus/services", "bus/services/black", "bus/services/red", "bus/services/metrics"] {
        has(roots, "root", "root", 0o755);
    }
    has("bus/services/metrics/recorder", "fep-archive", "fep", 0o755);
    // Each with the user of its unit.
    let units = units();
    for process in ["recorder", "archive", "feeds"] {
        let name = format!("fep-{process}.service");
        let unit = units.iter().find(|unit| unit.name == name).expect("a unit");
        has(&format!("bus/services/black/{process}"), unit.value("User"), "fep", 0o755);
    }
    let red = std::fs::read_dir(root.join("dev/shm/fep/bus/services/red")).expect("a directory");
    assert_eq!(red.count(), 0, "no service has red rings");
}

// REQ: FEP-KIT-271
#[test]
fn systemd_finds_nothing_to_say_of_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: systemd-analyze is not installed (`make tools` installs it)");
        return;
    }
    // In a place of its own, and with a program that exists: ours are not installed here.
    let place = tempfile::tempdir().expect("a directory");
    let paths: Vec<PathBuf> = units()
        .iter()
        .map(|unit| {
            let program = unit.value("ExecStart").split(' ').next().expect("a program");
            let path = place.path().join(&unit.name);
            std::fs::write(&path, unit.text.replace(program, "/bin/true")).expect("written");
            path
        })
        .collect();
    let output =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&paths).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    // What it says of other units of this machine is none of our business.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("fep")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
    assert!(output.status.success(), "{said}");
    // It does find what is wrong.
    let wrong = place.path().join("fep-wrong.service");
    std::fs::write(&wrong, "[Service]\nExecStart=/bin/true\nProtectSytem=strict\n").expect("written");
    let output =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&wrong).output().expect("it runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("ProtectSytem"), "{output:?}");
}
