//! Exports opened by other people's programs: tshark (PCAPNG), DuckDB and pyarrow (Parquet, CSV), spacepackets (packets).
//!
//! `make tools` installs them: tshark as a package of the system, the others into `target/tools/venv`. Without them these
//! tests fail and say so: an export that nobody else opened is not proven.

mod served;
#[path = "../../catalogue/tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use fep_ccsds::Gvcid;
use fep_record::{FrameFlags, PacketRecord, Session};
use served::Served;
use support::{MS, Recorder, SCID, START, tm_frame};

/// A program of `make tools`.
fn tool(program: &str, arguments: &[&str]) -> String {
    let run = Command::new(program).args(arguments).output();
    let run = run.unwrap_or_else(|error| panic!("{program} is missing ({error}): run `make tools`"));
    assert!(run.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8_lossy(&run.stdout).into_owned()
}

fn python(script: &str, arguments: &[&str]) -> String {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/tools/venv/bin/python");
    let python = std::env::var_os("FEP_TOOLS_PYTHON").map_or(venv, PathBuf::from);
    let mut all = vec!["-c", script];
    all.extend_from_slice(arguments);
    tool(&python.display().to_string(), &all)
}

fn space_packet(apid: u16, count: u16, len: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..len).map(|n| (n as u16 * 7 + count) as u8).collect();
    let mut octets = vec![(apid >> 8) as u8, apid as u8, 0xC0 | (count >> 8) as u8, count as u8];
    octets.extend_from_slice(&((len - 1) as u16).to_be_bytes());
    octets.extend(data);
    octets
}

async fn recorded() -> (Served, Vec<Vec<u8>>) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("segments");
    let frames: Vec<_> = (0..60).map(|count| tm_frame(1, 3, count, START + count as i64 * MS)).collect();
    Recorder::new(&root, "one.frames").frames(&frames);
    let packets: Vec<_> = (0..120_u16)
        .map(|n| {
            let record = PacketRecord {
                gvcid: Gvcid { tfvn: 0, scid: SCID, vcid: 5 },
                apid: 800 + n % 3,
                sequence: 0xC000 | n,
                link_id: 4,
                session: Session::Ops,
                flags: FrameFlags::CODED,
                ..PacketRecord::default()
            };
            (record, START + i64::from(n) * MS + 123, space_packet(800 + n % 3, n, 20 + usize::from(n)))
        })
        .collect();
    Recorder::new(&root, "one.packets").packets(&packets);
    let octets = packets.iter().map(|packet| packet.2.clone()).collect();
    (Served::start(directory, "", 2).await, octets)
}

async fn export(served: &Served, path: &str, name: &str) -> String {
    let answer = served.get(path).await;
    assert!(answer.status.is_success(), "{}", answer.text());
    let file = served.root().join(name);
    std::fs::write(&file, &answer.body).unwrap();
    file.display().to_string()
}

// REQ: FEP-ARCS-030
#[tokio::test(flavor = "multi_thread")]
async fn tshark_dissects_every_packet_of_a_pcapng_export_with_its_time_and_origin() {
    let (served, packets) = recorded().await;
    let file = export(&served, "/v1/packets?format=pcapng", "packets.pcapng").await;
    let fields = tool(
        "tshark",
        &[
            "-r",
            &file,
            "-d",
            "udp.port==52001,ccsds",
            "-T",
            "fields",
            "-e",
            "frame.time_epoch",
            "-e",
            "ip.src",
            "-e",
            "udp.srcport",
            "-e",
            "ccsds.apid",
            "-e",
            "ccsds.seqnum",
            "-e",
            "ccsds.length",
        ],
    );
    let lines: Vec<&str> = fields.lines().collect();
    assert_eq!(lines.len(), packets.len());
    for (n, line) in lines.iter().enumerate() {
        let fields: Vec<&str> = line.split('\t').collect();
        let utc_ns = START - fep_time::Tai::UNIX_EPOCH.0 - 37_000_000_000 + n as i64 * MS + 123;
        assert_eq!(fields[0], format!("{}.{:09}", utc_ns / 1_000_000_000, utc_ns % 1_000_000_000), "{line}");
        assert_eq!(fields[1], format!("10.{}.{}.5", SCID >> 8, SCID & 255));
        assert_eq!(fields[2], "49156");
        assert_eq!(fields[3], (800 + n % 3).to_string());
        assert_eq!(fields[4], n.to_string());
        assert_eq!(fields[5], (19 + n).to_string());
    }
    let file = export(&served, "/v1/frames?format=pcapng", "frames.pcapng").await;
    let payloads = tool("tshark", &["-r", &file, "-T", "fields", "-e", "udp.payload"]);
    assert_eq!(payloads.lines().count(), 60);
    let first: String = tm_frame(1, 3, 0, START).octets.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(payloads.lines().next().map(|line| line.replace(':', "")), Some(first));
}

// REQ: FEP-ARCS-031
#[tokio::test(flavor = "multi_thread")]
async fn duckdb_and_pyarrow_read_a_parquet_export_and_duckdb_the_index_as_it_lies() {
    let (served, packets) = recorded().await;
    let file = export(&served, "/v1/packets?format=parquet", "packets.parquet").await;
    let script = "import sys, hashlib, duckdb, pyarrow.parquet as pq
table = pq.read_table(sys.argv[1])
print(table.num_rows, hashlib.sha256(b''.join(table['octets'].to_pylist())).hexdigest())
rows = duckdb.sql(f\"SELECT ring, apid, count(*), min(rx_utc)::VARCHAR FROM '{sys.argv[1]}' GROUP BY ALL ORDER BY apid\").fetchall()
print(rows)
index = f'{sys.argv[2]}/index/v1/packets/**/*.parquet'
print(duckdb.sql(f\"SELECT colour, ring, count(*) FROM read_parquet('{index}', hive_partitioning=true) GROUP BY ALL\").fetchall())";
    let store = served.root().join("store").display().to_string();
    let said = python(script, &[&file, &store]);
    let lines: Vec<&str> = said.lines().collect();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(packets.concat());
    let digest: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(lines[0], format!("120 {digest}"));
    for apid in 800..803 {
        assert!(lines[1].contains(&format!("('one.packets', {apid}, 40, ")), "{}", lines[1]);
    }
    assert_eq!(lines[2], "[('black', 'one.packets', 120)]");
    let csv = export(&served, "/v1/packets?format=csv", "packets.csv").await;
    let script = "import sys, duckdb
print(duckdb.sql(f\"SELECT count(*), sum(len), count(DISTINCT rx_tai_ns) FROM read_csv('{sys.argv[1]}')\").fetchall())";
    let octets: usize = packets.iter().map(Vec::len).sum();
    assert_eq!(python(script, &[&csv]).trim(), format!("[(120, {octets}, 120)]"));
}

// REQ: FEP-ARCS-032
#[tokio::test(flavor = "multi_thread")]
async fn spacepackets_walks_a_packet_file_header_by_header_to_its_end() {
    let (served, packets) = recorded().await;
    let file = export(&served, "/v1/packets?format=packets", "packets.pkt").await;
    let script = "import sys
from spacepackets.ccsds import SpacePacketHeader
data = open(sys.argv[1], 'rb').read()
at = 0
while at < len(data):
    header = SpacePacketHeader.unpack(data[at:at + 6])
    print(header.apid, header.seq_count, header.packet_len)
    at += header.packet_len
assert at == len(data)";
    let said = python(script, &[&file]);
    let expected: Vec<String> = packets
        .iter()
        .enumerate()
        .map(|(n, packet)| format!("{} {n} {}", 800 + n % 3, packet.len()))
        .collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}
