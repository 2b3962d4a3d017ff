//! `fepctl decode`: a recorded stream through the same chain as the daemon's, to a report, a frames file, a packets file.
//!
//! Three threads at most: one reads ahead, this one decodes, one hashes (with `--json` only). Memory does not depend on
//! the length of the input.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use fep_ccsds::Gvcid;
use fep_downlink::{
    Chain, ChainEvent, ChainOptions, Decoding, FrameOut, PacketOut, Reception, Sink, UndeclaredPackets,
};
use fep_mission::{ChannelConfig, Mission, UndeclaredApids};
use fep_record::BadReason;
use fep_time::{Monotonic, Tai};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::DecodeArgs;
use crate::failure::{Failure, output};
use crate::figures;
use crate::input::Input;
use crate::keys;
use crate::output_file::OutputFile;
use crate::refused::UndeclaredChannel;
use crate::report::{FrameCounts, Report, Tally, VcKey};
use crate::{signals, terminal};

/// The progress bar is redrawn this often at most.
const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// Runs the command.
pub(crate) fn run(args: &DecodeArgs) -> Result<(), Failure> {
    let mission = load_mission(&args.mission)?;
    let channel = choose_channel(&mission, args.channel.as_deref())?;
    let symbols = args.symbols.as_deref().map(keys::format).transpose();
    let options = ChainOptions {
        symbols: symbols.map_err(|why| Failure::usage(format!("--symbols: {why}")))?,
        explore: args.explore,
        decoding: Decoding { threads: usize::from(args.decode_threads), ..Decoding::default() },
        ..ChainOptions::default()
    };
    let mut chain = Chain::with_options(channel, options).map_err(|error| Failure::new(error.to_string()))?;
    let mut input = Input::open(&args.input)?;
    refuse_overwriting(args)?;
    signals::end_at_once()?;
    let mut sink = ReportSink {
        tally: Tally::new(args.json)
            .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?,
        frames: args.frames.as_deref().map(OutputFile::create).transpose()?,
        packets: args.packets.as_deref().map(OutputFile::create).transpose()?,
    };

    let progress = Progress::new(input.len);
    let started = Instant::now();
    let mut octets = 0u64;
    while input.next(|bytes| {
        chain.receive(&Reception::new(bytes, Tai(0)), Monotonic(0), &mut sink);
        octets += bytes.len() as u64;
    })? {
        sink.check_outputs()?;
        progress.at(octets, sink.tally.frames().received);
    }
    chain.disconnected(&mut sink);
    progress.clear();
    let mut report = sink.finish()?;
    let elapsed = started.elapsed();
    report.undeclared = Some(undeclared(channel, &chain));
    report.explored = explored(channel, &report);
    let mut out = terminal::out(args.json);
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        write_text(&mut out, &input.name, channel, &report, octets, elapsed)
    };
    written.and_then(|()| out.flush()).map_err(output)?;
    judge(&report, channel, &input.name, octets, args.explore)
}

/// Whether the report is what was hoped for: no frame refused, and at least one decoded.
fn judge(
    report: &Report,
    channel: &ChannelConfig,
    input: &str,
    octets: u64,
    explored: bool,
) -> Result<(), Failure> {
    let FrameCounts { received, good, corrected, .. } = report.frames;
    let refused = &report.refused;
    if received == 0 {
        return Err(Failure::refused(format!("no frame in {input} ({octets} octets)")).hint(format!(
            "is {} the right channel? Its marker is {}, its blocks are {} octets",
            channel.name,
            channel.soft_sync.as_ref().map_or(channel.sync.marker, |sync| sync.marker),
            channel.code.block_len()
        )));
    }
    if good + corrected == 0 {
        return Err(Failure::refused(format!("none of the {received} frames in {input} decoded"))
            .hint(format!("is {} the right channel? Its code is {}", channel.name, channel.code.name())));
    }
    if refused.frames == 0 {
        return Ok(());
    }
    let mut message = format!("{} of {} decoded frames were refused", refused.frames, good + corrected);
    let unknown = refused.named();
    if !unknown.is_empty() {
        message.push_str(&format!(": {} does not describe SCID/VCID {unknown}", channel.name));
    }
    let failure = Failure::refused(message);
    Err(if explored || unknown.is_empty() {
        failure.hint(
            "their headers or packet pointers do not fit the frames of this channel: the report lists why",
        )
    } else {
        failure.hint("name the right mission, add these channels to its file, or take them as they come with --explore")
    })
}

/// Packets that the mission does not name, by virtual channel.
fn undeclared(channel: &ChannelConfig, chain: &Chain) -> BTreeMap<VcKey, UndeclaredChannel> {
    let policy = |scid: u16| {
        let craft = channel.spacecraft.iter().find(|craft| craft.scid == scid);
        craft.map_or(UndeclaredApids::Accept, |craft| craft.undeclared_apids)
    };
    let of_channel = |(gvcid, packets): (Gvcid, &UndeclaredPackets)| {
        let counted = UndeclaredChannel {
            policy: policy(gvcid.scid),
            apids: packets.seen.iter().copied().collect(),
            other_apids: packets.others,
        };
        (VcKey { scid: gvcid.scid, vcid: gvcid.vcid }, counted)
    };
    chain.undeclared_packets().map(of_channel).collect()
}

