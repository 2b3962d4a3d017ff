//! `fep-feeds`: frames and packets to other systems. See `docs/feeds.md`.

use std::process::ExitCode;

use fep_feeds::FeedsConfig;
use fep_kit::Document;
use fep_process::{NoArguments, Process, Service};

struct Feeds {
    document: Document,
    config: FeedsConfig,
}

impl Service for Feeds {
    const NAME: &'static str = "fep-feeds";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = "Gives frames and packets to other systems, each client with its own filter and its own lossless cursor";
    const DEFAULTS: &'static str = "";
    type Arguments = NoArguments;

    fn prepare(document: &Document, _: NoArguments) -> Result<Feeds, String> {
        let config = FeedsConfig::read(document).map_err(|errors| errors.to_string())?;
        Ok(Feeds { document: document.clone(), config })
    }

    fn log(&self) -> &str {
        &self.config.archive.log
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!("{} feeds", self.config.feeds.len())];
        notes.extend(self.config.notes());
        notes
    }

    fn run(self, process: &Process) -> Result<(), String> {
        fep_feeds::run(&self.document, process)
    }
}

fn main() -> ExitCode {
    fep_process::main::<Feeds>()
}
