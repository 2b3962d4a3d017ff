//! `fepctl spacecraft`: spacecraft whose links are merged, and what became of the frames of each antenna.

use std::io::{self, Write};

use fep_control::api::{AntennaStatus, Done, SpacecraftStatus};

use crate::clcw::{self, ClcwRow};
use crate::cli::{SpacecraftArgs, SpacecraftCommand};
use crate::client::{latency_lines, print, vc_table, words};
use crate::failure::Failure;
use crate::figures;
use crate::monitor::{antenna_account, heard, thread_in_words};
use fep_client::segment as path_segment;

/// `fepctl spacecraft ...`
pub(crate) fn run(command: &SpacecraftCommand) -> Result<(), Failure> {
    match command {
        SpacecraftCommand::List(args) => {
            let crafts: Vec<SpacecraftStatus> = args.target.daemon()?.get("/spacecraft")?;
            print(args, &crafts, |out| table(out, &crafts))
        }
        SpacecraftCommand::Show { name, client } => {
            let path = format!("/spacecraft/{}", path_segment(name));
            let craft: SpacecraftStatus = client.target.daemon()?.get(&path)?;
            print(client, &craft, |out| page(out, &craft))
        }
        SpacecraftCommand::Enable(args) => command_merge(args, "enable"),
        SpacecraftCommand::Disable(args) => command_merge(args, "disable"),
        SpacecraftCommand::Reset(args) => command_merge(args, "reset"),
    }
}

fn command_merge(args: &SpacecraftArgs, verb: &str) -> Result<(), Failure> {
    let path = format!("/spacecraft/{}/{verb}", path_segment(&args.name));
    let done: Done = args.client.target.daemon()?.post(&path)?;
    print(&args.client, &done, |out| writeln!(out, "{}", done.message))
}

/// One line for each antenna of each spacecraft.
pub(crate) fn table(out: &mut impl Write, crafts: &[SpacecraftStatus]) -> io::Result<()> {
    if crafts.is_empty() {
        return writeln!(
            out,
            "no spacecraft has merged links: `[spacecraft.NAME]` of the configuration names them"
        );
    }
    writeln!(
        out,
        "{:<19} {:<11} {:<19} {:<5} {:>8} = {:>6} + {:>9} + {:>5} + {:>5} + {:>7} {:>11}",
        "SPACECRAFT",
        "STATE",
        "ANTENNA",
        "HEARD",
        "RECEIVED",
        "SERVED",
        "DUPLICATE",
        "LATE",
        "BAD",
        "PENDING",
        "LOST ON BUS"
    )?;
    for craft in crafts {
        for antenna in &craft.antennas {
            let counts = &antenna.counts;
            writeln!(
                out,
                "{:<19} {:<11} {:<19} {:<5} {:>8} = {:>6} + {:>9} + {:>5} + {:>5} + {:>7} {:>11}",
                craft.name,
                craft.state,
                antenna.link,
                if antenna.heard { "yes" } else { "no" },
                figures::count(counts.received),
                figures::count(counts.served),
                figures::count(counts.duplicates),
                figures::count(counts.late),
                figures::count(counts.bad),
                figures::count(counts.pending),
                figures::count(antenna.lost_on_bus)
            )?;
        }
    }
    Ok(())
}

/// Everything about one spacecraft.
fn page(out: &mut impl Write, craft: &SpacecraftStatus) -> io::Result<()> {
    let mut line = |name: &str, value: String| writeln!(out, "{name:<26} {value}");
    line("channel", craft.channel.clone())?;
    line("spacecraft", craft.spacecraft.clone())?;
    line("session", craft.session.clone())?;
    line("state", craft.state.clone())?;
    if let Some(failure) = &craft.failure {
        line("failure", failure.clone())?;
    }
    if let Some(retry_ms) = craft.retry_ms {
        line("tried again in", format!("{retry_ms} ms"))?;
    }
    line("thread", thread_in_words(&craft.thread))?;
    line("restarts", craft.restarts.to_string())?;
    line("frames/s", figures::per_second(craft.rates.frames_per_s))?;
    line("frames served", figures::grouped(craft.ledger.counts.received))?;
    line("packets", figures::grouped(craft.ledger.counts.packets))?;
    for count in &craft.merge_counters {
        line(&words(count), figures::grouped(count.value))?;
    }
    for antenna in &craft.antennas {
        writeln!(out, "\n{}", antenna_lines(antenna))?;
    }
    vc_table(out, &craft.vcs, true)?;
    let clcws: Vec<ClcwRow> = craft.clcws.iter().map(|clcw| ClcwRow::new(&craft.name, clcw)).collect();
    clcw::table(out, clcws.iter())?;
    latency_lines(out, &craft.latency)
}

/// The account of one antenna: received = served + duplicates + late + bad + pending.
fn antenna_lines(antenna: &AntennaStatus) -> String {
    let mut text = format!("antenna {}: {}", antenna.link, heard(antenna));
    for (name, frames) in antenna_account(antenna) {
        text.push_str(&format!("\n  {name:<24} {}", figures::grouped(frames)));
    }
    if !antenna.is_balanced() {
        text.push_str("\n  the frames received are not all accounted for");
    }
    text
}
