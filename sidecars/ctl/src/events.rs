//! `fepctl events`: the events of every process, live and from the archive.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use fep_control::config;
use fep_event_ring::{Event, EventFollow, EventFollowSpec, EventItem};
use fep_segments::Start;
use serde_json::{Value, json};

use crate::failure::{Failure, output};
use crate::ring::args::RingPlace;
use crate::ring::{self, LinkNames};
use crate::signals::Ending;
use crate::{terminal, times};

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    place: RingPlace,
    /// Begin with events of this time instead of the next one: `10m` (s, m, h, d back from now) or UTC, `2026-03-01T12:00:00Z`
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only events of this severity and above
    #[arg(long, value_enum, ignore_case = true)]
    severity: Option<Severity>,
    /// Only events of this spacecraft: of the links that receive it, and of its merge
    #[arg(long, value_name = "NAME")]
    spacecraft: Option<String>,
    /// Say below each event what to do
    #[arg(long)]
    advice: bool,
    /// Directory of the recorder's segments, for events that the rings have overwritten
    #[arg(long, value_name = "DIR")]
    segments: Option<PathBuf>,
    /// File of cursors: started again with it, go on behind the last event shown
    #[arg(long, value_name = "FILE", requires = "name")]
    cursors: Option<PathBuf>,
    /// Name of the cursors in the rings, of one process at a time [default: one that is forgotten]
    #[arg(long, value_name = "CONSUMER")]
    name: Option<String>,
    /// Leave after so many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Leave when nothing arrived for so many milliseconds
    #[arg(long, value_name = "MS")]
    until_idle: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Severity {
    /// As it should be
    Normal,
    /// Somebody should look, when there is time
    Warning,
    /// Somebody must look soon
    Distress,
    /// Somebody must act now
    Critical,
}

/// Which events are shown.
struct Wanted {
    severity: u8,
    /// The spacecraft, and the links that receive it.
    spacecraft: Option<(String, BTreeSet<u16>)>,
}

impl Wanted {
    fn of(args: &EventsArgs) -> Result<Wanted, Failure> {
        let severity = args.severity.map_or(0, |least| match least {
            Severity::Normal => fep_events::Severity::Normal as u8,
            Severity::Warning => fep_events::Severity::Warning as u8,
            Severity::Distress => fep_events::Severity::Distress as u8,
            Severity::Critical => fep_events::Severity::Critical as u8,
        });
        let with_links = |name: &String| Ok::<_, Failure>((name.clone(), links_of(name, args)?));
        Ok(Wanted { severity, spacecraft: args.spacecraft.as_ref().map(with_links).transpose()? })
    }

    fn includes(&self, event: &Event) -> bool {
        let Some((name, links)) = &self.spacecraft else { return event.event.severity >= self.severity };
        let of_it = links.contains(&event.event.link_id)
            || ring::event_spacecraft(&event.payload).is_some_and(|spacecraft| spacecraft == *name);
        event.event.severity >= self.severity && of_it
    }
}

/// Numbers of the links that receive a spacecraft.
fn links_of(name: &str, args: &EventsArgs) -> Result<BTreeSet<u16>, Failure> {
    let config =
        config::load(args.place.config.as_deref()).map_err(|errors| Failure::new(errors.to_string()))?;
    let receives = |link: &config::LinkConfig| {
        link.merged_by.as_deref() == Some(name)
            || link.channel.spacecraft.iter().any(|craft| craft.name == name)
    };
    let links: BTreeSet<u16> =
        config.links.iter().filter(|link| receives(link)).map(|link| link.id).collect();
    if links.is_empty() && config.merged_spacecraft(name).is_none() {
        let known: BTreeSet<&str> = config
            .links
            .iter()
            .flat_map(|link| link.channel.spacecraft.iter().map(|craft| craft.name.as_str()))
            .chain(config.spacecraft.iter().map(|craft| craft.name.as_str()))
            .collect();
        let known: Vec<&str> = known.into_iter().collect();
        return Err(Failure::usage(format!(
            "no link receives a spacecraft {name:?} (allowed: {})",
            known.join(", ")
        )));
    }
    Ok(links)
}

/// Runs the command.
pub(crate) fn run(args: &EventsArgs) -> Result<(), Failure> {
    let rings = args.place.resolve()?;
    let wanted = Wanted::of(args)?;
    let links = LinkNames(args.place.link_names());
    let start = match &args.since {
        Some(since) => Start::Time(times::since("--since", since)?),
        None => Start::Latest,
    };
    let passing = args.name.is_none();
    let consumer = args.name.clone().unwrap_or_else(|| ring::passing_name("events"));
    let ending = Ending::watch()?;
    let spec = EventFollowSpec {
        rings: rings.clone(),
        archive: args.segments.clone(),
        cursors: args.cursors.clone(),
        consumer: consumer.clone(),
        start,
        patience: Duration::from_secs(10),
    };
    let mut follow = EventFollow::open(spec).map_err(|error| Failure::new(error.to_string()))?;
    let done = show(args, &wanted, &links, &ending, &mut follow);
    let streams: Vec<String> = follow.streams().map(|stream| stream.ring.clone()).collect();
    drop(follow);
    if passing {
        streams.iter().for_each(|name| ring::forget(&ring::cursor_file(&rings, name, &consumer)));
    }
    done
}

