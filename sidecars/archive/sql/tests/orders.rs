//! The real process, given orders.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;
use fep_archive_query::sql::{
    ORDER_END, SqlForm, SqlOrder, SqlRefusal, SqlReply, SqlTable, read_head, write_head,
};
use fep_catalogue::StoreConfig;
use serde_json::json;

/// A table `frames` of `rows` rows in its tail.
fn order(directory: &std::path::Path, sql: &str, rows: i64) -> Vec<u8> {
    let field = |name: &str, data_type| Field::new(name, data_type, false);
    let schema = Arc::new(Schema::new(vec![
        field("seq", DataType::Int64),
        field("colour", DataType::Utf8),
        field("ring", DataType::Utf8),
    ]));
    let text = |text: &str| Arc::new(StringArray::from(vec![text; rows as usize])) as ArrayRef;
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from_iter_values(0..rows)), text("black"), text("one.frames")];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("a batch");
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).expect("a stream");
    writer.write(&batch).expect("memory");
    let tail = writer.into_inner().expect("whole");
    let store = json!({"url": format!("file://{}", directory.display())});
    let store: StoreConfig = serde_json::from_value(store).expect("a store");
    let order = SqlOrder {
        sql: sql.to_owned(),
        rows_max: 10,
        form: SqlForm::Json,
        threads: 2,
        memory_mib: 64,
        store,
        tables: vec![SqlTable { name: "frames".to_owned(), files: Vec::new(), tail_rows: rows as u64 }],
    };
    let mut octets = Vec::new();
    write_head(&mut octets, &order).expect("memory");
    octets.extend(tail);
    octets.extend(ORDER_END);
    octets
}

fn run(order: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fep-archive-sql"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("piped").write_all(order).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn reply(output: &Output) -> (SqlReply, String) {
    let mut rest = output.stdout.as_slice();
    let reply = read_head(&mut rest).expect("a head").expect("a reply");
    (reply, String::from_utf8(rest.to_vec()).expect("text"))
}

// REQ: FEP-ARCS-451
#[test]
fn an_order_is_answered_from_its_tail_and_the_process_ends() {
    let store = tempfile::tempdir().expect("a directory");
    let sql = "SELECT count(*) AS n, max(seq) AS last, ring FROM frames GROUP BY ring";
    let output = run(&order(store.path(), sql, 300));
    assert!(output.status.success());
    let (head, rows) = reply(&output);
    assert!(matches!(head, SqlReply::Answer { truncated: false, .. }), "{head:?}");
    assert_eq!(rows, r#"[{"n":300,"last":299,"ring":"one.frames"}]"#);
    let (head, rows) = reply(&run(&order(store.path(), "SELECT seq FROM frames ORDER BY seq", 300)));
    assert!(matches!(head, SqlReply::Answer { truncated: true, .. }), "{head:?}");
    assert!(rows.ends_with(r#"{"seq":9}]"#), "{rows}");
}

// REQ: FEP-ARCS-451
#[test]
fn what_is_no_query_changes_something_or_needs_too_much_is_refused_by_its_kind() {
    let store = tempfile::tempdir().expect("a directory");
    for (sql, wanted) in [
        ("SELECT nothing FROM frames", SqlRefusal::Query),
        ("SELEKT", SqlRefusal::Query),
        ("DROP TABLE frames", SqlRefusal::NotReadOnly),
        ("COPY (SELECT 1) TO '/tmp/fep-sql-must-not-write.csv'", SqlRefusal::NotReadOnly),
        ("SELECT a.seq, b.seq, c.seq FROM frames a, frames b, frames c ORDER BY 3, 2, 1", SqlRefusal::Memory),
    ] {
        let (head, rows) = reply(&run(&order(store.path(), sql, 300)));
        assert!(matches!(head, SqlReply::Refusal { kind, .. } if kind == wanted), "{sql}: {head:?}");
        assert_eq!(rows, "", "{sql}");
    }
}

// REQ: FEP-ARCS-451
#[test]
fn half_an_order_is_no_order_and_none_is_no_fault() {
    let store = tempfile::tempdir().expect("a directory");
    let whole = order(store.path(), "SELECT 1", 3);
    for cut in [1, 4, 100, whole.len() / 2, whole.len() - 20, whole.len() - 4, whole.len() - 1] {
        let half = run(&whole[..cut]);
        assert_eq!((half.status.success(), half.stdout.len()), (false, 0), "{cut} of {}", whole.len());
    }
    assert!(run(&[]).status.success());
    let nonsense = run(b"\0\0\0\x05hello");
    assert!(!nonsense.status.success());
    assert!(!String::from_utf8_lossy(&nonsense.stderr).contains("panicked"));
}
