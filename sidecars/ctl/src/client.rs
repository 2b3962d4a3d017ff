//! The short commands over the control socket: `link`, `status`, `reload`, `stop`, `metrics`.

use std::io::{self, Write};

use fep_control::api::{
    Done, LatencyStatus, LinkStatus, NamedCount, ReloadReport, RingStatus, SpacecraftStatus, Status, VcStatus,
};
use serde::Serialize;

use crate::clcw::{self, ClcwRow};
use crate::cli::{ClientArgs, LinkArgs, LinkCommand, MetricsArgs};
use fep_client::segment as path_segment;

use crate::daemon::Daemon;
use crate::failure::{Failure, output};
use crate::figures;
use crate::spacecraft;
use crate::terminal::{self, say};

/// `fepctl link ...`
pub(crate) fn link(command: &LinkCommand) -> Result<(), Failure> {
    match command {
        LinkCommand::List(args) => {
            let links: Vec<LinkStatus> = args.target.daemon()?.get("/links")?;
            print(args, &links, |out| link_table(out, &links))
        }
        LinkCommand::Show { link: args, all } => {
            let daemon = args.client.target.daemon()?;
            let link = link_status(&daemon, &args.name)?;
            print(&args.client, &link, |out| link_page(out, &link, *all))
        }
        LinkCommand::Enable(args) => command_link(args, "enable"),
        LinkCommand::Disable(args) => command_link(args, "disable"),
        LinkCommand::Reset(args) => command_link(args, "reset"),
    }
}

fn command_link(args: &LinkArgs, verb: &str) -> Result<(), Failure> {
    let daemon = args.client.target.daemon()?;
    let done: Done = daemon
        .post(&format!("/links/{}/{verb}", path_segment(&args.name)))
        .map_err(|failure| or_spacecraft(&daemon, &args.name, failure))?;
    // Enabled is not yet running: the daemon answers when it has tried.
    if verb == "enable" && link_status(&daemon, &args.name)?.failure.is_some() {
        if args.client.json {
            print(&args.client, &done, |_| Ok(()))?;
        }
        return Err(Failure::new(done.message).hint("`fepctl link show NAME` says when it is tried again"));
    }
    print(&args.client, &done, |out| writeln!(out, "{}", done.message))
}

fn link_status(daemon: &Daemon, name: &str) -> Result<LinkStatus, Failure> {
    daemon
        .get(&format!("/links/{}", path_segment(name)))
        .map_err(|failure| or_spacecraft(daemon, name, failure))
}

/// A failure to find a link, with a hint where the name is that of a spacecraft.
fn or_spacecraft(daemon: &Daemon, name: &str, failure: Failure) -> Failure {
    if failure.is_no_daemon() {
        return failure;
    }
    match daemon.get::<Vec<SpacecraftStatus>>("/spacecraft") {
        Ok(crafts) if crafts.iter().any(|craft| craft.name == name) => failure
            .hint(format!("{name} is a spacecraft whose links are merged: `fepctl spacecraft show {name}`")),
        _ => failure,
    }
}

/// `fepctl status`
pub(crate) fn status(args: &ClientArgs) -> Result<(), Failure> {
    let status: Status = args.target.daemon()?.get("/status")?;
    print(args, &status, |out| status_page(out, &status))
}

