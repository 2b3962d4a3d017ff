//! Retrieval through the process: every key, every form, parts, manifests, refusals, damage, red and black.

mod served;
#[path = "../../catalogue/tests/support/mod.rs"]
mod support;

use fep_bus::Position;
use fep_ccsds::Gvcid;
use fep_record::{FrameFlags, PacketRecord, Session};
use fep_segments::{SegmentHeader, SegmentWriter, Stream};
use hyper::{Method, StatusCode};
use served::Served;
use sha2::{Digest, Sha256};
use support::{MS, Recorder, SCID, SERIES, START, TestFrame, bad_frame, tm_frame};

/// A packet of the archive under test: its record, when it was received, its octets.
type SentPacket = (PacketRecord, i64, Vec<u8>);

/// A PUS packet with a CUC time, as the layouts of the tests have it.
fn packet(
    apid: u16,
    count: u16,
    service: u8,
    subtype: u8,
    onboard_s: u32,
    rx_tai_ns: i64,
) -> (PacketRecord, i64, Vec<u8>) {
    let mut octets = vec![0x08 | (apid >> 8) as u8, apid as u8, 0xC0 | (count >> 8) as u8, count as u8, 0, 0];
    octets.extend_from_slice(&[0x20, service, subtype, 0, 0, 0, 0]);
    octets.extend_from_slice(&onboard_s.to_be_bytes());
    octets.extend_from_slice(&[0, 0, 0]);
    octets.extend(std::iter::repeat_n(count as u8, usize::from(count % 50)));
    let data_len = (octets.len() - 7) as u16;
    octets[4..6].copy_from_slice(&data_len.to_be_bytes());
    let record = PacketRecord {
        gvcid: Gvcid { tfvn: 0, scid: SCID, vcid: 2 },
        apid,
        sequence: 0xC000 | count,
        link_id: 1,
        session: Session::Ops,
        flags: FrameFlags::CODED,
        ..PacketRecord::default()
    };
    (record, rx_tai_ns, octets)
}

/// A mission whose packets have a type and an on-board time.
const MISSION: &str = r#"title = "one spacecraft"
[spacecraft.one]
scid = 673
packets.all = { kind = "pus_c", time = { code = "cuc", coarse_octets = 4, fine_octets = 3 } }
[channel.link]
spacecraft = "one"
randomizer = "none"
frame = { kind = "tm", frame_len = 100 }
sync = { marker = "1acffc1d" }
code = { code = "none" }
[[channel.link.vc]]
id = 0
service = "packets"
"#;

struct Recorded {
    /// By link 1 on ring one.frames.
    one: Vec<TestFrame>,
    /// By link 2 on ring two.frames: some of the same frames, a little later.
    two: Vec<TestFrame>,
    packets: Vec<(PacketRecord, i64, Vec<u8>)>,
}

/// Two antennas, three segments of the first, packets of two application processes.
async fn recorded() -> (Served, Recorded) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("segments");
    let mut one: Vec<TestFrame> =
        (0..900).map(|count| tm_frame(1, (count % 3) as u8, count, START + count as i64 * MS)).collect();
    for (number, frame) in one.iter_mut().enumerate() {
        if number % 10 == 3 {
            frame.record.flags = FrameFlags::CODED | FrameFlags::CORRECTED;
            frame.record.symbols_corrected = 4;
        }
        if number % 7 == 0 {
            frame.record.flags.insert(FrameFlags::IDLE);
        }
        if number >= 800 {
            frame.record.session = Session::Test;
        }
    }
    one.insert(500, bad_frame(1, START + 500 * MS));
    let two: Vec<TestFrame> = (300..600)
        .map(|count| tm_frame(2, (count % 3) as u8, count, START + count as i64 * MS + MS / 2))
        .collect();
    let packets: Vec<_> = (0..400_u16)
        .map(|n| {
            packet(
                if n % 2 == 0 { 100 } else { 200 },
                n / 2,
                3,
                25 + (n % 3) as u8,
                u32::from(n),
                START + i64::from(n) * MS,
            )
        })
        .collect();
    let mut recorder = Recorder::new(&root, "one.frames");
    one.chunks(301).for_each(|frames| drop(recorder.frames(frames)));
    Recorder::new(&root, "two.frames").frames(&two);
    Recorder::new(&root, "one.packets").packets(&packets);
    let mission = root.join("one.toml");
    std::fs::write(&mission, MISSION).expect("a mission file");
    let missions = format!("[missions]\none = {:?}\n", mission.display().to_string());
    let served = Served::start(directory, &missions, 5).await;
    (served, Recorded { one, two, packets })
}

