//! The short commands over the control socket: `link`, `status`, `reload`, `stop`, `metrics`.

use std::io::{self, Write};

use fep_control::api::{Done, LinkStatus, NamedCount, ReloadReport, RingStatus, SpacecraftStatus, Status};
use serde::Serialize;

use crate::clcw::{self, ClcwRow};
use crate::cli::{ClientArgs, LinkArgs, LinkCommand, MetricsArgs};
use crate::daemon::{Daemon, path_segment};
use crate::failure::{Failure, output};
use crate::figures;
use crate::terminal::{self, say};

/// `fepctl link ...`
pub(crate) fn link(command: &LinkCommand) -> Result<(), Failure> {
    match command {
        LinkCommand::List(args) => {
            let links: Vec<LinkStatus> = args.target.daemon()?.get("/links")?;
            print(args, &links, |out| link_table(out, &links))
        }
        LinkCommand::Show(args) => {
            let daemon = args.client.target.daemon()?;
            let link: LinkStatus = daemon.get(&format!("/links/{}", path_segment(&args.name)))?;
            print(&args.client, &link, |out| link_page(out, &link))
        }
        LinkCommand::Enable(args) => command_link(args, "enable"),
        LinkCommand::Disable(args) => command_link(args, "disable"),
        LinkCommand::Reset(args) => command_link(args, "reset"),
    }
}

fn command_link(args: &LinkArgs, verb: &str) -> Result<(), Failure> {
    let daemon = args.client.target.daemon()?;
    let done: Done = daemon.post(&format!("/links/{}/{verb}", path_segment(&args.name)))?;
    print(&args.client, &done, |out| writeln!(out, "{}", done.message))
}

/// `fepctl status`
pub(crate) fn status(args: &ClientArgs) -> Result<(), Failure> {
    let status: Status = args.target.daemon()?.get("/status")?;
    print(args, &status, |out| status_page(out, &status))
}

/// `fepctl reload`
pub(crate) fn reload(args: &ClientArgs) -> Result<(), Failure> {
    let report: ReloadReport = args.target.daemon()?.post("/reload")?;
    print(args, &report, |out| {
        let parts = [
            ("started", &report.started),
            ("stopped", &report.stopped),
            ("restarted", &report.restarted),
            ("untouched", &report.untouched),
        ];
        for (what, links) in parts.into_iter().filter(|(_, links)| !links.is_empty()) {
            writeln!(out, "{what:<10} {}", links.join(", "))?;
        }
        if !report.needs_restart.is_empty() {
            writeln!(out, "only read at start, so not in force yet: {}", report.needs_restart.join(", "))?;
        }
        Ok(())
    })
}

/// `fepctl stop`
pub(crate) fn stop(args: &ClientArgs) -> Result<(), Failure> {
    let done: Done = args.target.daemon()?.post("/stop")?;
    print(args, &done, |out| writeln!(out, "{}", done.message))
}

/// `fepctl metrics`
pub(crate) fn metrics(args: &MetricsArgs) -> Result<(), Failure> {
    let asked = args.target.daemon().and_then(|daemon: Daemon| daemon.text("/metrics"));
    let text = match asked {
        Ok(text) => text,
        Err(failure) if failure.is_no_daemon() => {
            let mut config = args.target.load()?;
            if let Some(dir) = &args.run_dir {
                config.daemon.run_dir.clone_from(dir);
            }
            let dir = config.bus_dir();
            let text = crate::pages::prometheus_text(&dir)?;
            say!("fepctl: {}", failure.to_string().lines().next().unwrap_or_default());
            say!("fepctl: these are the last figures of the metric pages below {}", dir.display());
            text
        }
        Err(failure) => return Err(failure),
    };
    let mut out = terminal::text_out();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(output)
}

/// As JSON or as text.
fn print(
    args: &ClientArgs,
    answer: &impl Serialize,
    text: impl FnOnce(&mut terminal::Shown<io::StdoutLock<'static>>) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut out = terminal::out(args.json);
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, answer).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        text(&mut out)
    };
    written.and_then(|()| out.flush()).map_err(output)
}

fn link_table(out: &mut impl Write, links: &[LinkStatus]) -> io::Result<()> {
    if links.is_empty() {
        return writeln!(out, "no link is configured");
    }
    writeln!(
        out,
        "{:<16} {:<18} {:<11} {:<9} {:>11} {:>9} {:>9} {:>7}  TRANSPORT",
        "LINK", "CHANNEL", "STATE", "LOCK", "BIT RATE", "GOOD", "CORRECTED", "UNCORR."
    )?;
    for link in links {
        let counts = &link.ledger.counts;
        writeln!(
            out,
            "{:<16} {:<18} {:<11} {:<9} {:>11} {:>9} {:>9} {:>7}  {}",
            link.name,
            link.channel,
            link.state,
            link.sync,
            figures::bit_rate(link.rates.bits_per_s),
            figures::count(counts.good),
            figures::count(counts.corrected),
            figures::count(counts.uncorrectable),
            link.transport
        )?;
    }
    Ok(())
}

