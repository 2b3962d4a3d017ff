//! Roles: planned together, started, looked after, commanded.

use fep_time::Monotonic;
use serde_json::json;

use super::Supervisor;
use crate::event::{EventCode, NO_LINK};
use crate::heard::Heard;
use crate::link::{Link, LinkJob};
use crate::plan::{Need, Planned, plan, shared_cores};
use crate::role::{Command, News};
use crate::spacecraft::{Spacecraft, SpacecraftJob};
use crate::supervised::AnySupervised;
use fep_control::config::{LinkConfig, SpacecraftConfig};

/// What a role can be asked for by the control interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Enable,
    Disable,
    Reset,
}

/// Which roles a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Link,
    Spacecraft,
}

impl Supervisor {
    /// Every role, links first.
    pub(super) fn roles(&self) -> impl Iterator<Item = &dyn AnySupervised> {
        let links = self.links.values().map(|link| link as &dyn AnySupervised);
        links.chain(self.spacecraft.values().map(|craft| craft as &dyn AnySupervised))
    }

    pub(super) fn roles_mut(&mut self) -> impl Iterator<Item = &mut dyn AnySupervised> {
        let links = self.links.values_mut().map(|link| link as &mut dyn AnySupervised);
        links.chain(self.spacecraft.values_mut().map(|craft| craft as &mut dyn AnySupervised))
    }

    /// The role of this name: no link has the name of a spacecraft.
    fn role(&self, name: &str) -> Option<&dyn AnySupervised> {
        self.roles().find(|role| role.name() == name)
    }

    fn role_mut(&mut self, name: &str) -> Option<&mut dyn AnySupervised> {
        self.roles_mut().find(|role| role.name() == name)
    }

    /// The sign of a link, shared by its thread and that of its spacecraft, over all their lives.
    fn heard(&mut self, link: &str) -> Heard {
        self.heard.entry(link.to_owned()).or_default().clone()
    }

    pub(super) fn link_job(&mut self, config: LinkConfig) -> LinkJob {
        let heard = self.heard(&config.name);
        LinkJob { config, heard, setting: self.setting.clone(), queue: self.queue.clone() }
    }

    pub(super) fn spacecraft_job(&mut self, config: SpacecraftConfig) -> SpacecraftJob {
        let heard = config.links.iter().map(|link| self.heard(&link.name)).collect();
        SpacecraftJob { config, heard, setting: self.setting.clone(), queue: self.queue.clone() }
    }

    /// Makes a role for a link; it starts with the next tick.
    pub(super) fn add_link(&mut self, config: LinkConfig) {
        let (name, enabled) = (config.name.clone(), config.enabled);
        let link = Link::new(self.link_job(config), enabled, self.patience);
        self.links.insert(name, link);
    }

    /// Makes a role for a spacecraft; it starts with the next tick.
    pub(super) fn add_spacecraft(&mut self, config: SpacecraftConfig) {
        let name = config.name.clone();
        let craft = Spacecraft::new(self.spacecraft_job(config), true, self.patience);
        self.spacecraft.insert(name, craft);
    }

    /// Takes what has happened to the roles, and starts those that are due.
    pub(super) fn look_after_roles(&mut self, now: Monotonic) {
        let mut news = Vec::new();
        for role in self.roles_mut() {
            if let Some(one) = role.look_after(now) {
                news.push((role.name().to_owned(), one));
            }
        }
        for (name, news) in news {
            self.take_news(&name, news);
        }
        self.start_due(now);
    }

    fn take_news(&mut self, name: &str, news: News) {
        // What the thread itself had to report comes first.
        self.publish_events();
        let setting = self.setting.clone();
        let Some(role) = self.role_mut(name) else { return };
        let (id, kind) = (role.id(), role.kind());
        match news {
            News::Ready => {
                role.clear_failure();
                role.attach(&setting);
                let core = role.granted().core;
                self.report(EventCode::LinkStarted, id, json!({kind: name, "core": core}));
            }
            News::Failed { cause, retry_ms } => {
                // It may have its rings all the same: they are kept alive and watched while it is tried again.
                role.attach(&setting);
                let detail = json!({kind: name, "reason": cause, "retry_ms": retry_ms});
                self.report(EventCode::LinkFailed, id, detail);
                self.replan();
            }
            News::Stopped => {
                self.report(EventCode::LinkStopped, id, json!({kind: name}));
                self.replan();
            }
            News::Abandoned { after_ms } => {
                self.report(EventCode::Abandoned, id, json!({kind: name, "after_ms": after_ms}));
            }
            News::Removed => {
                self.links.remove(name);
                self.spacecraft.remove(name);
                self.replan();
            }
        }
    }

    fn start_due(&mut self, now: Monotonic) {
        // Everything that stops has stopped before anything starts: one link may take over the address of another.
        if self.stopping || self.roles().any(AnySupervised::is_stopping) {
            return;
        }
        let due: Vec<String> =
            self.roles().filter(|role| role.is_due(now)).map(|role| role.name().to_owned()).collect();
        if due.is_empty() {
            return;
        }
        for (name, planned) in self.replan() {
            if !due.contains(&name) {
                continue;
            }
            let started = self.role_mut(&name).and_then(|role| role.start(planned.seat, now));
            if let Some(news) = started {
                self.take_news(&name, news);
            }
        }
    }

