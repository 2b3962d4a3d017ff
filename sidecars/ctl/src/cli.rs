//! The command line: names, arguments and help texts. It holds no behaviour; `main` gives each command to its module.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// What the exit codes mean, shown under `fepctl --help` and kept true by `failure::Failure`.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it could not be done: bad input, a file or a ring that cannot be read, a request that was refused
  2  wrong usage of this command line
  3  the daemon does not answer on its control socket, or a service at its address
  4  decode: everything was read and reported, but frames were refused for their header, or no frame decoded

Examples:
  fepctl up                                   start everything on this workstation and watch it
  fepctl decode --mission npp pass.dat        decode a recorded pass, print a table
  fepctl decode --mission npp pass.dat --json | jq .frames
  fepctl ring tail npp.packets --apid 802     follow one APID live";

/// Operates the front-end processor: starts it, watches it, commands its links, reads its rings, decodes files.
#[derive(Debug, Parser)]
#[command(name = "fepctl", version, max_term_width = 110, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "parsed once")]
pub(crate) enum Command {
    /// Start the daemon and the simulated stations on this workstation, and watch them
    #[command(after_help = "Examples:
  fepctl up                                the built-in configuration: needs no file, works from any directory
  fepctl up --config site.toml --no-sim    your own configuration and your own stations
  fepctl up --no-monitor | tee fep.log     log lines instead of the terminal view

Ctrl-C (or q in the view) stops the stations, then the daemon, then the archive, in that order. Needs the `fepd` program
beside `fepctl`; starts `fep-recorder`, `fep-archive`, `fep-identity` and (where feeds are configured) `fep-feeds` as well where
they exist. Everything received is recorded then, as long as the disk has room: `--no-archive` records nothing.")]
    Up(UpArgs),

    /// Watch the running daemon: links, lock, rates, virtual channels, losses, consumers, core use
    #[command(after_help = "Examples:
  fepctl monitor                 the live view; press ? in it for the keys
  fepctl monitor --once          one plain text snapshot
  fepctl monitor --once --json   the same for scripts")]
    Monitor(MonitorArgs),

    /// Decode a recorded stream offline and report its frames, virtual channels and packets
    #[command(after_help = "The JSON object (--json) has
  frames      received = good + corrected + uncorrectable; idle frames are part of these
  vcs         per SCID/VCID, frames that decoded: count, counter gaps, frames lost in them
  apids       per SCID/VCID/APID: packets, octets, sequence gaps, SHA-256 over its packets in order of arrival
  refused     good and corrected frames that belong to no virtual channel of the mission: how many, by reason,
              and by the SCID/VCID that their headers name
  undeclared  packets with APIDs that the mission does not name, where its undeclared_apids is report or reject
  explored    with --explore: the virtual channels that the mission does not describe

Exit code 4: the report is complete, but frames were refused, or none decoded. Uncorrectable frames alone are none
of these: a pass has them.

Examples:
  fepctl decode --mission npp pass.dat
  fepctl decode --mission npp pass.dat --json --frames frames.bin --packets packets.bin
  zcat pass.dat.gz | fepctl decode --mission aqua -
  fepctl decode --mission npp --explore pass.dat    a satellite with the frames and code of npp's, whatever its SCID")]
    Decode(DecodeArgs),

    /// Encode a file of frames with the code of a channel: CADUs, or soft symbols in noise
    #[command(
        after_help = "INPUT holds transfer frames of the channel's length, one after the other (as `decode --frames` writes them).
Without --symbols the output is bits, eight an octet: CADUs, or the hard symbols of a code of symbols.

Examples:
  fepctl encode --mission npp frames.bin pass.dat
  fepctl encode -m lab -c turbo-1-6 frames.bin symbols.dat --symbols bits=8 --eb-n0 0.5
  fepctl decode -m lab -c turbo-1-6 symbols.dat --symbols bits=8
  fepctl encode -m hrit.toml --line-code nrz_m frames.bin pass.dat"
    )]
    Encode(EncodeArgs),

    /// Measure error rates of a code over Eb/N0 by simulation: table, CSV, JSON, plot
    #[command(
        after_help = "--code is NAME,key=value,... with the keys of mission files (config/missions/README.md):
  none,frame_len=1115                               reed_solomon,e=16,interleave=5
  convolutional,frame_len=1115,convolutional.rate=1/2
  concatenated,reed_solomon.e=16,reed_solomon.interleave=5,convolutional.rate=1/2
  turbo,information_bits=1784,rate=1/3              ldpc,k=1024,rate=1/2        ldpc,k=7136,rate=7/8

