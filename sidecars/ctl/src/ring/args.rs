//! Arguments of `fepctl ring`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Where the rings are.
#[derive(Debug, Clone, Args)]
pub(crate) struct RingPlace {
    /// Directory of the rings [default: the configuration's]
    #[arg(long, value_name = "DIR", env = "FEP_RINGS")]
    pub(crate) directory: Option<PathBuf>,
    /// Configuration file that names it [default: built in]
    #[arg(long, value_name = "FILE", env = "FEP_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

/// One ring.
#[derive(Debug, Clone, Args)]
pub(crate) struct RingSource {
    /// Name of the ring (`fepctl ring list`)
    pub(crate) ring: String,
    #[command(flatten)]
    pub(crate) place: RingPlace,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RingCommand {
    /// One line for each ring and each of its consumers
    List {
        #[command(flatten)]
        place: RingPlace,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print records as they arrive: frame and packet headers, flags, receive time in UTC
    #[command(after_help = "Examples:
  fepctl ring tail npp.frames --bad          only frames that did not decode, with the reason
  fepctl ring tail npp.packets --apid 802 --count 10
  fepctl ring tail events --oldest --json | jq .")]
    Tail(TailArgs),
    /// Write payloads to a file, one after the other
    #[command(after_help = "Example:
  fepctl ring dump npp.packets --apid 802 --count 1000 --out apid802.bin")]
    Dump(DumpArgs),
    /// Consume a ring to an account of what it held: counts, hashes, losses
    #[command(
        after_help = "A real consumer with a cursor of its own: killed and started again under the same --name it goes on where
it was. It survives restarts of the daemon. It ends at --count records, after --until-idle, or on Ctrl-C, and then
prints the same object as `fepctl decode --json`, without undeclared and explored, which records do not say, plus
  ledger   published = consumed + lost_records, as this consumer saw it; lost_bytes

Example:
  fepctl ring follow npp.packets --name check --until-idle 2000 --json"
    )]
    Follow(FollowArgs),
}

/// Which records are wanted. All given conditions must hold.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Filter {
    /// Only this spacecraft
    #[arg(long, value_name = "SCID")]
    pub(crate) scid: Option<u16>,
    /// Only this virtual channel
    #[arg(long, value_name = "VCID")]
    pub(crate) vcid: Option<u8>,
    /// Only packets of this application process
    #[arg(long, value_name = "APID")]
    pub(crate) apid: Option<u16>,
    /// Only frames that did not decode or were refused
    #[arg(long)]
    pub(crate) bad: bool,
    /// Only this kind of record
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
}

/// Kinds of records in the rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Transfer frames
    Frame,
    /// Packets
    Packet,
    /// Events, as JSON text
    Event,
}

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    pub(crate) source: RingSource,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Begin with the oldest record still held instead of the next one
    #[arg(long)]
    pub(crate) oldest: bool,
    /// Leave after so many printed records
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Leave when nothing arrived for so many milliseconds
    #[arg(long, value_name = "MS")]
    pub(crate) until_idle: Option<u64>,
    /// Show the first octets of each payload
    #[arg(long, value_name = "OCTETS", num_args = 0..=1, default_missing_value = "32")]
    pub(crate) hex: Option<usize>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    #[command(flatten)]
    pub(crate) source: RingSource,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// The file to write; `-` writes to standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Begin with the next record instead of the oldest one still held
    #[arg(long)]
    pub(crate) latest: bool,
    /// Leave after so many written records
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Leave when nothing arrived for so many milliseconds [default: 1000 without --count]
    #[arg(long, value_name = "MS")]
    pub(crate) until_idle: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct FollowArgs {
    #[command(flatten)]
    pub(crate) source: RingSource,
    /// Name of this consumer: one cursor file for each name
    #[arg(long, value_name = "CONSUMER", default_value = "fepctl")]
    pub(crate) name: String,
    /// Begin with the next record instead of the oldest one still held (a cursor of this name comes first)
    #[arg(long)]
    pub(crate) latest: bool,
    /// Forget the cursor of this name
    #[arg(long)]
    pub(crate) fresh: bool,
    /// End when nothing arrived for so many milliseconds
    #[arg(long, value_name = "MS")]
    pub(crate) until_idle: Option<u64>,
    /// End after so many records
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Wait so long for the ring to appear
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub(crate) wait_ms: u64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