fn time(tai_ns: i64) -> String {
    format!("tai:{tai_ns}")
}

async fn seqs(served: &Served, path: &str) -> Vec<(String, i64)> {
    let answer = served.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    let row =
        |row: serde_json::Value| (row["ring"].as_str().unwrap().to_owned(), row["seq"].as_i64().unwrap());
    answer.lines().into_iter().map(row).collect()
}

// REQ: FEP-ARCS-001
#[tokio::test(flavor = "multi_thread")]
async fn every_key_selects_what_a_plain_look_at_what_was_recorded_selects() {
    let (served, recorded) = recorded().await;
    let of_one = |wanted: &dyn Fn(&TestFrame) -> bool| -> Vec<(String, i64)> {
        let numbered = recorded.one.iter().enumerate();
        numbered
            .filter(|(_, frame)| wanted(frame))
            .map(|(n, _)| ("one.frames".to_owned(), n as i64 + 1))
            .collect()
    };
    let good = |frame: &TestFrame| !frame.record.flags.contains(FrameFlags::UNCORRECTABLE);
    let ops = |frame: &TestFrame| frame.record.session == Session::Ops;
    let (from, to) = (START + 100 * MS, START + 400 * MS);
    let cases: [(String, Vec<(String, i64)>); 9] = [
        ("ring=one.frames".into(), of_one(&|frame| good(frame) && ops(frame))),
        ("link=1&vcid=1".into(), of_one(&|frame| good(frame) && ops(frame) && frame.record.gvcid.vcid == 1)),
        (
            "link=1&scid=673&vcid=0,2".into(),
            of_one(&|frame| good(frame) && ops(frame) && frame.record.gvcid.vcid != 1),
        ),
        (
            format!("link=1&from={}&to={}", time(from), time(to)),
            of_one(&|frame| good(frame) && ops(frame) && (from..to).contains(&frame.rx_tai_ns)),
        ),
        ("link=1&session=test".into(), of_one(&|frame| good(frame) && !ops(frame))),
        ("link=1&quality=bad".into(), of_one(&|frame| !good(frame))),
        (
            "link=1&quality=corrected".into(),
            of_one(&|frame| ops(frame) && frame.record.flags.contains(FrameFlags::CORRECTED)),
        ),
        (
            "link=1&idle=only".into(),
            of_one(&|frame| ops(frame) && frame.record.flags.contains(FrameFlags::IDLE)),
        ),
        ("link=1&quality=any&session=ops,test&idle=yes".into(), of_one(&|_| true)),
    ];
    for (query, expected) in cases {
        assert!(!expected.is_empty(), "{query} must have something to find");
        assert_eq!(seqs(&served, &format!("/v1/frames?{query}")).await, expected, "{query}");
    }
    assert_eq!(seqs(&served, "/v1/frames?scid=1").await, []);
    let of_packets = |wanted: &dyn Fn(usize, &SentPacket) -> bool| -> Vec<(String, i64)> {
        let numbered = recorded.packets.iter().enumerate();
        numbered
            .filter(|(n, packet)| wanted(*n, packet))
            .map(|(n, _)| ("one.packets".to_owned(), n as i64 + 1))
            .collect()
    };
    let onboard = |seconds: i64| time(seconds * 1_000_000_000);
    let cases: [(String, Vec<(String, i64)>); 4] = [
        ("apid=200".into(), of_packets(&|_, packet| packet.0.apid == 200)),
        (
            "apid=100-150&pus_type=3&pus_subtype=26".into(),
            of_packets(&|n, packet| packet.0.apid == 100 && n % 3 == 1),
        ),
        (
            format!("onboard_from={}&onboard_to={}", onboard(50), onboard(60)),
            of_packets(&|n, _| (50..60).contains(&n)),
        ),
        ("pus_type=5".into(), Vec::new()),
    ];
    for (query, expected) in cases {
        assert_eq!(seqs(&served, &format!("/v1/packets?{query}")).await, expected, "{query}");
    }
}

// REQ: FEP-ARCS-017
#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_of_an_empty_answer_names_the_sessions_that_hold_something() {
    let (served, _) = recorded().await;
    let others = async |query: &str| {
        let manifest = served.get(&format!("/v1/frames/manifest?{query}")).await.json();
        (manifest["units"].as_u64().unwrap(), manifest["other_sessions"].clone())
    };
    assert_eq!(others("link=1&session=replay").await, (0, serde_json::json!(["ops", "test"])));
    assert_eq!(others("link=2&session=test").await, (0, serde_json::json!(["ops"])));
    assert_eq!(others("scid=1").await, (0, serde_json::json!([])), "nothing anywhere");
    let (units, none) = others("link=1").await;
    assert!(units > 0 && none == serde_json::json!([]), "an answer that holds something needs no hint");
}

