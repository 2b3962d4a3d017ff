//! `fepctl archive completeness`: how much came in a span of time, and when nothing did.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::args::CompletenessArgs;
use super::client::Client;
use super::print;
use super::select::last_span;
use crate::daemon::path_segment;
use crate::failure::Failure;
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
    let client = Client::of(&args.plain.target)?;
    // The service answers for one spacecraft at a time.
    let scids = match wanted {
        Some(ranges) if ranges.iter().all(|(first, last)| first == last) => {
            ranges.into_iter().map(|(scid, _)| scid).collect()
        }
        ranges => known_spacecraft(&client, ranges.as_deref())?,
    };
    let mut answers = Vec::new();
    for scid in scids {
        let mut query = format!(
            "/v1/completeness?scid={scid}&from={}&to={}&session={}",
            path_segment(&from),
            path_segment(&to),
            path_segment(&args.session),
        );
        if let Some(link) = args.link {
            query.push_str(&format!("&link={link}"));
        }
        if args.packets {
            query.push_str("&unit=packets");
        }
        answers.push((scid, client.get::<Value>(&query)?));
    }
    let found = together(answers);
    print(args.plain.json, &found, |out| table(out, &found))
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
    let channels: Vec<Value> = client.get("/v1/channels")?;
    let scids = channels.iter().filter_map(|channel| u16::try_from(channel["scid"].as_u64()?).ok());
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

fn table(out: &mut impl Write, found: &Value) -> io::Result<()> {
    let link = |of: &Value| of["link"].as_u64().map_or_else(|| "all".to_owned(), |link| link.to_string());
    writeln!(
        out,
        "{:<14} {:>5} {:>14} {:>10} {:>7} {:>11}",
        "CHANNEL", "LINK", "RECEIVED", "LOST", "RESETS", "SHARE"
    )?;
    for channel in found["channels"].as_array().into_iter().flatten() {
        let number = |key: &str| figures::grouped(channel[key].as_u64().unwrap_or_default());
        let apid = channel["apid"].as_u64().map(|apid| format!("/{apid}")).unwrap_or_default();
        writeln!(
            out,
            "{:<14} {:>5} {:>14} {:>10} {:>7} {:>9.4} %",
            format!("{}/{}{apid}", channel["scid"], channel["vcid"]),
            link(channel),
            number("received"),
            number("lost"),
            number("resets"),
            100.0 * channel["share"].as_f64().unwrap_or_default(),
        )?;
    }
    for silence in found["silences"].as_array().into_iter().flatten() {
        let at = |key: &str| times::utc(silence[key].as_i64().unwrap_or_default(), 0);
        writeln!(
            out,
            "silence of {}, link {}: {} to {}",
            silence["scid"],
            link(silence),
            at("from_tai_ns"),
            at("to_tai_ns")
        )?;
    }
    if found["counted_to_tai_ns"].is_null() {
        return writeln!(out, "the archive holds nothing of such a spacecraft");
    }
    let counted_to = times::utc(found["counted_to_tai_ns"].as_i64().unwrap_or_default(), 0);
    writeln!(
        out,
        "counted to {counted_to}: what came later is not in sealed segments yet, if it is before --to"
    )
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
