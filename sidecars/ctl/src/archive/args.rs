//! Arguments of `fepctl archive`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::deciding::{ApproveArgs, DeclineArgs};
use super::deleting::{DeleteArgs, DeletionsArgs, SegmentsArgs};
use super::holding::{HoldArgs, HoldsArgs, ReleaseArgs, ReleasesArgs};
use crate::audit::AuditCommand;
use crate::service::TlsArgs;

/// How to find the archive service.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// The service: unix:PATH, https://HOST:PORT, or http:// on this machine [default: the socket archive.sock in the
    /// configuration's daemon.run_dir]
    #[arg(long, value_name = "ADDRESS", env = "FEP_ARCHIVE")]
    pub(crate) archive: Option<String>,
    /// Configuration of the daemon, which names the directory of sockets [default: built in]
    #[arg(long, value_name = "FILE", env = "FEP_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// File with an API token or a ticket [default: FEP_TICKET, FEP_TOKEN, the last `fepctl login`]
    #[arg(long, value_name = "FILE", env = "FEP_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// What the archive holds, in all
    Status(PlainArgs),
    /// List frames or packets: who, when, how good
    #[command(after_help = "Examples:
  fepctl archive query packets --last 10m --scid 157 --apid 800-810
  fepctl archive query frames --from 2024-12-06T17:38:00Z --to 2024-12-06T17:50:00Z --quality bad --json")]
    Query(QueryArgs),
    /// Fetch frames or packets into a file, with a manifest beside it; a broken fetch is resumed
    #[command(
        after_help = "Writes FILE and FILE.manifest.json (SHA-256, counts, the query, how to read it), and checks that FILE is what
the manifest says. While it runs the file is called FILE.part; started again, it goes on where it was.

Examples:
  fepctl archive get packets --last 1h --scid 157 --format packets --out pass.pkt
  fepctl archive get frames --from 2024-12-06 --to 2024-12-07 --format pcapng --out day.pcapng
  fepctl archive get packets --apid 800 --format parquet --out apid800.parquet"
    )]
    Get(GetArgs),
    /// Play a slice of the archive again, and command replays that play
    #[command(subcommand)]
    Replay(ReplayCommand),
    /// What is missing, and what is done about it
    #[command(subcommand)]
    Gaps(GapsCommand),
    /// How much came of each channel in a span of time, as of a contact, and when nothing did
    #[command(after_help = "Examples:
  fepctl archive completeness --last 1h
  fepctl archive completeness --scid 157 --from 2024-12-06T17:38:15Z --to 2024-12-06T17:50:00Z")]
    Completeness(CompletenessArgs),
    /// Verify an archive directory offline: every segment, the chain over them, the signed days
    #[command(after_help = "Needs no service and no catalogue. Exit code 1 when anything is wrong.

Example:
  fepctl archive verify /var/lib/fep/archive/segments --public-key fep.pub")]
    Verify(VerifyArgs),
    /// Have the service check its segments against their hashes
    Scrub(PlainArgs),
    /// Query frames and packets with SQL
    #[command(after_help = "The tables are frames and packets; `DESCRIBE frames` lists the columns.

Examples:
  fepctl archive sql 'SELECT scid, vcid, count(*) FROM frames GROUP BY scid, vcid ORDER BY 3 DESC'
  fepctl archive sql 'SELECT * FROM packets WHERE apid = 800 ORDER BY rx_tai_ns LIMIT 10' --json")]
    Sql(SqlArgs),
    /// List segments: what is recorded, and what the rules of keeping do not keep any longer
    #[command(after_help = "Examples:
  fepctl archive segments --last 1d
  fepctl archive segments --due        what may be deleted by the rules; nothing is deleted by itself")]
    Segments(SegmentsArgs),
    /// Hold data against deletion, whoever asks for it
    #[command(
        after_help = "It holds at once, also against deletions that are approved already. Lifting it takes two persons:
`fepctl archive release`.

