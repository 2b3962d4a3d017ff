//! A ring record in words: what its descriptor says, as a line for people and as JSON for scripts.

use fep_bus::Record;
use fep_events::Severity;
use fep_record::{
    BadReason, EventRecord, FrameFlags, FrameRecord, KIND_EVENT, KIND_FRAME, KIND_PACKET, PacketRecord,
    Session,
};
use serde_json::{Value, json};

use super::args::{Filter, Kind};
use crate::times;

/// A descriptor, understood.
pub(super) enum Understood {
    Frame(FrameRecord),
    Packet(PacketRecord),
    Event(EventRecord),
    /// Of a kind or version this program does not know.
    Unknown,
}

impl Understood {
    pub(super) fn of(record: &Record) -> Understood {
        let tag = &record.tag;
        let known = match tag.kind {
            KIND_FRAME => FrameRecord::from_words(tag.flags, tag.words).map(Understood::Frame),
            KIND_PACKET => PacketRecord::from_words(tag.flags, tag.words).map(Understood::Packet),
            KIND_EVENT => EventRecord::from_words(tag.words).map(Understood::Event),
            _ => None,
        };
        known.unwrap_or(Understood::Unknown)
    }

    /// Whether all conditions of `filter` hold.
    pub(super) fn passes(&self, filter: &Filter) -> bool {
        let (kind, gvcid, apid, bad) = match self {
            Understood::Frame(frame) => {
                (Some(Kind::Frame), Some(frame.gvcid), None, frame.reason != BadReason::None)
            }
            Understood::Packet(packet) => (Some(Kind::Packet), Some(packet.gvcid), Some(packet.apid), false),
            Understood::Event(_) => (Some(Kind::Event), None, None, false),
            Understood::Unknown => (None, None, None, false),
        };
        filter.kind.is_none_or(|wanted| kind == Some(wanted))
            && filter.scid.is_none_or(|wanted| gvcid.is_some_and(|gvcid| gvcid.scid == wanted))
            && filter.vcid.is_none_or(|wanted| gvcid.is_some_and(|gvcid| gvcid.vcid == wanted))
            && filter.apid.is_none_or(|wanted| apid == Some(wanted))
            && (!filter.bad || bad)
    }
}

/// Names of links by their number.
pub(crate) struct LinkNames(pub(crate) Vec<(u16, String)>);

impl LinkNames {
    fn name(&self, id: u16) -> String {
        let known = self.0.iter().find(|(number, _)| *number == id);
        known.map_or_else(|| format!("link-{id}"), |(_, name)| name.clone())
    }
}

/// The merged spacecraft that an event is about: its number is no link's, so its name stands in the payload.
pub(crate) fn event_spacecraft(payload: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(payload).ok()?;
    // Whatever a payload holds, it cannot steer the terminal.
    Some(event.get("spacecraft")?.as_str()?.replace(char::is_control, " "))
}

/// Events of the process itself carry a number that no link has.
const fn is_process(link_id: u16) -> bool {
    link_id == 0 || link_id == u16::MAX
}

const fn session_name(session: Session) -> &'static str {
    match session {
        Session::Ops => "OPS",
        Session::Test => "TEST",
        Session::Replay => "REPLAY",
    }
}

fn sequence_flags_name(sequence: u16) -> &'static str {
    match sequence >> 14 {
        0b00 => "continuation",
        0b01 => "first",
        0b10 => "last",
        _ => "whole",
    }
}

