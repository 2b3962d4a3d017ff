//! `fep-archive-sql`: answers one query over the archive's indexes, and ends.
//!
//! `fep-archive` starts it, writes an order ([`fep_archive_query::sql`]) to its standard input and reads the answer from its
//! standard output. It is a process of its own so that a query can neither take the archive's memory nor outlive its time:
//! whoever ordered kills it. It listens nowhere, writes nothing to disk, and dies with the process that started it.

mod engine;
mod table;

use std::io::{self, Read, Write};
use std::process::ExitCode;

use clap::Parser;
use fep_archive_query::sql::{ORDER_END, SqlOrder, SqlRefusal, SqlReply, read_head, write_head};
use fep_catalogue::StoreConfig;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};

use engine::{Answer, Tail};

/// What the program needs beside what queries compute with: code, threads, buffers of files.
const OWN_MIB: u64 = 768;
/// Octets of a row of a tail in memory, at most.
const ROW_MOST: u64 = 1024;

/// Answers one query over the archive's indexes. fep-archive starts it: an order comes in on standard input.
#[derive(Parser)]
#[command(name = "fep-archive-sql", version)]
struct Arguments {}

fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    match serve(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fep-archive-sql: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Where memory runs out this is the first process to go.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let Some(order) = read_head::<SqlOrder<StoreConfig>>(input)? else { return Ok(()) };
    let rows: u64 = order.tables.iter().map(|table| table.tail_rows).sum();
    limit_memory(order.memory_mib as u64 + OWN_MIB + (rows.saturating_mul(ROW_MOST) >> 20))?;
    let mut tails = Vec::new();
    for _ in &order.tables {
        tails.push(Tail::read(input).map_err(io::Error::other)?);
    }
    let mut end = ORDER_END;
    input.read_exact(&mut end)?;
    if end != ORDER_END {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the order does not end where it should"));
    }
    let (reply, rows) = match engine::answer(&order, tails) {
        Ok(Answer { columns, rows, truncated, took_ms }) => {
            (SqlReply::Answer { columns, truncated, took_ms }, rows)
        }
        Err(error) => (SqlReply::Refusal { kind: error.kind(), detail: error.to_string() }, Vec::new()),
    };
    write_head(output, &reply)?;
    output.write_all(&rows)?;
    output.flush()
}

/// What DataFusion does not account for is bounded as well: an allocation beyond the limit ends the process.
fn limit_memory(mib: u64) -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Data);
    let limit = maximum.map_or(mib << 20, |maximum| maximum.min(mib << 20));
    Ok(setrlimit(Resource::Data, Rlimit { current: Some(limit), maximum })?)
}

impl engine::SqlError {
    fn kind(&self) -> SqlRefusal {
        match self {
            engine::SqlError::Query(_) => SqlRefusal::Query,
            engine::SqlError::NotReadOnly(_) => SqlRefusal::NotReadOnly,
            engine::SqlError::Memory(_) => SqlRefusal::Memory,
            engine::SqlError::Fault(_) => SqlRefusal::Fault,
        }
    }
}