/// Virtual channels of the report that the mission does not describe.
fn explored(channel: &ChannelConfig, report: &Report) -> Vec<VcKey> {
    let described = |key: &VcKey| channel.vcs.iter().any(|vc| (vc.scid, vc.id) == (key.scid, key.vcid));
    report.vcs.keys().filter(|key| !described(key)).copied().collect()
}

fn write_text(
    out: &mut impl Write,
    name: &str,
    channel: &ChannelConfig,
    report: &Report,
    octets: u64,
    elapsed: Duration,
) -> io::Result<()> {
    let rate = octets as f64 * 8.0 / elapsed.as_secs_f64().max(1e-9);
    writeln!(
        out,
        "Input        {name}, {} octets as {} in {:.2} s ({})\n",
        figures::grouped(octets),
        channel.name,
        elapsed.as_secs_f64(),
        figures::bit_rate(rate)
    )?;
    report.write_text(out)
}

/// A mission; all mistakes of its file are one failure.
pub(crate) fn load_mission(name_or_path: &str) -> Result<Mission, Failure> {
    fep_mission::load(name_or_path).map_err(|errors| Failure::new(errors.to_string()))
}

/// The named channel of a mission, or its only one.
pub(crate) fn choose_channel<'m>(
    mission: &'m Mission,
    name: Option<&str>,
) -> Result<&'m ChannelConfig, Failure> {
    let names = || mission.channels.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    match name {
        Some(name) => {
            // `mission/channel`, as reports write it, is understood too.
            let short = name.strip_prefix(&format!("{}/", mission.name)).unwrap_or(name);
            mission.channels.get(short).ok_or_else(|| {
                Failure::usage(format!("mission {} has no channel {name:?}", mission.name))
                    .hint(format!("its channels: {}", names()))
            })
        }
        None => {
            let mut channels = mission.channels.values();
            match (channels.next(), channels.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(Failure::usage(format!("mission {} has several channels: say which", mission.name))
                    .hint(format!("--channel with one of: {}", names()))),
            }
        }
    }
}

/// Writing a result over its own input, or two results to one file, would destroy data.
fn refuse_overwriting(args: &DecodeArgs) -> Result<(), Failure> {
    let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut taken = vec![place(&args.input)];
    for (option, path) in [("--frames", &args.frames), ("--packets", &args.packets)] {
        let Some(path) = path else { continue };
        if path == Path::new("-") {
            return Err(Failure::usage(format!(
                "{option} -: standard output carries the report; name a file"
            )));
        }
        let here = place(path);
        if taken.contains(&here) && path.is_file() || taken[1..].contains(&here) {
            return Err(Failure::usage(format!(
                "{option} {} is also the input or another output: choose another file",
                path.display()
            )));
        }
        taken.push(here);
    }
    Ok(())
}

/// Counts, and writes the wanted files.
struct ReportSink {
    tally: Tally,
    frames: Option<OutputFile>,
    packets: Option<OutputFile>,
}

impl ReportSink {
    fn check_outputs(&self) -> Result<(), Failure> {
        self.frames.iter().chain(&self.packets).try_for_each(OutputFile::check)
    }

    fn finish(self) -> Result<Report, Failure> {
        self.frames.into_iter().chain(self.packets).try_for_each(OutputFile::finish)?;
        Ok(self.tally.finish())
    }
}

impl Sink for ReportSink {
    fn frame(&mut self, frame: &FrameOut<'_>) {
        self.tally.frame(&frame.record, Some(frame.lost));
        if let Some(file) = &mut self.frames
            && !matches!(
                frame.record.reason,
                BadReason::Uncorrectable | BadReason::FecfFailed | BadReason::LengthInvalid
            )
        {
            file.write(frame.octets);
        }
    }

    fn packet(&mut self, packet: &PacketOut<'_>) {
        self.tally.packet(&packet.record, packet.octets);
        if let Some(file) = &mut self.packets {
            file.write(packet.octets);
        }
    }

    fn event(&mut self, _event: ChainEvent) {
        // Everything an event says is in the counts.
    }
}

/// A progress bar on standard error, if that is a terminal.
struct Progress {
    bar: ProgressBar,
    drawn: std::cell::Cell<Instant>,
}

impl Progress {
    fn new(len: Option<u64>) -> Progress {
        let bar = match len {
            _ if !io::stderr().is_terminal() => ProgressBar::hidden(),
            Some(len) => ProgressBar::new(len).with_style(style(
                "{wide_bar:.cyan/black} {percent:>3} %  {bytes}/{total_bytes}  {msg}  {eta} left",
            )),
            None => ProgressBar::new_spinner().with_style(style("{spinner:.cyan} {bytes}  {msg}  {elapsed}")),
        };
        Progress { bar, drawn: std::cell::Cell::new(Instant::now()) }
    }

    fn at(&self, octets: u64, frames: u64) {
        if self.bar.is_hidden() || self.drawn.get().elapsed() < REDRAW_EVERY {
            return;
        }
        self.drawn.set(Instant::now());
        let rate = octets as f64 * 8.0 / self.bar.elapsed().as_secs_f64().max(1e-9);
        self.bar.set_message(format!("{}  {} frames", figures::bit_rate(rate), figures::count(frames)));
        self.bar.set_position(octets);
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━╌")
}
