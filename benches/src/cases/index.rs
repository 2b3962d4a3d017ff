//! The archive's index: a sealed segment of 1115-byte frames in memory into its Parquet file and summary, on one core.
//!
//! Figures are bits of frames a second, of processor time. `index/1115/good` is a clean channel, `index/1115/lossy` loses
//! every fiftieth frame. There is no peer: nobody else's index has these columns.

use fep_time::Tai;
use std::path::Path;
use std::sync::Arc;

use fep_bus::{Colour, Position, Tag};
use fep_catalogue::{PacketLayouts, build_index};
use fep_ccsds::Gvcid;
use fep_record::{FrameFlags, FrameRecord, KIND_FRAME};
use fep_segments::{Chain, SegmentHeader, SegmentWriter, Stream};
use fepd::realtime;

use crate::{Case, Measured};

const FRAME_LEN: usize = 1115;
/// About 64 MiB, the recorder's usual segment.
const FRAMES: u64 = 56_000;

/// `index/...`
pub fn cases() -> Vec<Case> {
    vec![case("1115/good", None), case("1115/lossy", Some(50))]
}

fn case(name: &str, lose_every: Option<u64>) -> Case {
    let run = Box::new(move |budget_s: f64| match segment(lose_every) {
        Ok(octets) => measure(&octets, budget_s),
        Err(reason) => Measured { note: format!("not measured: {reason}"), ..Measured::default() },
    });
    Case { name: format!("index/{name}"), unit: "Gbit/s", peer_name: "", run }
}

fn segment(lose_every: Option<u64>) -> Result<Vec<u8>, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let header = SegmentHeader {
        stream: Stream::new(Colour::Black, "bench.frames"),
        schema: "ccsds.frame.v1".to_owned(),
        id: 1,
        instance: 1,
        series: 1,
        base: Position { seq: 1, pos: 0, payload: 0 },
        created_unix_ns: 0,
        previous: None,
    };
    let mut writer = SegmentWriter::create(directory.path(), header).map_err(|error| error.to_string())?;
    let mut octets = vec![0_u8; FRAME_LEN];
    let mut counts = [0_u64; 4];
    for number in 0..FRAMES {
        let vcid = (number % 4) as u8;
        let count = &mut counts[usize::from(vcid)];
        *count += if lose_every.is_some_and(|every| number % every == 0) { 2 } else { 1 };
        for (at, octet) in octets.iter_mut().enumerate() {
            *octet = (number as usize * 31 + at) as u8;
        }
        // The signalling field of the AOS header: no frame count cycle.
        octets[5] = 0;
        let record = FrameRecord {
            gvcid: Gvcid { tfvn: 1, scid: 162, vcid },
            frame_count: (*count & 0xFF_FFFF) as u32,
            flags: FrameFlags::CODED,
            link_id: 3,
            ..FrameRecord::default()
        };
        let (flags, words) = record.to_words();
        // 225 000 frames a second.
        let rx_tai_ns = 2_174_256_037_000_000_000 + number as i64 * 4444;
        let tag = Tag { kind: KIND_FRAME, flags, received: Tai(rx_tai_ns), published: Tai(rx_tai_ns), words };
        writer.record(tag, &octets).map_err(|error| error.to_string())?;
    }
    let (path, _) = writer.seal(Chain::default()).map_err(|error| error.to_string())?;
    std::fs::read(path).map_err(|error| error.to_string())
}

fn measure(octets: &[u8], budget_s: f64) -> Measured {
    let layouts = Arc::new(PacketLayouts::default());
    let started = realtime::thread_cpu_ns();
    let used_s = || (realtime::thread_cpu_ns() - started) as f64 / 1e9;
    let (mut passes, mut file, mut rows, mut runs) = (0_u64, 0, 0, 0);
    while passes == 0 || used_s() < budget_s {
        match build_index(octets, Path::new("bench"), Arc::clone(&layouts)) {
            Ok(index) => {
                file = index.frames.as_ref().map_or(0, |frames| frames.octets.len());
                rows = index.frames.as_ref().map_or(0, |frames| frames.rows);
                runs = index.summary.runs.len();
            }
            Err(error) => return Measured { note: format!("not measured: {error}"), ..Measured::default() },
        }
        passes += 1;
    }
    let time_s = used_s();
    let frames_per_s = (passes * FRAMES) as f64 / time_s;
    let note = format!(
        "{:.0} thousand frames/s, {rows} rows a segment, {:.1} octets of index a frame, {runs} runs",
        frames_per_s / 1e3,
        file as f64 / rows.max(1) as f64
    );
    Measured { ours: frames_per_s * FRAME_LEN as f64 * 8.0 / 1e9, peer: None, note }
}
