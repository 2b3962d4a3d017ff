//! `fepctl archive completeness`: how much came in a span of time, and when nothing did.

use std::collections::BTreeSet;
use std::io::{self, Write};

use fep_client::blocking::Client;
use fep_client::model::archive::Shares;
use fep_client::{Query, Verbatim, api};
use serde::Deserialize;
use serde_json::{Value, json};

use super::archive;
use super::args::CompletenessArgs;
use super::select::last_span;
use crate::failure::Failure;
use crate::service::Reached;
use crate::terminal::print;
use crate::{figures, times};

/// Runs the command.
pub(crate) fn run(args: &CompletenessArgs) -> Result<(), Failure> {
    let now = || fep_archive_query::time_text(fep_time::tai_now().0);
    let (from, to) = match (&args.last, &args.from) {
        (Some(last), _) => last_span(last)?,
        (None, Some(from)) => (from.clone(), args.to.clone().unwrap_or_else(now)),
        (None, None) => return Err(Failure::usage("the span has no beginning: give --from or --last")),
    };
    let wanted = args.scid.as_deref().map(numbers).transpose()?;
    let client = args.plain.target.client()?;
    // The service answers for one spacecraft at a time.
    let scids = match wanted {
        Some(ranges) if ranges.iter().all(|(first, last)| first == last) => {
            ranges.into_iter().map(|(scid, _)| scid).collect()
        }
        ranges => known_spacecraft(&client, ranges.as_deref())?,
    };
    let mut answers = Vec::new();
    for scid in scids {
        let query = Query::new()
            .with("scid", Some(scid))
            .with("from", Some(&from))
            .with("to", Some(&to))
            .with("session", Some(&args.session))
            .with("link", args.link)
            .with("unit", args.packets.then_some("packets"));
        let call = api::archive::completeness(&query).answering::<Verbatim<Shares>>();
        answers.push((scid, client.call(&call).map_err(archive)?.json));
    }
    let found = together(answers);
    let shares = Shares::deserialize(&found).map_err(|error| Failure::new(error.to_string()))?;
    print(args.plain.json, &found, |out| table(out, &shares))
}

/// `1,5,10-20` as ranges of numbers.
fn numbers(text: &str) -> Result<Vec<(u16, u16)>, Failure> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some((first, last))
    };
    text.split(',').map(range).collect::<Option<Vec<_>>>().ok_or_else(|| {
        Failure::usage(format!(
            "--scid: {text:?} is no list (allowed: numbers of 0 to 65535 and ranges, as 1,5,10-20)"
        ))
    })
}

/// The spacecraft of which the archive holds something, within these ranges if there are any.
fn known_spacecraft(client: &Client, ranges: Option<&[(u16, u16)]>) -> Result<BTreeSet<u16>, Failure> {
    let channels = client.call(&api::archive::channels()).map_err(archive)?;
    let scids = channels.iter().map(|channel| channel.scid);
    let wanted = |scid: &u16| ranges.is_none_or(|ranges| ranges.iter().any(|(a, b)| (a..=b).contains(&scid)));
    Ok(scids.filter(wanted).collect())
}

/// The answers for several spacecraft as one: `silences` name theirs, and counting ends with the first that ends.
fn together(answers: Vec<(u16, Value)>) -> Value {
    let (mut channels, mut silences, mut counted_to) = (Vec::new(), Vec::new(), None::<i64>);
    for (scid, mut answer) in answers {
        if let Value::Array(found) = answer["channels"].take() {
            channels.extend(found);
        }
        if let Value::Array(found) = answer["silences"].take() {
            silences.extend(found.into_iter().map(|mut silence| {
                silence["scid"] = scid.into();
                silence
            }));
        }
        if let Some(at) = answer["counted_to_tai_ns"].as_i64() {
            counted_to = Some(counted_to.map_or(at, |earliest| earliest.min(at)));
        }
    }
    json!({"channels": channels, "silences": silences, "counted_to_tai_ns": counted_to})
}

fn table(out: &mut impl Write, found: &Shares) -> io::Result<()> {
    let link = |of: Option<u16>| of.map_or_else(|| "all".to_owned(), |link| link.to_string());
    writeln!(
        out,
        "{:<14} {:>5} {:>14} {:>10} {:>7} {:>11}",
        "CHANNEL", "LINK", "RECEIVED", "LOST", "RESETS", "SHARE"
    )?;
    for channel in &found.channels {
        let apid = channel.apid.map(|apid| format!("/{apid}")).unwrap_or_default();
        writeln!(
            out,
            "{:<14} {:>5} {:>14} {:>10} {:>7} {:>9.4} %",
            format!("{}/{}{apid}", channel.scid, channel.vcid),
            link(channel.link),
            figures::grouped(channel.received),
            figures::grouped(channel.lost),
            figures::grouped(channel.resets),
            100.0 * channel.share,
        )?;
    }
    for silence in &found.silences {
        writeln!(
            out,
            "silence of {}, link {}: {} to {}",
            silence.scid.map(|scid| scid.to_string()).unwrap_or_default(),
            link(silence.link),
            times::utc(silence.from_tai_ns.0, 0),
            times::utc(silence.to_tai_ns.0, 0)
        )?;
    }
    let Some(counted_to) = found.counted_to_tai_ns else {
        return writeln!(
            out,
            "no sealed segment holds anything of such a spacecraft; what was not sealed yet (recorder.seal_after_s) is not counted"
        );
    };
    writeln!(out, "counted to {}:", times::utc(counted_to.0, 0))?;
    writeln!(out, "what came later is not in sealed segments yet, if it is before --to")
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-CTL-102
    #[test]
    fn spacecraft_are_numbers_and_ranges_and_their_answers_become_one() {
        assert_eq!(numbers("1,5,10-20").ok(), Some(vec![(1, 1), (5, 5), (10, 20)]));
        for wrong in ["", "x", "1,", "20-10", "65536", "-1"] {
            assert!(numbers(wrong).is_err(), "{wrong}");
        }
        let answer = |channel: &str, to: i64| json!({"channels": [channel], "silences": [{"link": null}], "counted_to_tai_ns": to});
        let found = together(vec![(1, answer("a", 20)), (2, answer("b", 10))]);
        let silences = json!([{"link": null, "scid": 1}, {"link": null, "scid": 2}]);
        assert_eq!(found, json!({"channels": ["a", "b"], "silences": silences, "counted_to_tai_ns": 10}));
    }
}