fn link_page(out: &mut impl Write, link: &LinkStatus) -> io::Result<()> {
    for (name, value) in crate::monitor::link_details(link) {
        writeln!(out, "{name:<26} {value}")?;
    }
    writeln!(
        out,
        "\n{:<10} {:<22} {:>12} {:>8} {:>10} {:>12}",
        "SCID/VCID", "CHANNEL", "FRAMES", "GAPS", "LOST", "PACKETS"
    )?;
    for vc in &link.vcs {
        writeln!(
            out,
            "{:<10} {:<22} {:>12} {:>8} {:>10} {:>12}",
            vc.gvcid, vc.name, vc.ledger.frames, vc.ledger.gaps, vc.ledger.lost, vc.ledger.packets
        )?;
    }
    let clcws: Vec<ClcwRow> = link.clcws.iter().map(|clcw| ClcwRow::new(&link.name, clcw)).collect();
    clcw::table(out, clcws.iter())?;
    if let Some(spacecraft) = &link.merged_by {
        writeln!(
            out,
            "\nThe spacecraft {spacecraft} merges this link with others: its packets and CLCWs are there."
        )?;
    }
    for stage in &link.latency {
        writeln!(
            out,
            "\nLatency from the socket to {}: p50 {}, p99 {}, p99.9 {}, max {} over {} frames",
            stage.stage,
            figures::time_ns(stage.p50_ns),
            figures::time_ns(stage.p99_ns),
            figures::time_ns(stage.p999_ns),
            figures::time_ns(stage.max_ns),
            figures::grouped(stage.count)
        )?;
    }
    Ok(())
}

/// Spacecraft whose links are merged, and what became of each antenna's frames.
fn spacecraft_table(out: &mut impl Write, crafts: &[SpacecraftStatus]) -> io::Result<()> {
    writeln!(
        out,
        "\n{:<16} {:<11} {:<16} {:<6} {:>11} {:>11} {:>11} {:>8}",
        "SPACECRAFT", "STATE", "ANTENNA", "HEARD", "RECEIVED", "SERVED", "DUPLICATE", "LATE"
    )?;
    for craft in crafts {
        for antenna in &craft.antennas {
            writeln!(
                out,
                "{:<16} {:<11} {:<16} {:<6} {:>11} {:>11} {:>11} {:>8}",
                craft.name,
                craft.state,
                antenna.link,
                if antenna.heard { "yes" } else { "-" },
                figures::count(antenna.counts.received),
                figures::count(antenna.counts.served),
                figures::count(antenna.counts.duplicates),
                figures::count(antenna.counts.late)
            )?;
        }
    }
    Ok(())
}

fn status_page(out: &mut impl Write, status: &Status) -> io::Result<()> {
    writeln!(
        out,
        "fepd {} pid {}, up {}",
        status.version,
        status.pid,
        figures::uptime(status.uptime_s as u64)
    )?;
    writeln!(out, "configuration {}", status.config_file.as_deref().unwrap_or("built in"))?;
    writeln!(out, "directory     {}", status.run_dir)?;
    for warning in &status.warnings {
        writeln!(out, "warning       {warning}")?;
    }
    if status.stopping {
        writeln!(out, "it is stopping")?;
    }
    writeln!(out)?;
    link_table(out, &status.links)?;
    if !status.spacecraft.is_empty() {
        spacecraft_table(out, &status.spacecraft)?;
    }
    writeln!(out, "\n{:<24} {:<6} {:>14} {:>12}", "RING", "COLOUR", "RECORDS", "OCTETS")?;
    for ring in &status.rings {
        writeln!(
            out,
            "{:<24} {:<6} {:>14} {:>12}",
            ring.name,
            ring.colour,
            figures::grouped(published(ring)),
            figures::octets(ring.bytes)
        )?;
    }
    Ok(())
}

/// Records published in a ring: sequence numbers start at 1.
pub(crate) fn published(ring: &RingStatus) -> u64 {
    ring.head_seq.saturating_sub(1)
}

/// A counter's name in words.
pub(crate) fn words(count: &NamedCount) -> String {
    count.name.trim_end_matches("_total").replace('_', " ")
}