/// The record as one line, without its end.
pub(crate) fn line(record: &Record, payload: &[u8], links: &LinkNames) -> String {
    let time = times::utc(record.tag.received.0, 6);
    match Understood::of(record) {
        Understood::Frame(frame) => {
            let mut remarks: Vec<String> = frame.flags.names().map(str::to_owned).collect();
            if frame.flags.contains(FrameFlags::CORRECTED) {
                remarks.push(format!("{} symbols", frame.symbols_corrected));
            }
            if frame.codewords_failed > 0 {
                remarks.push(format!("{} codewords failed", frame.codewords_failed));
            }
            if frame.marker_bit_errors > 0 {
                remarks.push(format!("{} marker bits wrong", frame.marker_bit_errors));
            }
            let channel = if frame.reason == BadReason::None {
                format!("{:<8} count {:<10}", frame.gvcid.to_string(), frame.frame_count)
            } else {
                format!("BAD {:<21}", frame.reason.name())
            };
            format!(
                "{time} {:>10} frame  {:<12} {:<6} {channel} {:>5} B  {}",
                record.seq,
                links.name(frame.link_id),
                session_name(frame.session),
                record.len,
                remarks.join(" ")
            )
        }
        Understood::Packet(packet) => {
            let what = if packet.pvn == 0 {
                format!(
                    "apid {:<4} count {:<5} {}",
                    packet.apid,
                    packet.sequence & 0x3FFF,
                    sequence_flags_name(packet.sequence)
                )
            } else {
                format!("encapsulation, protocol {}", packet.apid)
            };
            format!(
                "{time} {:>10} packet {:<12} {:<6} {:<8} {what} {:>5} B",
                record.seq,
                links.name(packet.link_id),
                session_name(packet.session),
                packet.gvcid.to_string(),
                record.len
            )
        }
        Understood::Event(event) => {
            let who = match event_spacecraft(payload) {
                Some(spacecraft) => spacecraft,
                None if is_process(event.link_id) => String::new(),
                None => links.name(event.link_id),
            };
            format!(
                "{time} {:>10} event  {who:<12} {:<6} {:<8} {}",
                record.seq,
                session_name(event.session),
                severity_name(event.severity),
                event_text(payload)
            )
        }
        Understood::Unknown => {
            format!("{time} {:>10} kind {} of another version, {} B", record.seq, record.tag.kind, record.len)
        }
    }
}

/// The name of a severity; what is none is debugging.
pub(crate) const fn severity_name(severity: u8) -> &'static str {
    match Severity::of_number(severity) {
        Some(severity) => severity.name(),
        None => "DEBUG",
    }
}

/// What an event says is to be done; `None` when nothing is.
pub(crate) fn event_advice(payload: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(payload).ok()?;
    Some(event.get("advice")?.as_str()?.replace(char::is_control, " "))
}

/// An event in words: its `message`, else its name and figures as `gap vc=157/16 lost=3`, else the text as it is.
pub(crate) fn event_text(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    let words = match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(mut object)) => {
            let mut take =
                |keys: [&str; 2]| keys.iter().find_map(|key| Some(object.remove(*key)?.as_str()?.to_owned()));
            match (take(["message", "text"]), take(["event", "name"])) {
                (Some(message), _) => message,
                (None, name) => {
                    // The link or spacecraft stands in a column of its own.
                    object.remove("link");
                    object.remove("spacecraft");
                    // Shown where somebody asks for it.
                    object.remove("advice");
                    let figures = object.iter().map(|(key, value)| match value {
                        Value::String(text) => format!("{key}={text}"),
                        other => format!("{key}={other}"),
                    });
                    let name = name.map(|name| name.replace('_', " "));
                    name.into_iter().chain(figures).collect::<Vec<_>>().join(" ")
                }
            }
        }
        _ => text.into_owned(),
    };
    // Whatever a payload holds, it cannot steer the terminal.
    words.replace(char::is_control, " ")
}

