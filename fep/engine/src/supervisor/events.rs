//! The events ring: what roles and the supervisor itself report.

use fep_bus::Tag;
use fep_events::{EventCode as _, Severity};
use fep_record::{KIND_EVENT, Session};
use serde_json::Value;

use super::Supervisor;
use crate::event::{Event, EventCode};
use crate::rings::EVENT_MAX;
use crate::supervised::AnySupervised;

impl Supervisor {
    /// Publishes what the hot threads have reported.
    pub(super) fn publish_events(&mut self) {
        while let Some(event) = self.queue.pop() {
            self.publish(event);
        }
    }

    /// Reports something of the supervisor's own.
    pub(crate) fn report(&mut self, code: EventCode, link_id: u16, detail: Value) {
        self.publish(Event { code, link_id, at: fep_time::tai_now(), detail });
    }

    fn publish(&mut self, event: Event) {
        let Event { code, link_id, at, mut detail } = event;
        if let Some(link) = self.links.values_mut().find(|link| link.id() == link_id) {
            link.note(code, &detail);
        }
        let role = self.roles().find(|role| role.id() == link_id);
        let session = role.map_or(Session::Ops, |role| role.session());
        if let (Value::Object(fields), Some(role)) = (&mut detail, role) {
            fields.insert(role.kind().to_owned(), role.name().into());
        }
        // With what to do: whoever shows the record need not know this program.
        code.describe(&mut detail);
        match code.severity() {
            Severity::Normal => tracing::info!("{detail}"),
            Severity::Warning => tracing::warn!("{detail}"),
            Severity::Distress | Severity::Critical => tracing::error!("{detail}"),
        }
        let (flags, words) = code.record(link_id, session).to_words();
        let tag = Tag { kind: KIND_EVENT, flags, received: at, published: fep_time::tai_now(), words };
        let payload = detail.to_string();
        let payload = if payload.len() > EVENT_MAX as usize { "{}" } else { payload.as_str() };
        if let Err(error) = self.events.publish(tag, payload.as_bytes()) {
            tracing::error!(%error, "event not published");
        }
    }
}
