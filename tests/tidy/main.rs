//! The tidy test: rules of the house that a compiler does not check, held against the files git tracks.

mod codecs;
mod layouts;
mod order;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files that may contain `unsafe`: thin layers over SIMD instructions, mapped memory and system calls.
const UNSAFE_FILES: &[&str] = &[
    "fep/bus/src/copy.rs",
    "fep/bus/src/fault.rs",
    "fep/bus/src/lock.rs",
    "fep/bus/src/map.rs",
    "fep/coding/src/conv/lanes/x86.rs",
    "fep/coding/src/crc/clmul.rs",
    "fep/coding/src/kernels/x86.rs",
    "fep/coding/src/ldpc/circulant/clmul.rs",
    "fep/coding/src/ldpc/layered/avx2.rs",
    "fep/coding/src/ldpc/layered/avx512.rs",
    "fep/coding/src/rs/vector/avx2.rs",
    "fep/coding/src/rs/vector/avx512.rs",
    "fep/coding/src/rs/vector/neon.rs",
    "fep/coding/src/tc/ldpc/x86.rs",
    "fep/coding/src/turbo/x86.rs",
    "fep/engine/src/realtime.rs",
    "hw/net/src/buffers.rs",
    "hw/net/src/ring.rs",
    "hw/net/src/socket.rs",
    "sidecars/archive/recorder/src/disk.rs",
    "sidecars/archive/feeds/src/outq.rs",
];

/// A source file longer than this no longer holds one thing.
const MAX_LINES: usize = 700;

/// Nothing larger is tracked; captures of real satellites are found at run time.
const MAX_BYTES: u64 = 2 << 20;

/// The fixed top level of the repository.
const TOP_LEVEL: &[&str] =
    &["Cargo.toml", "fep", "sidecars", "hw", "config", "benches", "fuzz", "tests", "docs"];

/// Files that stand beside the fixed top level.
const TOP_LEVEL_FILES: &[&str] = &[
    "Cargo.lock",
    "README.md",
    "Makefile",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "deny.toml",
    "rust-toolchain.toml",
    "rustfmt.toml",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

/// Paths of all tracked files, relative to the repository's root.
fn tracked() -> Vec<String> {
    let listing =
        Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git runs");
    assert!(listing.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listing.stderr));
    let files: Vec<String> = listing
        .stdout
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter(|name| root().join(name).is_file())
        .collect();
    assert!(files.len() > 20, "this is not the whole repository: {} files", files.len());
    files
}

/// Text of the tracked files whose name passes `wanted`; a file that is no UTF-8 is not text.
fn texts(wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    tracked()
        .into_iter()
        .filter(|name| wanted(name))
        .filter_map(|name| std::fs::read_to_string(root().join(&name)).ok().map(|text| (name, text)))
        .collect()
}

fn is_rust(name: &str) -> bool {
    name.ends_with(".rs")
}

#[test]
fn unsafe_code_stands_only_in_the_files_named_here() {
    let mut found = BTreeSet::new();
    for (name, text) in texts(is_rust) {
        // The keyword followed by what it can introduce; lint names (`unsafe_code`) and prose do not count.
        let code = text.lines().map(|line| line.split("//").next().unwrap_or(""));
        if code.flat_map(|line| line.match_indices("unsafe ").map(move |(at, _)| &line[at + 7..])).any(
            |rest| {
                ["{", "fn", "impl", "extern", "trait"].iter().any(|word| rest.trim_start().starts_with(word))
            },
        ) && name != "tests/tidy/main.rs"
        {
            found.insert(name);
        }
    }
    let named: BTreeSet<String> = UNSAFE_FILES.iter().map(|name| (*name).to_owned()).collect();
    let unnamed: Vec<_> = found.difference(&named).collect();
    assert!(unnamed.is_empty(), "unsafe code in files that are not named for it: {unnamed:#?}");
    let stale: Vec<_> = named.difference(&found).collect();
    assert!(stale.is_empty(), "files named for unsafe code that have none: {stale:#?}");
}

