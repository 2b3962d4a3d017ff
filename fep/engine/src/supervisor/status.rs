//! What the control interface shows.

use std::collections::BTreeMap;
use std::path::Path;

use fep_bus::RingInfo;
use fep_time::Monotonic;

use super::Supervisor;
use crate::link::Link;
use crate::spacecraft::Spacecraft;
use fep_control::api::{AntennaStatus, Ledgers, LinkStatus, RingStatus, SpacecraftStatus, Status};

impl Supervisor {
    pub(crate) fn status(&self) -> Status {
        let path = |path: &Path| path.display().to_string();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_tai_ns: self.started_at.0,
            uptime_s: Monotonic::now().ns_since(self.started) as f64 / 1e9,
            config_file: self.source.file.as_deref().map(path),
            run_dir: path(&self.config.daemon.run_dir),
            bus_dir: path(&self.config.bus_dir()),
            metrics_dir: path(&self.config.metrics_dir()),
            reloads: self.reloads,
            warnings: self.warnings(),
            stopping: self.stopping,
            links: self.link_statuses(),
            spacecraft: self.spacecraft_statuses(),
            rings: self.ring_statuses(),
        }
    }

    pub(crate) fn link_statuses(&self) -> Vec<LinkStatus> {
        let now = Monotonic::now();
        self.links.values().map(|link| link.status(now)).collect()
    }

    pub(crate) fn link_status(&self, name: &str) -> Option<LinkStatus> {
        self.links.get(name).map(|link| link.status(Monotonic::now()))
    }

    pub(crate) fn spacecraft_statuses(&self) -> Vec<SpacecraftStatus> {
        let now = Monotonic::now();
        self.spacecraft.values().map(|craft| craft.status(now)).collect()
    }

    pub(crate) fn spacecraft_status(&self, name: &str) -> Option<SpacecraftStatus> {
        self.spacecraft.get(name).map(|craft| craft.status(Monotonic::now()))
    }

    pub(crate) fn spacecraft(&self) -> impl Iterator<Item = &Spacecraft> {
        self.spacecraft.values()
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    pub(crate) fn ring_statuses(&self) -> Vec<RingStatus> {
        let infos: BTreeMap<String, RingInfo> = fep_bus::list(&self.setting.dir)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|info| info.ok().map(|info| (info.name.clone(), info)))
            .collect();
        let watches = self.roles().map(|role| role.watch()).chain([&self.events_watch]);
        watches.flat_map(|watch| watch.statuses(&infos)).collect()
    }

    pub(crate) fn ledgers(&self) -> Ledgers {
        let links: Vec<_> = self.links.values().map(Link::ledgers).collect();
        let spacecraft: Vec<_> = self.spacecraft.values().map(Spacecraft::ledgers).collect();
        let balanced = links.iter().all(|link| link.ledger.is_balanced())
            && spacecraft.iter().all(|craft| {
                craft.ledger.is_balanced() && craft.antennas.iter().all(AntennaStatus::is_balanced)
            });
        Ledgers { links, spacecraft, bus: self.ring_statuses(), balanced }
    }
}
