//! `fepctl archive sql`: a query and its answer as a table.

use std::io::{self, Write};

use fep_client::model::archive::{SqlAnswer, SqlQuery};
use fep_client::{Verbatim, api};
use serde_json::Value;

use super::archive;
use super::args::SqlArgs;
use crate::failure::{Failure, output};
use crate::service::Reached;
use crate::terminal::{self, print, say};

/// A column is not shown wider.
const WIDTH_MAX: usize = 60;

/// Runs the command.
pub(crate) fn run(args: &SqlArgs) -> Result<(), Failure> {
    let call = api::archive::sql(&SqlQuery {
        sql: args.sql.clone(),
        format: if args.csv { "csv" } else { "json" },
        rows_max: args.rows_max,
        timeout_s: args.timeout_s,
    });
    let client = args.target.client()?;
    if args.csv {
        let mut reply = client.begin(&call).map_err(archive)?;
        let is_whole = super::whole_by_head(&reply);
        let mut out = terminal::data_out();
        while let Some(text) = reply.chunk().map_err(archive)? {
            out.write_all(&text).map_err(output)?;
        }
        out.flush().map_err(output)?;
        return is_whole;
    }
    let answer: Verbatim<SqlAnswer> = client.call(&call.answering()).map_err(archive)?;
    print(args.json, &answer, |out| table(out, &answer))?;
    if answer.truncated {
        say!(
            "fepctl: there are more rows than the limit; --rows-max raises it as far as the service lets you"
        );
    }
    super::whole(&answer.incomplete)
}

fn table(out: &mut impl Write, answer: &SqlAnswer) -> io::Result<()> {
    let names: Vec<&str> = answer.columns.iter().map(|column| column.name.as_str()).collect();
    let rows: Vec<Vec<String>> = answer
        .rows
        .iter()
        .map(|row| names.iter().map(|name| row.get(*name).map(cell).unwrap_or_default()).collect())
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
    writeln!(out, "{} rows in {} ms", rows.len(), answer.took_ms)
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
