//! `fepctl archive sql`: a query and its answer as a table.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::args::SqlArgs;
use super::client::Client;
use super::print;
use crate::failure::{Failure, output};
use crate::terminal::{self, say};

/// A column is not shown wider.
const WIDTH_MAX: usize = 60;

/// Runs the command.
pub(crate) fn run(args: &SqlArgs) -> Result<(), Failure> {
    let mut body = json!({"sql": args.sql, "format": if args.csv { "csv" } else { "json" }});
    if let Some(rows_max) = args.rows_max {
        body["rows_max"] = json!(rows_max);
    }
    if let Some(timeout_s) = args.timeout_s {
        body["timeout_s"] = json!(timeout_s);
    }
    let client = Client::of(&args.target)?;
    if args.csv {
        let (head, text) = client.post_text("/v1/sql", &body)?;
        let mut out = terminal::data_out();
        out.write_all(&text).and_then(|()| out.flush()).map_err(output)?;
        return super::whole_by_head(&head);
    }
    let answer: Value = client.post("/v1/sql", &body)?;
    print(args.json, &answer, |out| table(out, &answer))?;
    if answer["truncated"].as_bool() == Some(true) {
        say!(
            "fepctl: there are more rows than the limit; --rows-max raises it as far as the service lets you"
        );
    }
    super::whole(&answer)
}

fn table(out: &mut impl Write, answer: &Value) -> io::Result<()> {
    let names: Vec<&str> = answer["columns"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|column| column["name"].as_str())
        .collect();
    let rows: Vec<Vec<String>> = answer["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| names.iter().map(|name| cell(&row[*name])).collect())
        .collect();
    let mut widths: Vec<usize> = names.iter().map(|name| name.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for (number, (name, width)) in names.iter().zip(&widths).enumerate() {
        write!(out, "{}{name:<width$}", if number == 0 { "" } else { "  " })?;
    }
    writeln!(out)?;
    for row in &rows {
        for (number, (cell, width)) in row.iter().zip(&widths).enumerate() {
            write!(out, "{}{cell:<width$}", if number == 0 { "" } else { "  " })?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{} rows in {} ms", rows.len(), answer["took_ms"])
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= WIDTH_MAX {
        return text;
    }
    text.chars().take(WIDTH_MAX - 1).chain(['…']).collect()
}