The same arguments give the same curve, whatever the number of threads.

Example:
  fepctl ber --code turbo,information_bits=1784,rate=1/3 --eb-n0 -0.5:1:0.25 --svg turbo.svg"
    )]
    Ber(BerArgs),

    /// List, show, enable, disable or reset station links of the running daemon
    #[command(subcommand)]
    Link(LinkCommand),

    /// List or show the spacecraft of the running daemon whose links are merged
    #[command(subcommand)]
    Spacecraft(SpacecraftCommand),

    /// Show what the running daemon says of itself
    #[command(after_help = "Example:
  fepctl status --json | jq '.links[].name'")]
    Status(ClientArgs),

    /// Make the running daemon read its configuration again; links whose configuration did not change run on
    #[command(
        after_help = "The daemon reads the file that it was started with, and the answer names it. --config and --socket only find the
control socket."
    )]
    Reload(ClientArgs),

    /// Stop the running daemon in order
    Stop(ClientArgs),

    /// Follow the events of every process
    #[command(after_help = "Examples:
  fepctl events --advice                            what happens from now on, and what to do about it
  fepctl events --since 1h --severity distress --until-idle 500
  fepctl events --spacecraft snpp --json | jq .")]
    Events(crate::events::EventsArgs),

    /// Look into the shared-memory rings: list, tail, dump, follow
    #[command(subcommand)]
    Ring(crate::ring::args::RingCommand),

    /// Check, show and explain configuration, offline
    #[command(subcommand)]
    Config(ConfigCommand),

    /// List the built-in missions
    Missions(JsonArgs),

    /// Run simulated stations: spacecraft, channel faults, pacing
    #[command(after_help = "Examples:
  fepctl sim                          every station of the built-in file, until Ctrl-C
  fepctl sim --list
  fepctl sim --stations lab.toml npp-station")]
    Sim(SimArgs),

    /// Print all metrics as Prometheus text
    #[command(after_help = "Asks the daemon; when it does not answer, reads the shared metric pages directly
(and says so on standard error), so that a dead daemon's last figures can be read.

Example:
  fepctl metrics | grep frames_total")]
    Metrics(MetricsArgs),

    /// List the real satellite captures found on this machine
    Captures(JsonArgs),

    /// The archive: query, fetch, replay, gaps, verify, SQL, keeping
    #[command(subcommand)]
    Archive(crate::archive::args::ArchiveCommand),

    /// Log in to the identity service; the password is read from the terminal or standard input
    #[command(
        after_help = "The ticket is kept in $XDG_RUNTIME_DIR/fep/session.json (or below $XDG_STATE_HOME, ~/.local/state) with mode
0600, for the commands that ask services. FEP_TICKET is taken as a ticket instead, and FEP_TOKEN as an API token.
A ticket is sent to sockets and addresses of this machine, and to other machines over TLS alone.

Examples:
  fepctl login --account anna
  fepctl login --account anna --server https://fep.example:8470 --ca /etc/fep/ca.pem"
    )]
    Login(crate::identity::LoginArgs),

    /// End the session of the last login
    Logout(crate::identity::Server),

    /// Show who one is for services, and what one may do
    Whoami(crate::identity::WhoArgs),

    /// API tokens of programs: new, list, revoke
    #[command(subcommand)]
    Token(crate::identity::TokenCommand),

    /// Local accounts: add, list, disable, password
    #[command(subcommand)]
    Account(crate::identity::AccountCommand),

    /// The audit trail of a service: list, verify, export
    #[command(
        after_help = "Of the identity service, or of any other one with --server ADDRESS; of the archive with
`fepctl archive audit`."
    )]
    #[command(subcommand)]
    Audit(crate::audit::AuditCommand<crate::identity::Server>),

    /// Print a completion script for a shell
    #[command(after_help = "Example:
  fepctl completions bash > ~/.local/share/bash-completion/completions/fepctl")]
    Completions {
        /// The shell to write for
        shell: clap_complete::Shell,
    },
}