Examples:
  fepctl archive hold --scid 157 --reason 'inquiry 7'
  fepctl archive hold --from 2024-12-06 --to 2024-12-07 --reason 'anomaly of the day'
  fepctl archive hold --everything --reason 'order of the court'"
    )]
    Hold(HoldArgs),
    /// List the holds
    Holds(HoldsArgs),
    /// Ask for the lifting of a hold; another person approves it
    #[command(after_help = "Example:
  fepctl archive release hold-3 --reason 'inquiry 7 is closed'")]
    Release(ReleaseArgs),
    /// List what was asked for to lift holds, or show one with all that an approver looks at
    Releases(ReleasesArgs),
    /// Ask for the deletion of segments; another person approves it
    #[command(
        after_help = "Nothing is deleted before somebody else has approved, and nothing that a hold covers.
`fepctl archive segments` lists names.

Examples:
  fepctl archive delete black/npp.frames/0000000000000001-0000000000000000 --reason 'test data'
  fepctl archive delete --due --reason 'kept long enough'"
    )]
    Delete(DeleteArgs),
    /// List deletions, or show one with all that an approver looks at
    Deletions(DeletionsArgs),
    /// Approve a deletion or the lifting of a hold that another person asked for
    #[command(
        after_help = "Shows what is approved, asks, and sends the SHA-256 of what was shown: if that is not what the order is for,
nothing is approved. Scripts give --yes and the SHA-256 that somebody looked at.

Examples:
  fepctl archive approve deletion-4
  fepctl archive approve deletion-4 --yes --sha256 4f1c…"
    )]
    Approve(ApproveArgs),
    /// Refuse a deletion or the lifting of a hold
    Refuse(DeclineArgs),
    /// Withdraw what you asked for yourself
    Withdraw(DeclineArgs),
    /// The audit trail of the archive: list, verify, export
    #[command(subcommand)]
    Audit(AuditCommand<Target>),
    /// Have the service copy the archive to one of its places for backups
    Backup(BackupArgs),
    /// Put an archive together again from a backup, into the (empty) places of a configuration
    #[command(after_help = "Runs the fep-archive program; no service may be running on that configuration.