/// The record as one JSON object.
pub(crate) fn json(record: &Record, payload: &[u8], links: &LinkNames) -> Value {
    let mut object = json!({
        "seq": record.seq,
        "rx_utc": times::utc(record.tag.received.0, 9),
        "pub_utc": times::utc(record.tag.published.0, 9),
        "len": record.len,
    });
    let more = match Understood::of(record) {
        Understood::Frame(frame) => json!({
            "kind": "frame",
            "link": links.name(frame.link_id),
            "session": session_name(frame.session),
            "tfvn": frame.gvcid.tfvn,
            "scid": frame.gvcid.scid,
            "vcid": frame.gvcid.vcid,
            "frame_count": frame.frame_count,
            "flags": frame.flags.names().collect::<Vec<_>>(),
            "reason": frame.reason.name(),
            "symbols_corrected": frame.symbols_corrected,
            "codewords_failed": frame.codewords_failed,
            "marker_bit_errors": frame.marker_bit_errors,
        }),
        Understood::Packet(packet) => json!({
            "kind": "packet",
            "link": links.name(packet.link_id),
            "session": session_name(packet.session),
            "scid": packet.gvcid.scid,
            "vcid": packet.gvcid.vcid,
            "pvn": packet.pvn,
            "apid": packet.apid,
            "sequence_flags": sequence_flags_name(packet.sequence),
            "sequence_count": packet.sequence & 0x3FFF,
            "frame_seq": packet.frame_seq,
            "flags": packet.flags.names().collect::<Vec<_>>(),
        }),
        Understood::Event(event) => {
            let spacecraft = event_spacecraft(payload);
            let has_link = spacecraft.is_none() && !is_process(event.link_id);
            json!({
                "kind": "event",
                "link": has_link.then(|| links.name(event.link_id)),
                "spacecraft": spacecraft,
                "session": session_name(event.session),
                "severity": severity_name(event.severity),
                "code": event.code,
                "event": serde_json::from_slice::<Value>(payload).unwrap_or(Value::Null),
            })
        }
        Understood::Unknown => json!({ "kind": record.tag.kind }),
    };
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_put_into_words_whatever_its_payload_holds() {
        assert_eq!(event_text(br#"{"message":"all is well","n":1}"#), "all is well");
        let gap = br#"{"event":"counter_reset","link":"npp","vc":"157/16","resets":2}"#;
        assert_eq!(event_text(gap), "counter reset resets=2 vc=157/16");
        assert_eq!(event_text(b"no json\x1b[2J"), "no json [2J");
        assert_eq!(event_text(&[0xff, 0xfe]), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn an_event_of_a_merged_spacecraft_is_shown_with_its_name_and_no_link_is_made_up_for_it() {
        let links = LinkNames(vec![(7, "north".to_owned())]);
        let shown = |link_id, payload: &[u8]| {
            let event = EventRecord { code: 5, severity: 2, link_id, session: Session::Ops };
            let (flags, words) = event.to_words();
            let tag = fep_bus::Tag { kind: fep_record::KIND_EVENT, flags, words, ..fep_bus::Tag::default() };
            let record = Record { seq: 1, pos: 0, len: payload.len() as u32, tag, payload_before: 0 };
            (json(&record, payload, &links), line(&record, payload, &links))
        };
        let (object, text) = shown(60_405, br#"{"event":"gap","spacecraft":"leo","lost":3}"#);
        assert_eq!((&object["link"], &object["spacecraft"]), (&Value::Null, &json!("leo")));
        assert!(text.contains("event  leo ") && text.ends_with("gap lost=3"), "{text}");
        let (object, text) = shown(7, br#"{"event":"gap","link":"north","lost":3}"#);
        assert_eq!((&object["link"], &object["spacecraft"]), (&json!("north"), &Value::Null));
        assert!(text.contains("event  north "), "{text}");
        let (object, _) = shown(u16::MAX, br#"{"event":"started"}"#);
        assert_eq!((&object["link"], &object["spacecraft"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn filters_hold_all_together_and_an_unknown_record_passes_only_without_any() {
        let packet = Understood::Packet(PacketRecord { apid: 802, ..PacketRecord::default() });
        let apid = |apid| Filter { apid: Some(apid), ..Filter::default() };
        assert!(packet.passes(&Filter::default()));
        assert!(packet.passes(&apid(802)));
        assert!(!packet.passes(&apid(803)));
        assert!(!packet.passes(&Filter { vcid: Some(5), ..apid(802) }));
        assert!(!packet.passes(&Filter { bad: true, ..Filter::default() }));
        assert!(!packet.passes(&Filter { kind: Some(Kind::Frame), ..Filter::default() }));
        let bad = FrameRecord { reason: BadReason::Uncorrectable, ..FrameRecord::default() };
        assert!(Understood::Frame(bad).passes(&Filter { bad: true, ..Filter::default() }));
        assert!(Understood::Unknown.passes(&Filter::default()));
        assert!(!Understood::Unknown.passes(&apid(0)));
    }
}