    /// Plans the seats of all roles that run or are to run, and moves those that run.
    pub(super) fn replan(&mut self) -> Vec<(String, Planned)> {
        let needs: Vec<Need<'_>> = self
            .roles()
            .filter(|role| role.is_wanted() || role.is_running())
            .map(AnySupervised::need)
            .collect();
        let planned = plan(&self.offer, &needs);
        let seats: Vec<(String, Planned)> =
            needs.iter().map(|need| need.name.to_owned()).zip(planned).collect();
        for (name, planned) in &seats {
            if let Some(role) = self.role_mut(name) {
                role.sit(&planned.seat);
            }
        }
        self.plan_warnings = shared_cores(seats.iter().map(|(name, planned)| (name.as_str(), planned.seat)));
        self.plan_warnings.extend(seats.iter().flat_map(|(_, planned)| planned.warnings.iter().cloned()));
        self.log_warnings();
        seats
    }

    /// Asks something of a role. Whether it has happened, [`Supervisor::is_settled`] says.
    ///
    /// # Errors
    /// Why it is refused, in words.
    pub(crate) fn ask(&mut self, name: &str, verb: Verb) -> Result<(), String> {
        let now = Monotonic::now();
        let Some(role) = self.role_mut(name).filter(|role| !role.is_leaving()) else {
            return Err(format!("{name} is being removed"));
        };
        let kind = role.kind();
        match verb {
            Verb::Enable if role.is_abandoned() => {
                return Err(format!(
                    "the thread of {kind} {name} does not stop; it is started when it has ended"
                ));
            }
            Verb::Enable => role.enable(),
            Verb::Disable => role.disable(now),
            Verb::Reset if role.command(Command::Reset) => {}
            Verb::Reset if role.is_running() => {
                return Err(format!("{kind} {name} does not take commands now; try again"));
            }
            Verb::Reset if role.is_wanted() => {
                return Err(format!("{kind} {name} does not run now; it is tried again by itself"));
            }
            Verb::Reset => return Err(format!("{kind} {name} is disabled; enable it first")),
        }
        self.replan();
        Ok(())
    }

    /// What came of a request, in words.
    pub(crate) fn outcome(&self, name: &str, verb: Verb) -> String {
        let Some(role) = self.role(name) else { return format!("{name} was removed") };
        let kind = role.kind();
        match (verb, role.failure()) {
            (Verb::Enable, None) => format!("{kind} {name} is enabled"),
            (Verb::Enable, Some(cause)) => {
                format!("{kind} {name} is enabled but does not run: {cause}; it is tried again")
            }
            (Verb::Disable, None) => format!("{kind} {name} is disabled"),
            (Verb::Disable, Some(cause)) => format!("{kind} {name} is disabled, but {cause}"),
            (Verb::Reset, _) => format!("{kind} {name} is reset"),
        }
    }

    /// Whether what was asked of the roles has happened or failed; of one role, or of all.
    pub(crate) fn is_settled(&self, name: Option<&str>) -> bool {
        let now = Monotonic::now();
        let mut roles = self.roles().filter(|role| name.is_none_or(|name| role.name() == name));
        roles.all(|role| role.is_settled(now))
    }

    /// Why a request for a role is refused that does not exist; `None` when it does.
    pub(crate) fn unknown(&self, kind: Kind, name: &str) -> Option<String> {
        let (what, names): (_, Vec<&String>) = match kind {
            Kind::Link => ("link", self.links.keys().collect()),
            Kind::Spacecraft => ("merged spacecraft", self.spacecraft.keys().collect()),
        };
        if names.iter().any(|known| *known == name) {
            return None;
        }
        let names = names.into_iter().cloned().collect::<Vec<_>>().join(", ");
        let known = if names.is_empty() { "none is configured" } else { &*format!("known: {names}") };
        Some(format!("no {what} is called {name:?} ({known})"))
    }

    /// A test switch: the thread of this role panics.
    ///
    /// # Errors
    /// No role of this name runs.
    pub(crate) fn panic_for_test(&mut self, name: &str) -> Result<(), String> {
        match self.role(name) {
            Some(role) if role.command(Command::Panic) => Ok(()),
            Some(_) => Err(format!("{name} does not run")),
            None => Err(format!("no role is called {name:?}")),
        }
    }

    /// Begins to stop every role. [`Supervisor::has_stopped`] says when they have.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        self.report(EventCode::Stopping, NO_LINK, json!({}));
        let now = Monotonic::now();
        self.links.values_mut().for_each(|link| link.disable(now));
    }

    /// Goes on with stopping: a spacecraft stops when its links have, so that their last frames are served.
    pub(crate) fn has_stopped(&mut self) -> bool {
        let ended = |role: &dyn AnySupervised| !role.is_running() || role.is_abandoned();
        if !self.links.values().all(|link| ended(link)) {
            return false;
        }
        let now = Monotonic::now();
        for craft in self.spacecraft.values_mut().filter(|craft| craft.is_wanted()) {
            craft.disable(now);
        }
        self.spacecraft.values().all(|craft| ended(craft))
    }
}