Example:
  fepctl archive restore file:///backup/fep --config /etc/fep/archive.toml")]
    Restore(RestoreArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PlainArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Frames or packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnitName {
    /// Transfer frames
    Frames,
    /// Packets
    Packets,
}

/// Which units; the same words as the parameters of the service.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Selection {
    /// Received at or after: UTC as 2024-12-06T17:38:15Z, 2024-341T17:38:15Z or 2024-12-06
    #[arg(long, value_name = "TIME", conflicts_with = "last")]
    pub(crate) from: Option<String>,
    /// Received before
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Received in the last so many seconds (s), minutes (m), hours (h) or days (d), as 10m
    #[arg(long, value_name = "TIME")]
    pub(crate) last: Option<String>,
    /// Packets stamped on board at or after
    #[arg(long, value_name = "TIME")]
    pub(crate) onboard_from: Option<String>,
    /// Packets stamped on board before
    #[arg(long, value_name = "TIME")]
    pub(crate) onboard_to: Option<String>,
    /// Spacecraft: numbers and ranges, as 1,5,10-20
    #[arg(long, value_name = "SCIDS")]
    pub(crate) scid: Option<String>,
    /// Virtual channels
    #[arg(long, value_name = "VCIDS")]
    pub(crate) vcid: Option<String>,
    /// Application processes of packets
    #[arg(long, value_name = "APIDS")]
    pub(crate) apid: Option<String>,
    /// Station links, by the number in records
    #[arg(long, value_name = "LINKS")]
    pub(crate) link: Option<String>,
    /// Rings that the data came by, as npp.frames
    #[arg(long, value_name = "RINGS")]
    pub(crate) ring: Option<String>,
    /// black or red
    #[arg(long)]
    pub(crate) colour: Option<String>,
    /// ops, test, replay, or several after commas [default: ops]
    #[arg(long)]
    pub(crate) session: Option<String>,
    /// PUS service types of packets
    #[arg(long, value_name = "TYPES")]
    pub(crate) pus_type: Option<String>,
    /// PUS message subtypes of packets
    #[arg(long, value_name = "SUBTYPES")]
    pub(crate) pus_subtype: Option<String>,
    /// good, clean, corrected, bad or any [default: good]
    #[arg(long)]
    pub(crate) quality: Option<String>,
    /// Idle data: yes, no or only [default: yes]
    #[arg(long)]
    pub(crate) idle: Option<String>,
    /// Every copy that the antennas received, not each unit once
    #[arg(long)]
    pub(crate) every_copy: bool,
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// What to list
    pub(crate) unit: UnitName,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print one JSON object a line, with all columns
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// What to fetch
    pub(crate) unit: UnitName,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Of frames: frames, cadu, pcapng, parquet, csv, jsonl; of packets: packets, pcapng, parquet, csv, jsonl
    #[arg(long)]
    pub(crate) format: String,
    /// With csv and jsonl: the octets as hexadecimal
    #[arg(long)]
    pub(crate) octets: bool,
    /// At most so many units
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Write over FILE
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "parsed once")]
pub(crate) enum ReplayCommand {
    /// Start a replay; everything it sends is marked REPLAY
    #[command(after_help = "Examples:
  fepctl archive replay start pass-7 frames --last 1h --to-tcp 127.0.0.1:10015
  fepctl archive replay start pass-8 packets --from 2024-12-06 --to 2024-12-07 --to-udp 127.0.0.1:10016 --raw --speed 10")]
    Start(ReplayStartArgs),
    /// One line for each replay
    List(PlainArgs),
    /// Hold
    Pause(ReplayArgs),
    /// Go on
    Resume(ReplayArgs),
    /// Let so many more records go, and hold
    Step {
        #[command(flatten)]
        replay: ReplayArgs,
        /// Records
        #[arg(long, default_value_t = 1)]
        records: u32,
    },
    /// Go on at another speed: 0.1 to 1000 times the original, or `fastest`
    Speed {
        #[command(flatten)]
        replay: ReplayArgs,
        /// How fast
        #[arg(long)]
        speed: String,
    },
    /// Go on with the first record received at a time or later
    Seek {
        #[command(flatten)]
        replay: ReplayArgs,
        /// The time, in UTC
        #[arg(long)]
        time: String,
    },
    /// Begin again at the end (or, with --off, no longer)
    Loop {
        #[command(flatten)]
        replay: ReplayArgs,
        /// No longer
        #[arg(long)]
        off: bool,
    },
    /// End a replay
    Stop(ReplayArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Name of the replay
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayStartArgs {
    /// A name for it: 1 to 15 of a-z 0-9 - _ .
    pub(crate) name: String,
    /// What to play
    pub(crate) unit: UnitName,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Connect to a receiver
    #[arg(long, value_name = "IP:PORT", group = "receiver")]
    pub(crate) to_tcp: Option<String>,
    /// Wait for a receiver to connect
    #[arg(long, value_name = "IP:PORT", group = "receiver")]
    pub(crate) listen: Option<String>,
    /// Send datagrams
    #[arg(long, value_name = "IP:PORT", group = "receiver")]
    pub(crate) to_udp: Option<String>,
    /// Make a ring of its own, which waits for these consumers
    #[arg(long, value_name = "CONSUMERS", group = "receiver")]
    pub(crate) to_ring: Option<String>,
    /// Payloads alone instead of framed messages: they cannot say that they are replayed, so the service has to have the
    /// address among its replay.raw_targets
    #[arg(long)]
    pub(crate) raw: bool,
    /// 0.1 to 1000 times the original, or `fastest`
    #[arg(long, default_value = "1")]
    pub(crate) speed: String,
    /// Begin again at the end
    #[arg(long = "loop")]
    pub(crate) looping: bool,
    /// Wait for `resume` or `step` before the first record
    #[arg(long)]
    pub(crate) paused: bool,
    /// Cut silences down to so many milliseconds
    #[arg(long, value_name = "MS")]
    pub(crate) idle_max_ms: Option<u32>,
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GapsCommand {
    /// List gaps
    #[command(after_help = "Examples:
  fepctl archive gaps list --last 1d
  fepctl archive gaps list --state open --scid 157")]
    List(GapListArgs),
    /// One gap, with its history
    Show {
        /// Its name
        id: String,
        #[command(flatten)]
        plain: PlainArgs,
    },
    /// Say what is done about a gap: requested, unrecoverable, accepted, open, filled
    Set {
        /// Its name
        id: String,
        /// The new state
        state: String,
        /// Why, or under which order
        #[arg(long, default_value = "")]
        note: String,
        #[command(flatten)]
        plain: PlainArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct GapListArgs {
    /// Gaps that end at or after
    #[arg(long, value_name = "TIME", conflicts_with = "last")]
    pub(crate) from: Option<String>,
    /// Gaps that begin before
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Gaps of the last so many seconds (s), minutes (m), hours (h) or days (d), as 10m
    #[arg(long, value_name = "TIME")]
    pub(crate) last: Option<String>,
    /// Spacecraft
    #[arg(long)]
    pub(crate) scid: Option<u16>,
    /// Virtual channel
    #[arg(long)]
    pub(crate) vcid: Option<u8>,
    /// Application process
    #[arg(long)]
    pub(crate) apid: Option<u16>,
    /// Station link
    #[arg(long)]
    pub(crate) link: Option<u16>,
    /// ops, test or replay
    #[arg(long)]
    pub(crate) session: Option<String>,
    /// open, requested, filled, unrecoverable or accepted
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// At most so many
    #[arg(long)]
    pub(crate) limit: Option<u32>,
    #[command(flatten)]
    pub(crate) plain: PlainArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CompletenessArgs {
    /// Spacecraft: numbers and ranges, as 1,5,10-20 [default: all that the archive knows]
    #[arg(long, value_name = "SCIDS")]
    pub(crate) scid: Option<String>,
    /// Where the span begins, as acquisition of signal [needed without --last]
    #[arg(long, value_name = "TIME", conflicts_with = "last")]
    pub(crate) from: Option<String>,
    /// Where it ends, as loss of signal [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// The last so many seconds (s), minutes (m), hours (h) or days (d), as 10m
    #[arg(long, value_name = "TIME", conflicts_with = "to")]
    pub(crate) last: Option<String>,
    /// Only what this link received
    #[arg(long)]
    pub(crate) link: Option<u16>,
    /// ops, test or replay
    #[arg(long, default_value = "ops")]
    pub(crate) session: String,
    /// Packets by application process, instead of frames by virtual channel
    #[arg(long)]
    pub(crate) packets: bool,
    #[command(flatten)]
    pub(crate) plain: PlainArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Directory of the segments
    pub(crate) directory: PathBuf,
    /// File with the public key of the daily roots, 64 hexadecimal digits [default: the key that each root names: "unpinned"]
    #[arg(long, visible_alias = "key", value_name = "FILE")]
    pub(crate) public_key: Option<PathBuf>,
    /// File with the public key of the records of removal [default: the key that each names: "unpinned"]
    #[arg(long, value_name = "FILE")]
    pub(crate) removal_key: Option<PathBuf>,
    /// Copy of roots/head.json that was kept elsewhere: shows that no newest day or segment is missing
    #[arg(long, value_name = "FILE")]
    pub(crate) head: Option<PathBuf>,
    /// How many days are signed at least, where no head was kept
    #[arg(long, value_name = "NUMBER")]
    pub(crate) days: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// The query
    pub(crate) sql: String,
    /// At most so many rows [default: the service's limit]
    #[arg(long)]
    pub(crate) rows_max: Option<u64>,
    /// At most so many seconds [default: the service's limit]
    #[arg(long)]
    pub(crate) timeout_s: Option<u64>,
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// One of the places of `retention.backups` [default: the first]
    pub(crate) place: Option<String>,
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup: file://PATH or s3://BUCKET/PREFIX
    pub(crate) place: String,
    /// Configuration of the archive [default: built in]
    #[arg(long, value_name = "FILE", env = "FEP_ARCHIVE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}
