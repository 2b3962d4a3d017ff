//! The recordings of real satellites, through synchroniser, derandomiser and Reed-Solomon, against what other programs
//! found in them. The undamaged recordings ship inside the `ccsds` package and are found through `cargo metadata`.

use std::path::{Path, PathBuf};
use std::process::Command;

use fep_coding::rs::{Basis, RsE, RsSpec};
use fep_coding::{Block, CodeSpec, Derandomizer, FrameSync, Isa, Marker, Randomizer, SyncSpec};
use serde_json::Value;
use sha2::{Digest, Sha256};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/cadu");

/// The folder of the recordings: `FEP_CAPTURES`, or in the sources of the `ccsds` package.
fn fixtures() -> PathBuf {
    if let Some(folder) = std::env::var_os("FEP_CAPTURES") {
        return PathBuf::from(folder);
    }
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(metadata.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("JSON from cargo metadata");
    let packages = metadata["packages"].as_array().expect("packages");
    let ccsds = packages.iter().find(|package| package["name"] == "ccsds").expect("the ccsds package");
    let manifest = Path::new(ccsds["manifest_path"].as_str().expect("a path"));
    manifest.parent().expect("a folder").join("tests/fixtures/cadu")
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Decodes `folder`/`name`.dat in pieces and holds every figure to `name`.json.
fn assert_decodes_as_recorded(folder: &Path, name: &str) {
    let golden = std::fs::read(format!("{GOLDEN}/{name}.json")).expect("expected results");
    let golden: Value = serde_json::from_slice(&golden).expect("JSON");
    let octets = std::fs::read(folder.join(format!("{name}.dat"))).expect("the recording");
    assert_eq!(hex(&Sha256::digest(&octets)), golden["capture_sha256"], "not the recording that is meant");

    let interleave = golden["config"]["interleave"].as_u64().expect("a number") as u8;
    let rs = RsSpec { e: RsE::E16, interleave, virtual_fill: 0, basis: Basis::Dual };
    let mut decoder = CodeSpec::ReedSolomon(rs).build(Isa::best()).expect("a code of the standard");
    let (block_len, frame_len) = (decoder.block_len(), decoder.frame_len());
    let derandomizer = Derandomizer::new(Randomizer::Legacy255, block_len);
    let mut sync = FrameSync::new(SyncSpec::ccsds(Marker::CCSDS_32, block_len)).expect("a specification");

    let mut blocks = Vec::new();
    let mut markers = Vec::new();
    let mut collect = |block: Block<'_>| {
        let start = blocks.len();
        blocks.resize(start + block_len, 0);
        derandomizer.apply_to(block.data, &mut blocks[start..]);
        assert!(!block.flywheel && block.slip_bits == 0 && block.marker_bit_errors == 0);
        markers.push(block.stream_bit);
    };
    for piece in octets.chunks(4096 + 13) {
        sync.push(piece, &mut collect);
    }
    sync.finish(&mut collect);

    let expected = &golden["sync"];
    assert_eq!(markers.len() as u64, expected["blocks"], "blocks");
    // Where the first block starts: octets are counted from 1, and so many bits of the octet belong to the block.
    let location = &expected["first_block_loc_1based_offset_bit"];
    let (octet, bit) = (location[0].as_u64().expect("an octet"), location[1].as_u64().expect("a bit"));
    assert_eq!(markers[0] + 32, 8 * (octet - 1) + 8 - bit, "bit position of the first block");
    let period = 32 + 8 * block_len as u64;
    assert!(markers.windows(2).all(|pair| pair[1] - pair[0] == period), "markers are one period apart");

    let mut verdicts = vec![Default::default(); markers.len()];
    decoder.decode_batch(&mut blocks, block_len, &mut verdicts);
    let expected = &golden["rs_all_frames_rs2"];
    let mut good = Sha256::new();
    let (mut clean, mut corrected, mut uncorrectable) = (0, 0, Vec::new());
    for (k, verdict) in verdicts.iter().enumerate() {
        if verdict.is_uncorrectable() {
            uncorrectable.push(k);
            continue;
        }
        clean += usize::from(verdict.is_clean());
        corrected += usize::from(!verdict.is_clean());
        good.update(&blocks[k * block_len..][..frame_len]);
    }
    assert_eq!(clean as u64, expected["frames_ok"]);
    assert_eq!(corrected as u64, expected["frames_corrected"]);
    assert_eq!(serde_json::json!(uncorrectable), expected["uncorrectable_block_indexes"]);
    assert_eq!(hex(&good.finalize()), expected["good_frames_concat_sha256"]);
}

// REQ: FEP-CODING-009
#[test]
fn undamaged_recordings_decode_to_the_frames_that_other_programs_found() {
    let folder = fixtures();
    for name in
        ["aqua.20241206T175646", "metopb.20241206T152751", "noaa20.20241206T162710", "npp.20241206T173815"]
    {
        assert_decodes_as_recorded(&folder, name);
    }
}

// REQ: FEP-CODING-009
#[test]
fn damaged_recordings_decode_to_the_frames_that_other_programs_found() {
    for name in ["aqua_errors", "npp_errors"] {
        assert_decodes_as_recorded(Path::new(GOLDEN), name);
    }
}
