//! Spacecraft that several links receive: the job of their threads, and what is shown of them.

mod antenna;
mod job;
mod recall;

use fep_time::Monotonic;

pub(crate) use job::SpacecraftJob;

use crate::supervised::{Supervised, session_name};
use fep_control::api::{AntennaStatus, SpacecraftLedgers, SpacecraftStatus};
use fep_control::config::SpacecraftConfig;

/// A spacecraft as the control thread sees it.
pub(crate) type Spacecraft = Supervised<SpacecraftJob>;

impl Supervised<SpacecraftJob> {
    fn config(&self) -> &SpacecraftConfig {
        &self.role.job().config
    }

    pub(crate) fn status(&self, now: Monotonic) -> SpacecraftStatus {
        let reading = self.reading();
        let config = self.config();
        SpacecraftStatus {
            name: config.name.clone(),
            id: config.id,
            channel: config.channel.name.clone(),
            spacecraft: config.channel.spacecraft_names(),
            session: session_name(config.session).to_owned(),
            enabled: self.role.is_wanted(),
            state: self.state("running").to_owned(),
            failure: self.role.failure().map(str::to_owned),
            retry_ms: self.role.retry_ms(now),
            restarts: self.role.restarts(),
            thread: self.thread(),
            rates: self.rates.rates.clone(),
            antennas: self.antennas(),
            merge_counters: reading.named("merge"),
            ledger: reading.ledger(),
            vcs: reading.vcs(&config.channel, &self.counters()),
            latency: reading.latency(),
            clcws: self.clcws(),
        }
    }

    fn antennas(&self) -> Vec<AntennaStatus> {
        let reading = self.reading();
        self.config().links.iter().map(|link| reading.antenna(&link.name, link.id)).collect()
    }

    pub(crate) fn ledgers(&self) -> SpacecraftLedgers {
        let reading = self.reading();
        SpacecraftLedgers {
            spacecraft: self.config().name.clone(),
            vcs: reading.vcs(&self.config().channel, &self.counters()),
            antennas: self.antennas(),
            ledger: reading.ledger(),
        }
    }
}