/// How to find the running daemon.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// Control socket of the daemon [default: the configuration's]
    #[arg(long, value_name = "PATH", env = "FEP_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    /// Configuration file that names socket and rings [default: built in]
    #[arg(long, value_name = "FILE", env = "FEP_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Configuration of the daemon [default: built in]
    #[arg(long, value_name = "FILE", env = "FEP_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Stations to simulate [default: built in]
    #[arg(long, value_name = "FILE")]
    pub(crate) stations: Option<PathBuf>,
    /// Start no simulated station
    #[arg(long, conflicts_with = "stations")]
    pub(crate) no_sim: bool,
    /// Start no recorder, archive service, feeds or identity service
    #[arg(long)]
    pub(crate) no_archive: bool,
    /// Where the archive is kept [default: ~/.local/state/fep/archive]
    #[arg(long, value_name = "DIR", conflicts_with = "no_archive")]
    pub(crate) archive_dir: Option<PathBuf>,
    /// Configuration of recorder, archive and feeds [default: made for this workstation]
    #[arg(long, value_name = "FILE", env = "FEP_ARCHIVE_CONFIG", conflicts_with_all = ["no_archive", "archive_dir"])]
    pub(crate) archive_config: Option<PathBuf>,
    /// Show the terminal view even if standard output does not look like a terminal
    #[arg(long, overrides_with = "no_monitor")]
    pub(crate) monitor: bool,
    /// Print log lines instead of the terminal view
    #[arg(long, overrides_with = "monitor")]
    pub(crate) no_monitor: bool,
    /// Stop by itself after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) run_for: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct MonitorArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print one snapshot and leave
    #[arg(long)]
    pub(crate) once: bool,
    /// Print JSON, one object a line (one line only with --once)
    #[arg(long)]
    pub(crate) json: bool,
    /// Time between two samples
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    pub(crate) interval_ms: u64,
}

#[derive(Debug, Args)]
pub(crate) struct DecodeArgs {
    /// A built-in mission (`fepctl missions`) or a mission file
    #[arg(long, short, value_name = "NAME-OR-FILE")]
    pub(crate) mission: String,
    /// The physical channel of the mission [needed only if it has several]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) channel: Option<String>,
    /// The recorded stream; `-` reads standard input
    #[arg(value_name = "INPUT")]
    pub(crate) input: PathBuf,
    /// Take spacecraft and virtual channels that the mission does not describe as they come
    #[arg(long)]
    pub(crate) explore: bool,
    /// Print one JSON object, with SHA-256 per APID
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the decoded frames, one after the other (uncorrectable ones are left out)
    #[arg(long, value_name = "OUT")]
    pub(crate) frames: Option<PathBuf>,
    /// Write the packets, one after the other, in order of arrival
    #[arg(long, value_name = "OUT")]
    pub(crate) packets: Option<PathBuf>,
    /// The stream is soft symbols of this format: bits=32|16|8|4|1 and the other keys of `symbols`, key=value,...
    /// [default: bits]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) symbols: Option<String>,
    /// Threads that decode blocks of soft symbols; 0 for none besides this one
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=64))]
    pub(crate) decode_threads: u8,
}

