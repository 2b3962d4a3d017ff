//! `fepctl encode`: frames to what a station would deliver of them: CADUs, or soft symbols in noise.

use std::fs::File;
use std::io::{BufReader, Read};

use fep_coding::soft::SoftFormat;
use fep_coding::spec::ChannelEncoder;
use fep_sim::{Modulation, SymbolChannel, SymbolSpec};

use crate::cli::EncodeArgs;
use crate::decode::{choose_channel, load_mission};
use crate::failure::Failure;
use crate::keys;
use crate::output_file::OutputFile;
use crate::signals;
use crate::terminal::say;

/// Runs the command.
pub(crate) fn run(args: &EncodeArgs) -> Result<(), Failure> {
    let mission = load_mission(&args.mission)?;
    let channel = choose_channel(&mission, args.channel.as_deref())?;
    let format = match &args.symbols {
        Some(text) => keys::format(text).map_err(|why| Failure::usage(format!("--symbols {text}: {why}")))?,
        None => SoftFormat::HARD,
    };
    let spec = SymbolSpec {
        modulation: if args.qpsk { Modulation::Qpsk } else { Modulation::Bpsk },
        eb_n0_db: args.eb_n0,
        ..SymbolSpec::clear(format)
    };
    // Of codes that are searched among symbols the marker stands there; of others among bits.
    let marker = channel.soft_sync.as_ref().map_or(channel.sync.marker, |sync| sync.marker);
    let line_code = args.line_code.unwrap_or(channel.line_code);
    let mut encoder = ChannelEncoder::new(&channel.code, marker, channel.randomizer)
        .map_err(|error| Failure::new(error.to_string()))?
        .with_line_code(line_code)
        .map_err(|error| Failure::usage(format!("--line-code {line_code}: {error}")))?;
    let mut radio = SymbolChannel::new(spec, channel.code.rate(), args.seed)
        .map_err(|error| Failure::usage(error.to_string()))?;

    let place = |path: &std::path::Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if args.output.is_file() && place(&args.input) == place(&args.output) {
        return Err(Failure::usage(format!(
            "{} is also the input: choose another file",
            args.output.display()
        )));
    }
    let input = File::open(&args.input).map_err(|error| Failure::file("open", &args.input, &error))?;
    let mut input = BufReader::with_capacity(1 << 20, input);
    signals::end_at_once()?;
    let mut output = OutputFile::create(&args.output)?;

    let frame_len = channel.code.frame_len();
    let mut frame = Vec::with_capacity(frame_len);
    let (mut symbols, mut octets, mut frames) = (Vec::new(), Vec::new(), 0u64);
    loop {
        frame.clear();
        let read = input.by_ref().take(frame_len as u64).read_to_end(&mut frame);
        read.map_err(|error| Failure::file("read", &args.input, &error))?;
        if frame.is_empty() {
            break;
        }
        if frame.len() < frame_len {
            return Err(Failure::new(format!(
                "{}: {} octets behind frame {frames} are no whole frame of {frame_len}",
                args.input.display(),
                frame.len()
            )));
        }
        frames += 1;
        encoder.encode(&frame, &mut symbols);
        radio.push(&symbols, &mut octets);
        symbols.clear();
        output.write(&octets);
        output.check()?;
        octets.clear();
    }
    encoder.finish(&mut symbols);
    if !symbols.is_empty() {
        radio.push(&symbols, &mut octets);
    }
    radio.finish(&mut octets);
    output.write(&octets);
    output.finish()?;
    say!(
        "{frames} frames of {frame_len} octets as {}, {} symbols, {} of them wrong by noise",
        channel.name,
        radio.counts().symbols,
        radio.counts().wrong
    );
    Ok(())
}
