//! The events ring: what roles and the supervisor itself report.

use fep_bus::Tag;
use fep_record::{EventRecord, KIND_EVENT, Session};
use serde_json::Value;

use super::Supervisor;
use crate::event::{Event, EventCode, Severity};
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
        if let Value::Object(fields) = &mut detail {
            fields.insert("event".to_owned(), code.name().into());
            if let Some(role) = role {
                fields.insert(role.kind().to_owned(), role.name().into());
            }
        }
        match code.severity() {
            Severity::Info => tracing::info!("{detail}"),
            Severity::Warning => tracing::warn!("{detail}"),
            Severity::Alarm => tracing::error!("{detail}"),
        }
        let record = EventRecord { code: code as u16, severity: code.severity() as u8, link_id, session };
        let (flags, words) = record.to_words();
        let tag = Tag { kind: KIND_EVENT, flags, received: at, published: fep_time::tai_now(), words };
        let payload = detail.to_string();
        let payload = if payload.len() > EVENT_MAX as usize { "{}" } else { payload.as_str() };
        if let Err(error) = self.events.publish(tag, payload.as_bytes()) {
            tracing::error!(%error, "event not published");
        }
    }
}