#[derive(Debug, Args)]
pub(crate) struct EncodeArgs {
    /// A built-in mission (`fepctl missions`) or a mission file
    #[arg(long, short, value_name = "NAME-OR-FILE")]
    pub(crate) mission: String,
    /// The physical channel of the mission [needed only if it has several]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) channel: Option<String>,
    /// Frames, one after the other
    #[arg(value_name = "INPUT")]
    pub(crate) input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUTPUT")]
    pub(crate) output: PathBuf,
    /// Write soft symbols of this format: bits=32|16|8|4|1 and the other keys of `symbols`, key=value,...
    #[arg(long, value_name = "FORMAT")]
    pub(crate) symbols: Option<String>,
    /// Bits as levels or as changes of level: nrz_l, nrz_m or nrz_s [default: the channel's line_code]
    #[arg(long, value_name = "CODE")]
    pub(crate) line_code: Option<fep_coding::differential::LineCode>,
    /// Eb/N0 of Gaussian noise, dB [default: no noise]
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    pub(crate) eb_n0: Option<f64>,
    /// Symbols in pairs, as of QPSK
    #[arg(long)]
    pub(crate) qpsk: bool,
    /// Seed of the noise
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct BerArgs {
    /// The code: NAME,key=value,...
    #[arg(long, value_name = "CODE")]
    pub(crate) code: String,
    /// Eb/N0 in dB: one value, or FROM:TO:STEP
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    pub(crate) eb_n0: crate::ber::EbN0Range,
    /// Format to which the receiver quantises [default: bits=8]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) symbols: Option<String>,
    /// Wrong frames after which a point ends
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) errors: u64,
    /// Frames after which a point ends in any case
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) frames: u64,
    /// Seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Threads [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Write the curve as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write a plot beside the curve of uncoded BPSK
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Draw this curve too: lines of `Eb/N0 in dB, rate`
    #[arg(long, value_name = "CSV", requires = "svg")]
    pub(crate) reference: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LinkCommand {
    /// One line for each link
    List(ClientArgs),
    /// One link: its state, what was counted, virtual channels, latency
    Show {
        #[command(flatten)]
        link: LinkArgs,
        /// Show counters that are 0, too (JSON always has all)
        #[arg(long)]
        all: bool,
    },
    /// Let a link receive
    Enable(LinkArgs),
    /// Stop a link: its connection is closed until it is enabled again
    Disable(LinkArgs),
    /// Begin again on the same connection: forget synchronisation, frame counters and packets begun; sequence numbers go on
    Reset(LinkArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SpacecraftCommand {
    /// One line for each antenna: received = served + duplicates + late + bad + pending
    List(ClientArgs),
    /// Everything about one spacecraft: its antennas, virtual channels, CLCWs
    Show {
        /// Name of the spacecraft, as in the configuration (`fepctl spacecraft list`)
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Let the frames of its links be merged
    Enable(SpacecraftArgs),
    /// Stop the merge; its links go on
    Disable(SpacecraftArgs),
    /// Begin the merge again: forget frame counters and packets begun; sequence numbers go on
    Reset(SpacecraftArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SpacecraftArgs {
    /// Name of the spacecraft, as in the configuration (`fepctl spacecraft list`)
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// Name of the link, as in the configuration (`fepctl link list`)
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a file: every error with its line, its key and what is allowed; exit code 1 if there is one
    #[command(
        after_help = "The file is a configuration of the daemon, a mission, a file of simulated stations, the file of recorder, archive
and feeds, or that of fep-identity; its tables say which, and the answer says as what it was read. The last two are
checked by the programs that read them (PROGRAM --config FILE --check), beside fepctl or on the search path.

Examples:
  fepctl config check /etc/fep/fep.toml && systemctl reload fepd
  fepctl config check my-satellite.toml"
    )]
    Check {
        /// The file to check [default: the built-in configuration]
        file: Option<PathBuf>,
        /// Read it as this, whatever it looks like
        #[arg(long, value_enum)]
        kind: Option<ConfigKind>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the effective configuration, defaults with a file's changes over them, as a configuration file; with --json as
    /// the daemon reads it, missions and channels resolved
    Show {
        /// The file to lay over the defaults
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Explain a key: what it does, its default, what is allowed
    #[command(after_help = "Examples:
  fepctl config explain link.wait
  fepctl config explain links.npp.transport.bind
  fepctl config explain spacecraft.leo
  fepctl config explain channel.hrd.frame")]
    Explain {
        /// The key with dots, of the daemon's file or of a mission, or a part of it
        key: String,
    },
}

/// Kinds of configuration files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigKind {
    /// A configuration of the daemon
    Daemon,
    /// A mission: spacecraft, channels, virtual channels
    Mission,
    /// Simulated stations
    Stations,
    /// Recorder, archive and feeds: each checks the sections that it reads
    Archive,
    /// The identity service
    Identity,
}

#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// Stations file [default: built in]
    #[arg(long, value_name = "FILE")]
    pub(crate) stations: Option<PathBuf>,
    /// Only these stations
    #[arg(value_name = "STATION")]
    pub(crate) names: Vec<String>,
    /// Only list the stations
    #[arg(long)]
    pub(crate) list: bool,
    /// Print reports as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Time between two reports
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=3_600_000))]
    pub(crate) interval_ms: u64,
    /// Stop by itself after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) run_for: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct MetricsArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Directory of everything the daemon shares, for when it is down: the pages are in its bus/metrics [default: the
    /// configuration's daemon.run_dir]
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
}
