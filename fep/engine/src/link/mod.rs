//! Links: the job of their threads, and what is shown of them.

mod connections;
mod job;

use fep_net::TransportSpec;
use fep_time::Monotonic;
use serde_json::Value;

pub(crate) use job::LinkJob;

use crate::event::EventCode;
use crate::supervised::{Supervised, session_name};
use fep_control::api::{LinkLedgers, LinkStatus};
use fep_control::config::LinkConfig;

/// A link as the control thread sees it.
pub(crate) type Link = Supervised<LinkJob>;

impl Supervised<LinkJob> {
    pub(crate) fn config(&self) -> &LinkConfig {
        &self.role.job().config
    }

    pub(crate) fn status(&self, now: Monotonic) -> LinkStatus {
        let reading = self.reading();
        let config = self.config();
        LinkStatus {
            name: config.name.clone(),
            id: config.id,
            channel: config.channel.name.clone(),
            spacecraft: config.channel.spacecraft_names(),
            session: session_name(config.session).to_owned(),
            transport: transport_name(config),
            enabled: self.role.is_wanted(),
            state: self.state(reading.state()).to_owned(),
            failure: self.role.failure().map(str::to_owned),
            connect_error: self
                .connect_error
                .clone()
                .filter(|_| self.role.is_running() && reading.state() == "connecting"),
            retry_ms: self.role.retry_ms(now),
            restarts: self.role.restarts(),
            sync: if self.role.is_running() { reading.sync_state() } else { "" }.to_owned(),
            thread: self.thread(),
            rates: self.rates.rates.clone(),
            transport_counters: reading.named("link"),
            sync_counters: reading.named("sync"),
            ledger: reading.ledger(),
            vcs: reading.vcs(&config.channel, &self.counters()),
            latency: reading.latency(),
            merged_by: config.merged_by.clone(),
            clcws: self.clcws(),
        }
    }

    /// Remembers why the link does not connect, from what its thread reports.
    pub(crate) fn note(&mut self, code: EventCode, detail: &Value) {
        match code {
            EventCode::ConnectFailed => {
                self.connect_error = detail["reason"].as_str().map(str::to_owned);
            }
            // Not the start of a life: its first attempt may have failed before that is noticed.
            EventCode::Connected
            | EventCode::Disconnected
            | EventCode::LinkStopped
            | EventCode::LinkFailed => self.connect_error = None,
            _ => {}
        }
    }

    pub(crate) fn ledgers(&self) -> LinkLedgers {
        let reading = self.reading();
        const RECEPTION: [&str; 4] = ["kernel_drops", "truncated", "discarded_bytes", "receive_errors"];
        let mut reception = reading.named("link");
        reception.retain(|count| RECEPTION.contains(&count.name.as_str()));
        LinkLedgers {
            link: self.config().name.clone(),
            vcs: reading.vcs(&self.config().channel, &self.counters()),
            reception,
            ledger: reading.ledger(),
        }
    }
}

/// Kind and address, for people.
fn transport_name(config: &LinkConfig) -> String {
    let transport = &config.transport.transport;
    let place = match transport {
        TransportSpec::TcpClient(tcp) => tcp.address.to_string(),
        TransportSpec::TcpServer(tcp) => tcp.address.to_string(),
        TransportSpec::Udp(udp) => udp.bind.to_string(),
        TransportSpec::Serial(serial) => serial.device.display().to_string(),
        TransportSpec::File(file) => file.path.display().to_string(),
        TransportSpec::Stdin(_) => String::new(),
    };
    format!("{} {place}", transport.kind()).trim_end().to_owned()
}