#[test]
fn no_source_file_is_too_long_to_hold_one_thing() {
    let long: Vec<String> = texts(is_rust)
        .into_iter()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn no_tracked_file_is_larger_than_two_mebibytes() {
    let large: Vec<String> = tracked()
        .into_iter()
        .filter(|name| {
            std::fs::metadata(root().join(name)).map(|file| file.len() > MAX_BYTES).unwrap_or(false)
        })
        .collect();
    assert!(large.is_empty(), "{large:#?}");
}

#[test]
fn the_top_level_holds_only_what_the_design_names() {
    let strangers: BTreeSet<String> = tracked()
        .iter()
        .filter_map(|name| name.split('/').next().map(str::to_owned))
        .filter(|first| !first.starts_with('.'))
        .filter(|first| !TOP_LEVEL.contains(&first.as_str()) && !TOP_LEVEL_FILES.contains(&first.as_str()))
        .collect();
    assert!(strangers.is_empty(), "{strangers:#?}");
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    // Spelled in two parts, so that this file does not find itself.
    let forbidden = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let mut hits = Vec::new();
    for (name, text) in texts(|name| !name.ends_with(".lock")) {
        for (number, line) in text.lines().enumerate() {
            if forbidden.iter().any(|path| line.contains(path)) {
                hits.push(format!("{name}:{}: {line}", number + 1));
            }
        }
    }
    assert!(hits.is_empty(), "{hits:#?}");
}

#[test]
fn every_requirement_is_proven_by_a_test_and_every_proof_names_a_requirement() {
    let mut required: BTreeMap<String, String> = BTreeMap::new();
    for (name, text) in texts(|name| name.starts_with("docs/requirements/") && name.ends_with(".toml")) {
        let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        let entries = table.get("requirement").and_then(|list| list.as_array()).cloned().unwrap_or_default();
        assert!(!entries.is_empty(), "{name} lists no [[requirement]]");
        for entry in entries {
            let field = |key: &str| {
                entry
                    .get(key)
                    .and_then(|value| value.as_str())
                    .unwrap_or_else(|| panic!("{name}: a requirement has no `{key}`"))
            };
            let (id, method) = (field("id").to_owned(), field("method").to_owned());
            assert!(field("text").len() > 15 && !field("source").is_empty(), "{name}: {id} says too little");
            assert!(
                ["test", "analysis", "inspection"].contains(&method.as_str()),
                "{name}: {id}: method `{method}`"
            );
            assert!(required.insert(id.clone(), method).is_none(), "{name}: {id} is defined twice");
        }
    }
    let mut proven = BTreeSet::new();
    for (name, text) in texts(is_rust) {
        for line in text.lines().filter_map(|line| line.trim_start().strip_prefix("// REQ:")) {
            for id in line.split([',', ' ']).map(str::trim).filter(|id| id.starts_with("FEP-")) {
                assert!(
                    required.contains_key(id),
                    "{name} proves {id}, which no file of docs/requirements defines"
                );
                proven.insert(id.to_owned());
            }
        }
    }
    let unproven: Vec<_> = required
        .iter()
        .filter(|(id, method)| *method == "test" && !proven.contains(*id))
        .map(|(id, _)| id)
        .collect();
    assert!(unproven.is_empty(), "requirements without a test: {unproven:#?}");
}

#[test]
fn the_map_names_every_crate() {
    let map =
        std::fs::read_to_string(root().join("docs/architecture.md")).expect("docs/architecture.md is there");
    for name in tracked().iter().filter(|name| name.ends_with("/Cargo.toml")) {
        let folder = name.trim_end_matches("/Cargo.toml");
        assert!(map.contains(&format!("`{folder}")), "docs/architecture.md does not tell of `{folder}`");
    }
}

#[test]
fn every_page_of_the_book_is_in_its_table_of_contents() {
    let contents = std::fs::read_to_string(root().join("docs/SUMMARY.md")).expect("docs/SUMMARY.md is there");
    for name in tracked().iter().filter(|name| name.starts_with("docs/") && name.ends_with(".md")) {
        let page = name.trim_start_matches("docs/");
        assert!(
            page == "SUMMARY.md" || contents.contains(&format!("({page})")),
            "docs/SUMMARY.md does not list {page}"
        );
    }
}

#[test]
fn every_dependency_has_a_licence_that_the_policy_allows() {
    let policy: toml::Table = std::fs::read_to_string(root().join("deny.toml"))
        .expect("deny.toml is there")
        .parse()
        .expect("deny.toml is TOML");
    let licences = &policy["licenses"];
    let list = |value: &toml::Value| -> Vec<spdx::Licensee> {
        let names = value.as_array().expect("a list of licences");
        names
            .iter()
            .map(|name| spdx::Licensee::parse(name.as_str().expect("a name")).expect("an SPDX licence"))
            .collect()
    };
    let allowed = list(&licences["allow"]);
    let exceptions: BTreeMap<&str, Vec<spdx::Licensee>> = licences["exceptions"]
        .as_array()
        .expect("a list of exceptions")
        .iter()
        .map(|entry| (entry["crate"].as_str().expect("a crate"), list(&entry["allow"])))
        .collect();

    let metadata = order::metadata();
    // Only what the resolved graph uses: a lock file also names packages of features that nobody turns on.
    let used: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let mut refused = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        if !used.contains(package["id"].as_str().unwrap_or("")) {
            continue;
        }
        let name = package["name"].as_str().expect("a name");
        let licence = package["license"].as_str().unwrap_or("");
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX);
        let accepted = expression.is_ok_and(|expression| {
            expression.evaluate(|requirement| {
                allowed
                    .iter()
                    .chain(exceptions.get(name).into_iter().flatten())
                    .any(|licensee| licensee.satisfies(requirement))
            })
        });
        if !accepted {
            refused.push(format!("{name} {}: {licence}", package["version"].as_str().unwrap_or("?")));
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}