// REQ: FEP-ARC-064
#[tokio::test(flavor = "multi_thread")]
async fn the_completeness_of_a_contact_tells_what_came_and_when_nothing_did() {
    let (served, _) = recorded().await;
    let ask = async |from: i64, to: i64| {
        let path = format!("/v1/completeness?scid=673&from={}&to={}", time(from), time(to));
        served.get(&path).await.json()
    };
    let contact = ask(START, START + 1000 * MS).await;
    assert!(contact["channels"].as_array().is_some_and(|channels| !channels.is_empty()), "{contact}");
    assert!(contact["channels"][0]["received"].as_u64().is_some_and(|received| received > 0), "{contact}");
    assert_eq!(contact["silences"], serde_json::json!([]));
    let (from, to) = (START + 7_200_000 * MS, START + 7_201_000 * MS);
    let missed = ask(from, to).await;
    let silence = serde_json::json!({"link": null, "from_tai_ns": from, "to_tai_ns": to});
    assert_eq!(missed, serde_json::json!({"channels": [], "silences": [silence], "counted_to_tai_ns": to}));
}

// REQ: FEP-ARCS-002
#[tokio::test(flavor = "multi_thread")]
async fn what_two_antennas_received_is_served_once_the_best_then_the_earliest() {
    let (served, recorded) = recorded().await;
    let merged = seqs(&served, "/v1/frames").await;
    let every = seqs(&served, "/v1/frames?merged=no").await;
    let of_ring = |rows: &[(String, i64)], ring: &str| rows.iter().filter(|row| row.0 == ring).count();
    assert_eq!(of_ring(&every, "one.frames"), 800);
    assert_eq!(of_ring(&every, "two.frames"), recorded.two.len());
    // Every frame of the second antenna came by the first as well, earlier; it is better where the first had to correct.
    let better = recorded.one[..600]
        .iter()
        .skip(300)
        .filter(|frame| frame.record.flags.contains(FrameFlags::CORRECTED));
    let better = better.count();
    assert!(better > 0);
    assert_eq!(merged.len(), 800);
    assert_eq!(of_ring(&merged, "two.frames"), better);
    let manifest = served.get("/v1/frames/manifest?format=frames").await.json();
    assert_eq!(manifest["copies_left_out"], recorded.two.len() as u64);
}

// REQ: FEP-ARCS-003
#[tokio::test(flavor = "multi_thread")]
async fn octets_come_as_they_were_recorded_in_every_form_that_carries_them() {
    let (served, recorded) = recorded().await;
    let one: Vec<&TestFrame> =
        recorded.one.iter().filter(|frame| !frame.record.flags.contains(FrameFlags::UNCORRECTABLE)).collect();
    let plain: Vec<u8> = one.iter().flat_map(|frame| frame.octets.clone()).collect();
    let query = "ring=one.frames&session=ops,test";
    let answer = served.get(&format!("/v1/frames?{query}&format=frames")).await;
    assert_eq!(answer.body, plain);
    assert!(answer.header("content-disposition").contains(".tf\""), "{:?}", answer.headers);
    let marked: Vec<u8> =
        one.iter().flat_map(|frame| [&[0x1A, 0xCF, 0xFC, 0x1D], frame.octets.as_slice()].concat()).collect();
    assert_eq!(served.get(&format!("/v1/frames?{query}&format=cadu")).await.body, marked);
    let packets: Vec<u8> = recorded.packets.iter().flat_map(|packet| packet.2.clone()).collect();
    assert_eq!(served.get("/v1/packets?format=packets").await.body, packets);
    let csv = served.get(&format!("/v1/frames?{query}&format=csv&octets=yes&limit=2")).await.text();
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("colour,ring,seq,rx_tai_ns,rx_utc,link,session,"), "{}", lines[0]);
    assert!(lines[0].ends_with(",octets"));
    assert!(lines[1].starts_with(&format!("black,one.frames,1,{START},")), "{}", lines[1]);
    let hexadecimal: String = one[0].octets.iter().map(|octet| format!("{octet:02x}")).collect();
    assert!(lines[1].ends_with(&hexadecimal));
    assert_eq!(lines.len(), 3);
    for format in ["frames", "cadu", "pcapng", "csv", "jsonl", "parquet"] {
        let path = format!("/v1/frames?{query}&format={format}");
        let (first, second) = (served.get(&path).await, served.get(&path).await);
        assert_eq!(first.body, second.body, "{format} twice is the same octets");
        let manifest = served.get(&format!("/v1/frames/manifest?{query}&format={format}")).await.json();
        let sha256: String = Sha256::digest(&first.body).iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(manifest["sha256"], sha256, "{format}");
        assert_eq!(manifest["octets"], first.body.len() as u64, "{format}");
        assert!(
            manifest["query"].as_str().is_some_and(|query| query.contains("ring=one.frames")),
            "{format}"
        );
        assert_eq!(manifest["units"], one.len() as u64, "{format}");
        assert_eq!(manifest["sessions"], serde_json::json!({"OPS": 800, "TEST": 100}), "{format}");
        assert!(manifest["how_to_read"].as_str().is_some_and(|text| text.len() > 40), "{format}");
    }
}

