//! The configuration read again: what changed stops and starts, what did not never notices.

use fep_time::Monotonic;
use serde_json::json;

use super::Supervisor;
use crate::event::{EventCode, NO_LINK};
use crate::supervised::AnySupervised;
use fep_control::api::ReloadReport;
use fep_control::config::{Config, ConfigErrors};

/// What a reload makes of one role.
enum Change {
    Untouched,
    /// Its configuration is another one, or it is new.
    Changed,
}

impl Supervisor {
    /// Reads the configuration again and begins to follow it; [`Supervisor::is_settled`] says when that is done. A
    /// configuration with a mistake changes nothing.
    ///
    /// # Errors
    /// Every mistake found.
    pub(crate) fn reload(&mut self) -> Result<ReloadReport, ConfigErrors> {
        let new = match self.source.load() {
            Ok(new) => new,
            Err(errors) => {
                self.report(EventCode::ReloadRefused, NO_LINK, json!({"mistakes": errors.0.len()}));
                return Err(errors);
            }
        };
        let mut report =
            ReloadReport { needs_restart: start_only_changes(&self.config, &new), ..Default::default() };
        let (daemon, rings) = (self.config.daemon.clone(), self.config.rings.clone());
        let old = std::mem::replace(&mut self.config, Config { daemon, rings, ..new });
        self.remove_what_is_gone(&mut report);
        self.follow_links(&old, &mut report);
        self.follow_spacecraft(&old, &mut report);
        self.replan();
        self.reloads += 1;
        self.report(
            EventCode::Reloaded,
            NO_LINK,
            json!({
                "started": report.started, "stopped": report.stopped, "restarted": report.restarted,
                "needs_restart": report.needs_restart,
            }),
        );
        Ok(report)
    }

    fn remove_what_is_gone(&mut self, report: &mut ReloadReport) {
        let now = Monotonic::now();
        let config = &self.config;
        let known = |name: &str, kind: &str| match kind {
            "link" => config.link(name).is_some(),
            _ => config.merged_spacecraft(name).is_some(),
        };
        let links = self.links.values_mut().map(|link| link as &mut dyn AnySupervised);
        let crafts = self.spacecraft.values_mut().map(|craft| craft as &mut dyn AnySupervised);
        for role in links.chain(crafts) {
            if !known(role.name(), role.kind()) && !role.is_leaving() {
                role.remove(now);
                report.stopped.push(role.name().to_owned());
            }
        }
    }

    fn follow_links(&mut self, old: &Config, report: &mut ReloadReport) {
        for config in self.config.links.clone() {
            let name = config.name.clone();
            let before = old.link(&name);
            let was_enabled = before.is_some_and(|before| before.enabled);
            let enabled = config.enabled;
            let change = report.note(&name, before.map(|before| *before == config), was_enabled, enabled);
            match (change, self.links.contains_key(&name)) {
                (Change::Untouched, _) => {}
                (Change::Changed, false) => self.add_link(config),
                (Change::Changed, true) => {
                    let job = self.link_job(config);
                    if let Some(link) = self.links.get_mut(&name) {
                        link.replace(job, enabled, Monotonic::now());
                    }
                }
            }
        }
    }

    fn follow_spacecraft(&mut self, old: &Config, report: &mut ReloadReport) {
        for config in self.config.spacecraft.clone() {
            let name = config.name.clone();
            let before = old.merged_spacecraft(&name);
            let was_there = before.is_some();
            let change = report.note(&name, before.map(|before| *before == config), was_there, true);
            match (change, self.spacecraft.contains_key(&name)) {
                (Change::Untouched, _) => {}
                (Change::Changed, false) => self.add_spacecraft(config),
                (Change::Changed, true) => {
                    let job = self.spacecraft_job(config);
                    if let Some(craft) = self.spacecraft.get_mut(&name) {
                        craft.replace(job, true, Monotonic::now());
                    }
                }
            }
        }
    }
}

/// Notes what a reload does to a role.
trait Note {
    /// `same`: whether its configuration is as before; `None` when it is new.
    fn note(&mut self, name: &str, same: Option<bool>, was_enabled: bool, enabled: bool) -> Change;
}

impl Note for ReloadReport {
    fn note(&mut self, name: &str, same: Option<bool>, was_enabled: bool, enabled: bool) -> Change {
        let list = match (same, was_enabled, enabled) {
            (Some(true), ..) => {
                self.untouched.push(name.to_owned());
                return Change::Untouched;
            }
            (Some(false), true, true) => &mut self.restarted,
            (Some(false), true, false) => &mut self.stopped,
            (_, _, true) => &mut self.started,
            (_, _, false) => return Change::Changed,
        };
        list.push(name.to_owned());
        Change::Changed
    }
}

/// Keys that are read at start only, and differ: those of `[daemon]` by name; of `[rings]`, whose keys come in groups, the table.
fn start_only_changes(old: &Config, new: &Config) -> Vec<String> {
    // Both are plain values, which always become JSON.
    let keys = |config: &Config| serde_json::to_value(&config.daemon).unwrap_or_default();
    let (before, after) = (keys(old), keys(new));
    let mut changes: Vec<String> = Vec::new();
    for (key, value) in after.as_object().into_iter().flatten() {
        if before.get(key) != Some(value) {
            changes.push(format!("daemon.{key}"));
        }
    }
    if old.rings != new.rings {
        changes.push("rings".to_owned());
    }
    changes
}