/// `fepctl reload`
pub(crate) fn reload(args: &ClientArgs) -> Result<(), Failure> {
    let daemon = args.target.daemon()?;
    let report: ReloadReport = daemon.post("/reload")?;
    // Which file that was is the daemon's affair, not that of our options.
    let file = daemon.get::<Status>("/status")?.config_file;
    print(args, &report, |out| {
        writeln!(out, "{:<10} {}", "read", file.as_deref().unwrap_or("the built-in configuration"))?;
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
pub(crate) fn print(
    args: &ClientArgs,
    answer: &impl Serialize,
    text: impl FnOnce(&mut terminal::Shown<io::StdoutLock<'static>>) -> io::Result<()>,
) -> Result<(), Failure> {
    terminal::print(args.json, answer, text)
}

fn link_table(out: &mut impl Write, links: &[LinkStatus]) -> io::Result<()> {
    if links.is_empty() {
        return writeln!(out, "no link is configured");
    }
    // Whole names: they are what other commands are given.
    let widest = |title: &str, of: fn(&LinkStatus) -> &str| {
        links.iter().map(|link| of(link).chars().count()).chain([title.len()]).max().unwrap_or_default()
    };
    let name = widest("LINK", |link| &link.name);
    let channel = widest("CHANNEL", |link| &link.channel);
    writeln!(
        out,
        "{:<name$} {:<channel$} {:<11} {:<9} {:>11} {:>9} {:>9} {:>7}  TRANSPORT",
        "LINK", "CHANNEL", "STATE", "LOCK", "BIT RATE", "GOOD", "CORRECTED", "BAD"
    )?;
    for link in links {
        let counts = &link.ledger.counts;
        writeln!(
            out,
            "{:<name$} {:<channel$} {:<11} {:<9} {:>11} {:>9} {:>9} {:>7}  {}",
            link.name,
            link.channel,
            link.state,
            figures::lock(&link.sync),
            figures::bit_rate(link.rates.bits_per_s),
            figures::count(counts.good),
            figures::count(counts.corrected),
            figures::count(link.ledger.bad.total()),
            link.transport
        )?;
    }
    Ok(())
}

/// `all`: also what is zero.
fn link_page(out: &mut impl Write, link: &LinkStatus, all: bool) -> io::Result<()> {
    let details = crate::monitor::link_details(link);
    let (shown, hidden): (Vec<_>, Vec<_>) = details.into_iter().partition(|detail| all || !detail.is_zero);
    let mut group = "";
    for detail in shown {
        if group != detail.group {
            group = detail.group;
            writeln!(out, "{}{group}", if group == "link" { "" } else { "\n" })?;
        }
        writeln!(out, "  {:<30} {}", detail.name, detail.value)?;
    }
    if !hidden.is_empty() {
        let counters = figures::counted(hidden.len(), "further counter is 0", "further counters are 0");
        writeln!(out, "\n{counters}: --all shows all")?;
    }
    vc_table(out, &link.vcs, link.merged_by.is_none())?;
    let clcws: Vec<ClcwRow> = link.clcws.iter().map(|clcw| ClcwRow::new(&link.name, clcw)).collect();
    clcw::table(out, clcws.iter())?;
    if let Some(spacecraft) = &link.merged_by {
        writeln!(
            out,
            "\nThe spacecraft {spacecraft} merges this link with others: packets, and CLCWs for the way up, are the spacecraft's."
        )?;
    }
    latency_lines(out, &link.latency)
}

/// Virtual channels and their counts; resets and duplicates where there were any. A link that a spacecraft merges has no packets.
pub(crate) fn vc_table(out: &mut impl Write, vcs: &[VcStatus], has_packets: bool) -> io::Result<()> {
    type Count = fn(&VcStatus) -> u64;
    let seldom: [(&str, Count); 2] =
        [("RESETS", |vc| vc.ledger.resets), ("DUPLICATES", |vc| vc.ledger.duplicates)];
    let seldom: Vec<_> = seldom.into_iter().filter(|(_, of)| vcs.iter().any(|vc| of(vc) > 0)).collect();
    write!(
        out,
        "\n{:<10} {:<22} {:>12} {:>8} {:>10} {:>12}",
        "SCID/VCID", "CHANNEL", "FRAMES", "GAPS", "LOST", "PACKETS"
    )?;
    seldom.iter().try_for_each(|(title, _)| write!(out, " {title:>10}"))?;
    writeln!(out)?;
    for vc in vcs {
        let packets = if has_packets { vc.ledger.packets.to_string() } else { "–".to_owned() };
        write!(
            out,
            "{:<10} {:<22} {:>12} {:>8} {:>10} {:>12}",
            vc.gvcid, vc.name, vc.ledger.frames, vc.ledger.gaps, vc.ledger.lost, packets
        )?;
        seldom.iter().try_for_each(|(_, of)| write!(out, " {:>10}", of(vc)))?;
        writeln!(out)?;
    }
    Ok(())
}

/// A sentence for each stage that latency is measured to: once for each chunk, which is what was received at once.
pub(crate) fn latency_lines(out: &mut impl Write, stages: &[LatencyStatus]) -> io::Result<()> {
    for stage in stages {
        if stage.count == 0 {
            writeln!(out, "\nLatency from the socket to {}: –", stage.stage)?;
            continue;
        }
        let [p50, p99, p999] = stage.bounds_ns().map(figures::time_ns);
        writeln!(
            out,
            "\nLatency from the socket to {}: p50 ≤ {p50}, p99 ≤ {p99}, p99.9 ≤ {p999}, max {} over {}",
            stage.stage,
            figures::time_ns(stage.max_ns),
            figures::counted_long(stage.count, "chunk received", "chunks received")
        )?;
    }
    Ok(())
}

/// The rings of the bus as `fepctl ring list` has them: name, colour, records, octets, and whether nobody writes one. Those that
/// others than the daemon write are among them; where the bus cannot be read only the daemon's are.
fn rings_of_the_bus(status: &Status) -> Vec<(String, String, u64, u64, bool)> {
    let own = |ring: &RingStatus| {
        (ring.name.clone(), ring.colour.clone(), published(ring), ring.bytes, ring.orphaned)
    };
    let listed = fep_bus::list(std::path::Path::new(&status.bus_dir)).unwrap_or_default();
    let mut rings: Vec<_> = listed
        .into_iter()
        .flatten()
        .map(|ring| match status.rings.iter().find(|known| known.name == ring.name) {
            Some(known) => own(known),
            None => {
                let records = ring.head.seq.saturating_sub(1);
                (ring.name, ring.colour.directory().to_owned(), records, ring.head.payload, false)
            }
        })
        .collect();
    for ring in &status.rings {
        if !rings.iter().any(|(name, ..)| *name == ring.name) {
            rings.push(own(ring));
        }
    }
    rings
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
        writeln!(out)?;
        spacecraft::table(out, &status.spacecraft)?;
    }
    writeln!(out, "\n{:<24} {:<6} {:>14} {:>12}", "RING", "COLOUR", "RECORDS", "OCTETS")?;
    for (name, colour, records, octets, orphaned) in rings_of_the_bus(status) {
        writeln!(
            out,
            "{name:<24} {colour:<6} {:>14} {:>12}{}",
            figures::grouped(records),
            figures::octets(octets),
            if orphaned { "  orphaned" } else { "" }
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