fn show(
    args: &EventsArgs,
    wanted: &Wanted,
    links: &LinkNames,
    ending: &Ending,
    follow: &mut EventFollow,
) -> Result<(), Failure> {
    let mut out = terminal::out(args.json);
    let mut shown = 0;
    let mut last = Instant::now();
    let kept = |follow: &mut EventFollow| follow.commit().map_err(|error| Failure::new(error.to_string()));
    while args.count.is_none_or(|count| shown < count) && !ending.asked() {
        let Some(item) = follow.next_item() else {
            out.flush().map_err(output)?;
            kept(follow)?;
            let is_idle = args.until_idle.is_some_and(|limit| last.elapsed() >= Duration::from_millis(limit));
            if is_idle || !ending.sleep(Duration::from_millis(10)) {
                break;
            }
            continue;
        };
        last = Instant::now();
        if let EventItem::Event(event) = &item {
            if !wanted.includes(event) {
                continue;
            }
            shown += 1;
        }
        let text =
            if args.json { in_json(&item, links).to_string() } else { in_words(&item, links, args.advice) };
        writeln!(out, "{text}").map_err(output)?;
    }
    out.flush().map_err(output)?;
    kept(follow)
}

fn in_words(item: &EventItem, links: &LinkNames, advice: bool) -> String {
    match item {
        EventItem::Event(event) => {
            let line = ring::line(&event.record, &event.payload, links);
            match ring::event_advice(&event.payload).filter(|_| advice) {
                Some(advice) => format!("{line}\n    to do: {advice}"),
                None => line,
            }
        }
        EventItem::Lost { stream, loss } => {
            format!("--- {} events of {stream} are lost ({}) ---", loss.records(), loss.cause.name())
        }
        EventItem::Series { stream } => format!("--- {stream} begins anew ---"),
    }
}

fn in_json(item: &EventItem, links: &LinkNames) -> Value {
    match item {
        EventItem::Event(event) => {
            let mut object = ring::json(&event.record, &event.payload, links);
            object["ring"] = event.stream.to_string().into();
            object
        }
        EventItem::Lost { stream, loss } => {
            json!({"kind": "lost", "ring": stream.to_string(), "records": loss.records(), "cause": loss.cause.name()})
        }
        EventItem::Series { stream } => json!({"kind": "series", "ring": stream.to_string()}),
    }
}

#[cfg(test)]
mod tests {
    use fep_event_ring::EventRing;
    use fep_record::Session;

    use super::*;

    fep_events::event_codes! {
        /// Of this test.
        enum TestEvent {
            /// Good.
            Good = 1, "good", Normal, "nothing";
            /// Bad.
            Bad = 2, "bad_thing", Distress, "look at it";
        }
    }

    // REQ: FEP-KIT-254
    #[test]
    fn events_of_every_ring_are_shown_by_severity_and_spacecraft_with_what_to_do_on_demand() {
        let directory = tempfile::tempdir().expect("a directory");
        for process in ["one", "other"] {
            let ring = EventRing::open(directory.path(), process).expect("a ring");
            ring.sender().report(TestEvent::Good, 7, Session::Ops, json!({"link": "north"}));
            ring.sender().report(TestEvent::Bad, 9, Session::Test, json!({"spacecraft": "leo", "lost": 3}));
        }
        let mut follow = EventFollow::open(EventFollowSpec {
            rings: directory.path().to_owned(),
            archive: None,
            cursors: None,
            consumer: "test".to_owned(),
            start: Start::Oldest,
            patience: Duration::ZERO,
        })
        .expect("it follows");
        let items: Vec<EventItem> = std::iter::from_fn(|| follow.next_item()).collect();
        let shown = |severity: u8, spacecraft: Option<(&str, &[u16])>| {
            let spacecraft =
                spacecraft.map(|(name, links)| (name.to_owned(), links.iter().copied().collect()));
            let wanted = Wanted { severity, spacecraft };
            let events = items.iter().filter_map(|item| match item {
                EventItem::Event(event) if wanted.includes(event) => {
                    Some((event.stream.ring.as_str(), event.event.code))
                }
                _ => None,
            });
            events.collect::<BTreeSet<_>>()
        };
        let all =
            BTreeSet::from([("one.events", 1), ("one.events", 2), ("other.events", 1), ("other.events", 2)]);
        let bad = BTreeSet::from([("one.events", 2), ("other.events", 2)]);
        let good = BTreeSet::from([("one.events", 1), ("other.events", 1)]);
        assert_eq!(shown(0, None), all);
        assert_eq!(shown(fep_events::Severity::Warning as u8, None), bad);
        assert_eq!(shown(fep_events::Severity::Critical as u8, None), BTreeSet::new());
        assert_eq!(shown(0, Some(("leo", &[]))), bad, "the merged spacecraft by its name");
        assert_eq!(shown(0, Some(("north-sat", &[7]))), good, "a link by its number");
        let links = LinkNames(vec![(7, "north".to_owned())]);
        let item = items.iter().find(|item| matches!(item, EventItem::Event(event) if event.event.code == 2));
        let item = item.expect("it came");
        let (plain, advised) = (in_words(item, &links, false), in_words(item, &links, true));
        assert!(plain.contains(" DISTRESS bad thing lost=3") && !plain.contains("look"), "{plain}");
        assert_eq!(advised, format!("{plain}\n    to do: look at it"));
        let object = in_json(item, &links);
        assert_eq!((&object["severity"], &object["spacecraft"]), (&json!("DISTRESS"), &json!("leo")));
        assert_eq!(object["event"]["advice"], "look at it");
    }
}
