//! What the control interface shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fep_bus::{Removal, RingInfo};
use fep_time::Monotonic;
use serde_json::json;

use super::Supervisor;
use crate::event::{EventCode, NO_LINK};
use crate::link::Link;
use crate::rings::role_of;
use crate::spacecraft::Spacecraft;
use crate::watch;
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

    /// Rings of roles first, then those that nobody writes any more.
    pub(crate) fn ring_statuses(&self) -> Vec<RingStatus> {
        let infos: BTreeMap<String, RingInfo> =
            self.present_rings().map(|info| (info.name.clone(), info)).collect();
        let watches = self.roles().map(|role| role.watch()).chain([&self.events_watch]);
        let mut statuses: Vec<RingStatus> = watches.flat_map(|watch| watch.statuses(&infos)).collect();
        let orphans = self.orphans(infos.into_values());
        statuses.extend(orphans.filter_map(|info| watch::orphan_status(&self.setting.dir, &info)));
        statuses
    }

    /// Rings of the directory that can be believed.
    fn present_rings(&self) -> impl Iterator<Item = RingInfo> + use<> {
        fep_bus::list(&self.setting.dir).unwrap_or_default().into_iter().filter_map(Result::ok)
    }

    /// Those that nobody writes and no role of this configuration has.
    fn orphans(&self, rings: impl Iterator<Item = RingInfo>) -> impl Iterator<Item = RingInfo> {
        let configured: BTreeSet<String> = self.roles().flat_map(|role| role.ring_names()).collect();
        rings.filter(move |info| {
            !info.producer_alive && role_of(&info.name).is_some() && !configured.contains(&info.name)
        })
    }

    /// Removes the rings of roles that are configured no more, as far as everything in them was read.
    pub(super) fn remove_drained_orphans(&mut self) {
        // The cursors of merged spacecraft, and those of a look at one's own rings, are `fepd`'s.
        let is_own = |consumer: &str| consumer.starts_with("fepd.") || consumer.starts_with("fepd-");
        let orphans: Vec<RingInfo> = self.orphans(self.present_rings()).collect();
        for info in orphans {
            let name = format!("{}/{}", info.colour.directory(), info.name);
            match fep_bus::remove_if_drained(&self.setting.dir, &name, is_own) {
                Ok(Removal::Removed) => {
                    let detail = json!({"ring": info.name, "records": info.head.seq.saturating_sub(1)});
                    self.report(EventCode::RingRemoved, NO_LINK, detail);
                }
                Ok(kept) => tracing::info!(ring = info.name, "a ring of no link: {kept}"),
                Err(error) => tracing::warn!(ring = info.name, %error, "a ring of no link was not removed"),
            }
        }
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