// REQ: FEP-ARCS-004
#[tokio::test(flavor = "multi_thread")]
async fn any_part_of_an_answer_is_that_part_of_the_whole_and_an_unchanged_answer_is_not_sent_again() {
    let (served, _) = recorded().await;
    for format in ["frames", "pcapng", "csv", "parquet"] {
        let path = format!("/v1/frames?format={format}");
        let whole = served.get(&path).await;
        let etag = whole.header("etag").to_owned();
        let len = whole.body.len();
        let head = served.ask(Method::HEAD, &path, &[], "").await;
        assert_eq!(
            (head.header("content-length"), head.header("etag")),
            (len.to_string().as_str(), etag.as_str()),
            "{format}"
        );
        for (range, from, until) in [
            (format!("bytes={}-", len / 2), len / 2, len),
            ("bytes=0-0".to_owned(), 0, 1),
            (format!("bytes={}-{}", len / 3, len / 3 + 1000), len / 3, len / 3 + 1001),
            ("bytes=-7".to_owned(), len - 7, len),
            (format!("bytes={}-{}", len - 1, len + 50), len - 1, len),
        ] {
            let part = served.get_with(&path, &[("range", &range), ("if-range", &etag)]).await;
            assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{format} {range}");
            assert_eq!(part.header("content-range"), format!("bytes {from}-{}/{len}", until - 1));
            assert_eq!(part.body, whole.body[from..until], "{format} {range}");
        }
        let stale = served.get_with(&path, &[("range", "bytes=5-"), ("if-range", "\"other\"")]).await;
        assert_eq!(
            (stale.status, stale.body.len()),
            (StatusCode::OK, len),
            "{format}: another version is sent whole"
        );
        let beyond = served.get_with(&path, &[("range", &format!("bytes={len}-"))]).await;
        assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(beyond.header("content-range"), format!("bytes */{len}"));
        let unchanged = served.get_with(&path, &[("if-none-match", &etag)]).await;
        assert_eq!((unchanged.status, unchanged.body.len()), (StatusCode::NOT_MODIFIED, 0), "{format}");
    }
}

