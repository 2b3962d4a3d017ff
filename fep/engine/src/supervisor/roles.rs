//! Roles: planned together, started, looked after, commanded.

use fep_time::Monotonic;
use serde_json::json;

use super::Supervisor;
use crate::event::{EventCode, NO_LINK};
use crate::link::{Link, LinkJob};
use crate::plan::{Need, Planned, plan};
use crate::role::{Command, News};
use fep_control::config::LinkConfig;

/// What a link can be asked for by the control interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Enable,
    Disable,
    Reset,
}

impl Supervisor {
    pub(super) fn job(&self, config: LinkConfig) -> LinkJob {
        LinkJob { config, setting: self.setting.clone(), queue: self.queue.clone() }
    }

    /// Makes a role for a link; it starts with the next tick.
    pub(super) fn add(&mut self, config: LinkConfig) {
        let name = config.name.clone();
        let link = Link::new(self.job(config), self.patience);
        self.links.insert(name, link);
    }

    /// Takes what has happened to the roles, and starts those that are due.
    pub(super) fn look_after_roles(&mut self, now: Monotonic) {
        let mut news = Vec::new();
        for (name, link) in &mut self.links {
            if let Some(one) = link.role.look_after(now) {
                news.push((name.clone(), one));
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
        let Some(link) = self.links.get_mut(name) else { return };
        let id = link.config().id;
        match news {
            News::Ready => {
                link.role.clear_failure();
                link.attach(&self.setting);
                let core = link.role.granted().core;
                self.report(EventCode::LinkStarted, id, json!({"link": name, "core": core}));
            }
            News::Failed { cause, retry_ms } => {
                // It may have its rings all the same: they are kept alive and watched while it is tried again.
                link.attach(&self.setting);
                let detail = json!({"link": name, "reason": cause, "retry_ms": retry_ms});
                self.report(EventCode::LinkFailed, id, detail);
                self.replan();
            }
            News::Stopped => {
                self.report(EventCode::LinkStopped, id, json!({"link": name}));
                self.replan();
            }
            News::Abandoned { after_ms } => {
                self.report(EventCode::Abandoned, id, json!({"link": name, "after_ms": after_ms}));
            }
            News::Removed => {
                self.links.remove(name);
                self.replan();
            }
        }
    }

    fn start_due(&mut self, now: Monotonic) {
        // Everything that stops has stopped before anything starts: one link may take over the address of another.
        if self.stopping || self.links.values().any(|link| link.role.is_stopping()) {
            return;
        }
        let due: Vec<String> = self
            .links
            .iter()
            .filter(|(_, link)| link.role.is_due(now))
            .map(|(name, _)| name.clone())
            .collect();
        if due.is_empty() {
            return;
        }
        let seats = self.replan();
        for (name, planned) in seats {
            let Some(link) = self.links.get_mut(&name).filter(|_| due.contains(&name)) else { continue };
            if let Some(news) = link.role.start(planned.seat, now) {
                self.take_news(&name, news);
            }
        }
    }

    /// Plans the seats of all roles that run or are to run, and moves those that run.
    pub(super) fn replan(&mut self) -> Vec<(String, Planned)> {
        let taking_part: Vec<&Link> =
            self.links.values().filter(|link| link.role.is_wanted() || link.role.is_running()).collect();
        let needs: Vec<Need<'_>> = taking_part
            .iter()
            .map(|link| Need {
                name: &link.config().name,
                core: link.config().core,
                wait: link.config().transport.wait,
                present: link.role.seat().filter(|_| link.role.is_running()).and_then(|seat| seat.core),
            })
            .collect();
        let planned = plan(&self.offer, &needs);
        let seats: Vec<(String, Planned)> =
            needs.iter().map(|need| need.name.to_owned()).zip(planned).collect();
        for (name, planned) in &seats {
            if let Some(link) = self.links.get_mut(name) {
                link.role.sit(&planned.seat);
            }
        }
        self.plan_warnings = seats.iter().flat_map(|(_, planned)| planned.warnings.iter().cloned()).collect();
        self.log_warnings();
        seats
    }

    /// Asks something of a link. Whether it has happened, [`Supervisor::is_settled`] says.
    ///
    /// # Errors
    /// Why it is refused, in words.
    pub(crate) fn ask(&mut self, name: &str, verb: Verb) -> Result<(), String> {
        let unknown = self.unknown_link(name);
        let now = Monotonic::now();
        let Some(link) = self.links.get_mut(name).filter(|link| !link.role.is_leaving()) else {
            return Err(unknown);
        };
        match verb {
            Verb::Enable if link.role.is_abandoned() => {
                return Err(format!(
                    "the thread of link {name} does not stop; it is started when it has ended"
                ));
            }
            Verb::Enable => link.role.enable(),
            Verb::Disable => link.role.disable(now),
            Verb::Reset if link.role.command(Command::Reset) => {}
            Verb::Reset if link.role.is_running() => {
                return Err(format!("link {name} does not take commands now; try again"));
            }
            Verb::Reset if link.role.is_wanted() => {
                return Err(format!("link {name} does not run now; it is tried again by itself"));
            }
            Verb::Reset => return Err(format!("link {name} is disabled; enable it first")),
        }
        self.replan();
        Ok(())
    }

    /// What came of a request, in words.
    pub(crate) fn outcome(&self, name: &str, verb: Verb) -> String {
        let failure = self.links.get(name).and_then(|link| link.role.failure());
        match (verb, failure) {
            (Verb::Enable, None) => format!("link {name} is enabled"),
            (Verb::Enable, Some(cause)) => {
                format!("link {name} is enabled but does not run: {cause}; it is tried again")
            }
            (Verb::Disable, None) => format!("link {name} is disabled"),
            (Verb::Disable, Some(cause)) => format!("link {name} is disabled, but {cause}"),
            (Verb::Reset, _) => format!("link {name} is reset"),
        }
    }

    /// Whether what was asked of the links has happened or failed; of one link, or of all.
    pub(crate) fn is_settled(&self, name: Option<&str>) -> bool {
        let now = Monotonic::now();
        let of_interest = |link: &&Link| name.is_none_or(|name| link.config().name == name);
        self.links.values().filter(of_interest).all(|link| link.role.is_settled(now))
    }

    pub(crate) fn unknown_link(&self, name: &str) -> String {
        let names = self.links.keys().cloned().collect::<Vec<_>>().join(", ");
        format!("no link is called {name:?} (there are: {names})")
    }

    /// A test switch: the thread of this role panics.
    ///
    /// # Errors
    /// No role of this name runs.
    pub(crate) fn panic_for_test(&mut self, name: &str) -> Result<(), String> {
        match self.links.get(name) {
            Some(link) if link.role.command(Command::Panic) => Ok(()),
            Some(_) => Err(format!("{name} does not run")),
            None => Err(self.unknown_link(name)),
        }
    }

    /// Begins to stop every role. [`Supervisor::has_stopped`] says when they have.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        self.report(EventCode::Stopping, NO_LINK, json!({}));
        let now = Monotonic::now();
        self.links.values_mut().for_each(|link| link.role.disable(now));
    }

    /// Whether every role has stopped or was abandoned.
    pub(crate) fn has_stopped(&self) -> bool {
        self.links.values().all(|link| !link.role.is_running() || link.role.is_abandoned())
    }
}
