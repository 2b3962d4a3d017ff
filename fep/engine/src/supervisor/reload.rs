//! The configuration read again: what changed stops and starts, what did not never notices.

use fep_time::Monotonic;
use serde_json::json;

use super::Supervisor;
use crate::event::{EventCode, NO_LINK};
use fep_control::api::ReloadReport;
use fep_control::config::{Config, ConfigErrors};

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
        let now = Monotonic::now();
        for (name, link) in &mut self.links {
            if self.config.link(name).is_none() && !link.role.is_leaving() {
                link.role.remove(now);
                report.stopped.push(name.clone());
            }
        }
        for config in self.config.links.clone() {
            let name = config.name.clone();
            let was_enabled = old.link(&name).is_some_and(|old| old.enabled);
            match (old.link(&name).map(|old| *old == config), was_enabled, config.enabled) {
                (Some(true), ..) => {
                    report.untouched.push(name);
                    continue;
                }
                (Some(false), true, true) => report.restarted.push(name.clone()),
                (Some(false), true, false) => report.stopped.push(name.clone()),
                (_, _, true) => report.started.push(name.clone()),
                (_, _, false) => {}
            }
            let (job, enabled) = (self.job(config.clone()), config.enabled);
            match self.links.get_mut(&name) {
                Some(link) => {
                    link.detach();
                    link.role.replace(job, enabled, now);
                }
                None => self.add(config),
            }
        }
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
}

/// Sections that are read at start only, and differ.
fn start_only_changes(old: &Config, new: &Config) -> Vec<String> {
    let mut changes = Vec::new();
    if old.daemon != new.daemon {
        changes.push("daemon".to_owned());
    }
    if old.rings != new.rings {
        changes.push("rings".to_owned());
    }
    changes
}
