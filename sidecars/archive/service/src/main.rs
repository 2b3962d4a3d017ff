//! `fep-archive`: the archive service. See `docs/archive.md`.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use fep_archive::config::DEFAULT_TOML;
use fep_archive::process::{self, Prepared};
use fep_kit::Document;
use fep_process::{Process, Service};

#[derive(Args)]
struct Arguments {
    /// Put the archive together again from a backup, into the (empty) places of the configuration, and end
    #[arg(long, value_name = "URL", conflicts_with = "check")]
    restore_from: Option<String>,
}

struct ArchiveService {
    prepared: Prepared,
    restore_from: Option<String>,
}

impl Service for ArchiveService {
    const NAME: &'static str = "fep-archive";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str =
        "Indexes what the recorder writes, and serves it: retrieval, exports, SQL, replay, gaps, keeping";
    const DEFAULTS: &'static str = DEFAULT_TOML;
    type Arguments = Arguments;
    const CONFIG_VARIABLE: Option<&'static str> = Some("FEP_ARCHIVE_CONFIG");

    fn prepare(document: &Document, arguments: Arguments) -> Result<ArchiveService, String> {
        let prepared = Prepared::read(document).map_err(|errors| errors.to_string())?;
        Ok(ArchiveService { prepared, restore_from: arguments.restore_from })
    }

    fn read_from(&mut self, file: &Path) {
        self.prepared.config.file = Some(file.to_owned());
    }

    fn log(&self) -> &str {
        &self.prepared.config.archive.log
    }

    fn run(self, process: &Process) -> Result<(), String> {
        let Some(from) = &self.restore_from else { return process::run(self.prepared, process) };
        let mut reported = 0;
        let restored = process::restore(&self.prepared.config, from, &mut |report| {
            if report.objects >= reported + 100 {
                reported = report.objects;
                eprintln!("{} objects, {} octets", report.objects, report.octets);
            }
        })?;
        println!(
            "restored {} objects, {} octets, {} rows of the catalogue; {} orders that were open are refused",
            restored.objects, restored.octets, restored.rows, restored.orders_refused
        );
        Ok(())
    }
}

fn main() -> ExitCode {
    fep_process::main::<ArchiveService>()
}
