//! One snapshot as plain text: for logs, mails and terminals without a screen.

use std::io::{self, Write};

use super::snapshot::{Entry, Snapshot};
use crate::figures;

/// Writes `now` as tables. Names of links stand whole: they have 19 characters at most.
pub(crate) fn write(out: &mut impl Write, now: &Snapshot) -> io::Result<()> {
    let daemon = &now.daemon;
    writeln!(
        out,
        "fepd {} pid {}, up {}, {} resident, {} UTC",
        daemon.version,
        daemon.pid,
        figures::uptime(daemon.uptime_s),
        figures::octets(daemon.memory_bytes),
        now.utc
    )?;
    writeln!(
        out,
        "\n{:<19} {:<10} {:<9} {:>11} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6}",
        "LINK", "STATE", "LOCK", "BIT RATE", "FR/S", "GOOD", "CORR.", "BAD", "IDLE", "SYMB.", "LOST"
    )?;
    for link in now.roles() {
        writeln!(
            out,
            "{:<19} {:<10} {:<9} {:>11} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6}",
            link.name,
            figures::fitted(&link.state, 10),
            link.lock,
            if link.is_merge { "–".to_owned() } else { figures::bit_rate(link.bits_per_s) },
            figures::per_second(link.frames_per_s),
            figures::count(link.good),
            figures::count(link.corrected),
            figures::count(link.bad),
            figures::count(link.idle),
            figures::count(link.symbols_corrected),
            figures::count(link.vc_lost),
        )?;
    }
    // Missions name channels that may be silent for weeks.
    let heard: Vec<_> = now.vcs.iter().filter(|vc| vc.frames > 0).collect();
    section(out, "VIRTUAL CHANNEL", heard.is_empty(), "no frame yet")?;
    for vc in heard {
        writeln!(
            out,
            "  {:<19} {:<9} {:<22} frames {:>6} gaps {:>5} lost {:>5} packets {:>6}{}",
            vc.link,
            vc.gvcid,
            figures::fitted(&vc.name, 22),
            figures::count(vc.frames),
            figures::count(vc.gaps),
            figures::count(vc.lost),
            vc.packets.map_or("–".to_owned(), figures::count),
            seldom(&[("resets", vc.resets), ("duplicates", vc.duplicates)])
        )?;
    }
    crate::clcw::table(out, now.clcws.iter())?;
    let ledgers = &now.ledgers;
    writeln!(out, "\nLOSSES (never added together)")?;
    ledger(out, "link", &ledgers.link, "nothing counted yet")?;
    ledger(out, "reception", &ledgers.reception, "nothing counted yet")?;
    if !ledgers.merge.is_empty() {
        ledger(out, "merge", &ledgers.merge, "")?;
    }
    ledger(out, "bus", &ledgers.bus, "no reader")?;
    ledger(out, "disk", &ledgers.disk, "no recorder")?;
    if ledgers.unbalanced.is_empty() {
        writeln!(out, "  received = published + dropped: holds")?;
    }
    for sentence in &ledgers.unbalanced {
        writeln!(out, "  DOES NOT BALANCE: {sentence}")?;
    }
    section(out, "CONSUMER", now.consumers.is_empty(), "nobody reads the rings")?;
    for reader in &now.consumers {
        let evicted = match (reader.evictions, reader.evicted_ago_s) {
            (0, _) => String::new(),
            (times, None) => format!(" evicted {times}×"),
            (times, Some(ago_s)) => format!(" evicted {times}×, {ago_s:.0} s ago"),
        };
        writeln!(
            out,
            "  {:<16} {:<24} {:<8} credit {:>3.0}% lag {:>6} read {:>6} lost {:>6}{evicted}",
            reader.name,
            figures::fitted(&reader.ring, 24),
            reader.state,
            reader.credit_pct,
            figures::count(reader.lag_records),
            figures::count(reader.consumed),
            figures::count(reader.lost_records)
        )?;
    }
    section(out, "THREAD", now.threads.is_empty(), "not known")?;
    for thread in &now.threads {
        writeln!(
            out,
            "  {:<16} core {:>3}  {:<8} {:>4.0}%",
            thread.name, thread.core, thread.policy, thread.busy_pct
        )?;
    }
    section(out, "LATENCY FROM THE SOCKET", now.latencies.is_empty(), "nothing measured yet")?;
    for row in &now.latencies {
        writeln!(
            out,
            "  {:<30} p50 ≤ {:>7} p99 ≤ {:>7} p99.9 ≤ {:>7} max {:>7} over {:>5} chunks",
            figures::fitted(&row.name, 30),
            figures::time_ns(row.p50_ns),
            figures::time_ns(row.p99_ns),
            figures::time_ns(row.p999_ns),
            figures::time_ns(row.max_ns),
            figures::count(row.chunks)
        )?;
    }
    section(out, "EVENT, newest first", now.events.is_empty(), "nothing happened yet")?;
    for event in now.events.iter().take(12) {
        writeln!(out, "  {:<12} {:<19} {}", event.time, event.link, event.text())?;
    }
    Ok(())
}

/// What is said of counters that are seldom not 0: nothing while they are.
fn seldom(counts: &[(&str, u64)]) -> String {
    counts
        .iter()
        .filter(|(_, amount)| *amount > 0)
        .fold(String::new(), |text, (name, amount)| format!("{text} {name} {}", figures::count(*amount)))
}

fn section(out: &mut impl Write, title: &str, empty: bool, nothing: &str) -> io::Result<()> {
    writeln!(out, "\n{title}")?;
    if empty {
        writeln!(out, "  ({nothing})")?;
    }
    Ok(())
}

fn ledger(out: &mut impl Write, name: &str, entries: &[Entry], nothing: &str) -> io::Result<()> {
    let text = if entries.is_empty() {
        format!("({nothing})")
    } else {
        let parts = entries
            .iter()
            .map(|entry| format!("{} {} {}", entry.name, figures::grouped(entry.amount), entry.unit));
        parts.collect::<Vec<_>>().join(", ")
    };
    writeln!(out, "  {name:<10} {text}")
}