// REQ: FEP-ARCS-005
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_a_request_is_told_as_a_problem_document() {
    let (served, _) = recorded().await;
    for (path, status, place) in [
        ("/v1/frames?vc=1", 400, "vc"),
        ("/v1/frames?vcid=99", 400, "vcid"),
        ("/v1/packets?apid=1&apid=2", 400, "apid"),
        ("/v1/frames?colour=red", 403, "colour"),
        ("/v1/gaps?state=lost", 400, "state"),
        ("/v1/segments?limit=0", 400, "limit"),
        ("/v1/completeness?scid=673", 400, "from"),
        ("/v1/tail?from=2024-01-01", 400, "from"),
        ("/v1/gaps/none", 404, ""),
        ("/v2/frames", 404, ""),
    ] {
        let answer = served.get(path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{path}");
        assert_eq!(problem["where"].as_str().unwrap_or_default(), place, "{path}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{path}");
    }
    let method = served.ask(Method::DELETE, "/v1/frames", &[], "").await;
    assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
    let body = served.post_local("/v1/gaps/x/state", serde_json::json!({"state": "lost"})).await;
    assert_eq!(body.status, StatusCode::BAD_REQUEST);
    assert!(body.json()["where"].as_str().is_some_and(|place| place.starts_with("body")), "{}", body.text());
}

// REQ: FEP-ARCS-006
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_octet_never_gets_into_an_answer_and_the_next_manifest_names_the_segment() {
    let (served, recorded) = recorded().await;
    let mut files: Vec<_> =
        std::fs::read_dir(served.root().join("segments/black/one.frames")).unwrap().collect();
    files.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    let path = files[1].as_ref().unwrap().path();
    let mut octets = std::fs::read(&path).unwrap();
    // In the middle of a frame: an octet that fills a block up hurts no answer, and is for the scrub to find.
    let frame = &recorded.one[450].octets;
    let at = octets.windows(frame.len()).position(|window| window == frame).expect("it is in this segment");
    octets[at + frame.len() / 2] ^= 0x10;
    std::fs::write(&path, octets).unwrap();
    let query = "/v1/frames?ring=one.frames&session=ops,test&format=frames";
    let first = served.get(query).await;
    assert!(first.broken || first.status == StatusCode::INTERNAL_SERVER_ERROR, "{}", first.status);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let manifest = loop {
        let answer = served.get(&query.replace("/v1/frames?", "/v1/frames/manifest?")).await;
        if answer.status == StatusCode::OK {
            break answer.json();
        }
        assert!(std::time::Instant::now() < until, "{}", answer.text());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let missing = manifest["quarantined_segments"].as_array().unwrap();
    assert_eq!(missing.len(), 1);
    assert!(path.display().to_string().ends_with(&format!("{}.seg", missing[0].as_str().unwrap())));
    let second = served.get(query).await;
    let expected: Vec<u8> = recorded.one[..301]
        .iter()
        .chain(&recorded.one[602..])
        .flat_map(|frame| frame.octets.clone())
        .collect();
    assert_eq!(second.body, expected, "what is whole is still served");
}

// REQ: FEP-ARC-063
#[tokio::test(flavor = "multi_thread")]
async fn a_live_tail_tells_every_row_once_from_segments_that_are_sealed_at_once() {
    const ROWS: u64 = 200;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("segments");
    let frames: Vec<TestFrame> =
        (0..ROWS + 1).map(|count| tm_frame(1, (count % 2) as u8, count, START + count as i64 * MS)).collect();
    let mut recorder = Recorder::new(&root, "one.frames");
    recorder.frames(&frames[..1]);
    let served = Served::start(directory, "", 1).await;
    let tail = served.begin("/v1/tail?vcid=0&limit=100").await;
    // One small segment after the other, some sealed sooner than the service can look twice.
    for (number, some) in frames[1..].chunks(10).enumerate() {
        let growing = recorder.growing(some);
        if number % 3 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        }
        recorder.seal(growing);
    }
    let told = String::from_utf8(tail.rest().await.to_vec()).unwrap();
    let row = |line: &str| -> i64 {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["seq"].as_i64().unwrap()
    };
    let seqs: Vec<i64> = told.lines().filter_map(|line| line.strip_prefix("data: ")).map(row).collect();
    assert_eq!(seqs, (3..=201).step_by(2).collect::<Vec<_>>());
    assert!(!told.contains("event: missed"));
}

// REQ: FEP-ARCS-007
#[tokio::test(flavor = "multi_thread")]
async fn frames_in_a_segment_that_still_grows_are_served_as_those_in_sealed_ones_are() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("segments");
    let frames: Vec<TestFrame> =
        (0..50).map(|count| tm_frame(1, 0, count, START + count as i64 * MS)).collect();
    Recorder::new(&root, "other.frames").frames(&frames[..1]);
    let header = SegmentHeader {
        stream: Stream::new(fep_bus::Colour::Black, "one.frames"),
        schema: "ccsds.v1".to_owned(),
        id: 99,
        instance: 7,
        series: SERIES,
        base: Position { seq: 1, pos: 0, payload: 0 },
        created_unix_ns: 1_000_000_000,
        previous: None,
    };
    let mut writer = SegmentWriter::create(&root, header).unwrap();
    for frame in &frames {
        writer.record(frame.tag(), &frame.octets).unwrap();
    }
    writer.flush().unwrap();
    let served = Served::start(directory, "", 1).await;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let expected: Vec<u8> = frames.iter().flat_map(|frame| frame.octets.clone()).collect();
    loop {
        let answer = served.get("/v1/frames?ring=one.frames&format=frames").await;
        if answer.body == expected {
            break;
        }
        assert!(std::time::Instant::now() < until, "{} octets of {}", answer.body.len(), expected.len());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(seqs(&served, "/v1/frames?ring=one.frames").await.len(), 50);
    // Completeness counts sealed segments alone, and does not take the rest for a silence.
    let (from, to) = (START + 10 * MS, START + 40 * MS);
    let path = format!("/v1/completeness?scid=673&from={}&to={}", time(from), time(to));
    assert_eq!(
        served.get(&path).await.json(),
        serde_json::json!({"channels": [], "silences": [], "counted_to_tai_ns": START})
    );
}
