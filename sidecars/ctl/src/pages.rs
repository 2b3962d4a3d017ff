//! The metric pages without the daemon: the last figures of one that has died, under the names that a live one gives them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use fep_bus::{BUCKETS, MetricReader, MetricValue, bucket_end};

use crate::failure::Failure;
use crate::terminal::say;

/// Pages in which a daemon leaves its frame counters to its successor: positions, not metrics. They are made under another
/// name than they are found by.
const COUNTERS_SUFFIXES: [&str; 2] = [".counters", ".new"];

/// Lines of one metric, what it counts, and its kind, by its name.
type Families = BTreeMap<String, (String, &'static str, String)>;

/// Every page of the bus in `bus_dir` as Prometheus text.
pub(crate) fn prometheus_text(bus_dir: &Path) -> Result<String, Failure> {
    let pages = MetricReader::open_all(bus_dir).map_err(|error| Failure::new(error.to_string()))?;
    if pages.is_empty() {
        return Err(Failure::no_daemon(format!(
            "no daemon answers, and there is no metric page below {} either",
            bus_dir.display()
        ))
        .hint("start one with `fepctl up`, or name its directory with --run-dir or --config"));
    }
    let mut families = Families::new();
    for page in pages {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                say!("fepctl: {error}");
                continue;
            }
        };
        if COUNTERS_SUFFIXES.iter().any(|suffix| page.name().ends_with(suffix)) {
            continue;
        }
        let is_merge = page.iter().any(|(name, _)| name.starts_with("merge."));
        let role = format!("{}=\"{}\"", if is_merge { "spacecraft" } else { "link" }, page.name());
        for (name, value) in page.iter() {
            add(&mut families, &role, name, &value);
        }
    }
    Ok(families.into_iter().fold(String::new(), |mut text, (name, (help, kind, lines))| {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}");
        text
    }))
}

/// Adds one metric of a page; its parts are separated by dots. `role` is the label that says whose it is.
fn add(families: &mut Families, role: &str, name: &str, value: &MetricValue) {
    let parts: Vec<&str> = name.split('.').collect();
    let (name, labels) = match parts.as_slice() {
        ["bad", reason] => ("bad_frames".to_owned(), format!("{role},reason=\"{reason}\"")),
        ["vc", scid, vcid, what] => (format!("vc_{what}"), format!("{role},vc=\"{scid}/{vcid}\"")),
        ["antenna", antenna, what] => (format!("antenna_{what}"), format!("{role},antenna=\"{antenna}\"")),
        ["latency", stage] if matches!(value, MetricValue::Histogram(_)) => {
            let stage = stage.trim_end_matches("_ns");
            ("latency".to_owned(), format!("{role},stage=\"{stage}\""))
        }
        parts => (parts.join("_"), role.to_owned()),
    };
    let help = fep_control::metrics::help(&name).unwrap_or(&name).to_owned();
    let (name, kind) = match value {
        MetricValue::Counter(_) => (format!("fep_{name}_total"), "counter"),
        MetricValue::Gauge(_) => (format!("fep_{name}"), "gauge"),
        MetricValue::Histogram(_) => (format!("fep_{name}_seconds"), "histogram"),
    };
    let (_, _, lines) = families.entry(name.clone()).or_insert((help, kind, String::new()));
    // Writing to a string does not fail.
    let _ = match value {
        MetricValue::Counter(value) | MetricValue::Gauge(value) => {
            writeln!(lines, "{name}{{{labels}}} {value}")
        }
        MetricValue::Histogram(values) => {
            let mut below = 0;
            for bucket in 0..BUCKETS - 1 {
                below += values.buckets[bucket];
                // From 1 µs to 1 s, as the daemon shows them.
                if (10..=30).contains(&bucket) {
                    let end = bucket_end(bucket) as f64 / 1e9;
                    let _ = writeln!(lines, "{name}_bucket{{{labels},le=\"{end}\"}} {below}");
                }
            }
            let (sum, count) = (values.sum as f64 / 1e9, values.count);
            let _ = writeln!(lines, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
            writeln!(lines, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}")
        }
    };
}
