//! The metrics as Prometheus text: every number of every metric page, named `fep_…`, with the link and what it counts as
//! labels.

use std::collections::BTreeMap;

use fep_bus::{BUCKETS, Log2Hist, MetricValue, bucket_end};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use crate::supervised::{AnySupervised, Supervised, Work};
use crate::supervisor::Supervisor;
use fep_control::api::RingStatus;
use fep_control::metrics::help;

/// Metrics by family name.
#[derive(Default)]
struct Families(BTreeMap<String, MetricFamily>);

impl Families {
    /// Adds to the family `fep_<name><ending>`.
    fn add(&mut self, name: &str, ending: &str, kind: MetricType, metric: Metric) {
        let family = self.0.entry(format!("fep_{name}{ending}")).or_insert_with_key(|whole| {
            let mut family = MetricFamily::default();
            family.set_name(whole.clone());
            family.set_help(help(name).unwrap_or(name).to_owned());
            family.set_field_type(kind);
            family
        });
        family.mut_metric().push(metric);
    }

    fn counter(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        let mut metric = labelled(labels);
        metric.set_counter(counter);
        self.add(name, "_total", MetricType::COUNTER, metric);
    }

    fn gauge(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = labelled(labels);
        metric.set_gauge(gauge);
        self.add(name, "", MetricType::GAUGE, metric);
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], values: &Log2Hist) {
        let mut histogram = Histogram::default();
        histogram.set_sample_count(values.count);
        // Nanoseconds in the page, seconds in Prometheus.
        histogram.set_sample_sum(values.sum as f64 / 1e9);
        let mut below = 0;
        let mut buckets = Vec::new();
        for bucket in 0..BUCKETS - 1 {
            below += values.buckets[bucket];
            // From 1 µs to 1 s: outside nobody looks, and each line is a time series.
            if (10..=30).contains(&bucket) {
                let mut line = Bucket::default();
                line.set_cumulative_count(below);
                line.set_upper_bound(bucket_end(bucket) as f64 / 1e9);
                buckets.push(line);
            }
        }
        histogram.set_bucket(buckets);
        let mut metric = labelled(labels);
        metric.set_histogram(histogram);
        self.add(name, "_seconds", MetricType::HISTOGRAM, metric);
    }
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    let mut metric = Metric::default();
    metric.set_label(pairs.collect());
    metric
}

/// Everything, as text.
pub(crate) fn text(supervisor: &Supervisor) -> String {
    let mut families = Families::default();
    for link in supervisor.links() {
        add_role(&mut families, link);
    }
    for craft in supervisor.spacecraft() {
        add_role(&mut families, craft);
    }
    for ring in supervisor.ring_statuses() {
        add_ring(&mut families, &ring);
    }
    let mut text = Vec::new();
    let families: Vec<MetricFamily> = families.0.into_values().collect();
    if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
        tracing::error!(%error, "metrics cannot be written");
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Numbers of a role are labelled with its kind and its name: `link="pay"`, `spacecraft="leo"`.
fn add_role<J: Work>(families: &mut Families, role: &Supervised<J>) {
    let of = (J::KIND, role.name());
    families.gauge(&format!("{}_up", J::KIND), &[of], f64::from(u8::from(role.is_running())));
    families.counter(&format!("{}_restarts", J::KIND), &[of], role.role.restarts());
    for (metric, value) in role.reading().values() {
        add_metric(families, of, metric, value);
    }
    for clcw in role.clcws() {
        let (scid, vcid) = (clcw.scid.to_string(), clcw.vcid.to_string());
        let labels = [of, ("scid", scid.as_str()), ("vcid", vcid.as_str())];
        let flag = |set: bool| f64::from(u8::from(set));
        families.gauge("clcw_report_value", &labels, f64::from(clcw.report_value));
        families.gauge("clcw_farm_b_counter", &labels, f64::from(clcw.farm_b_counter));
        families.gauge("clcw_lockout", &labels, flag(clcw.lockout));
        families.gauge("clcw_wait", &labels, flag(clcw.wait));
        families.gauge("clcw_retransmit", &labels, flag(clcw.retransmit));
        families.gauge("clcw_no_rf_available", &labels, flag(clcw.no_rf_available));
        families.gauge("clcw_no_bit_lock", &labels, flag(clcw.no_bit_lock));
        families.gauge("clcw_age_seconds", &labels, clcw.age_ms as f64 / 1e3);
    }
}

fn add_metric(families: &mut Families, of: (&str, &str), name: &str, value: &MetricValue) {
    let parts: Vec<&str> = name.split('.').collect();
    match (parts.as_slice(), value) {
        (["bad", reason], MetricValue::Counter(value)) => {
            families.counter("bad_frames", &[of, ("reason", reason)], *value);
        }
        (["vc", scid, vcid, what], MetricValue::Counter(value)) => {
            let vc = format!("{scid}/{vcid}");
            families.counter(&format!("vc_{what}"), &[of, ("vc", &vc)], *value);
        }
        (["antenna", antenna, what], MetricValue::Counter(value)) => {
            families.counter(&format!("antenna_{what}"), &[of, ("antenna", antenna)], *value);
        }
        (["antenna", antenna, what], MetricValue::Gauge(value)) => {
            families.gauge(&format!("antenna_{what}"), &[of, ("antenna", antenna)], *value as f64);
        }
        ([group, what], MetricValue::Counter(value)) => {
            families.counter(&format!("{group}_{what}"), &[of], *value);
        }
        ([group, what], MetricValue::Gauge(value)) => {
            families.gauge(&format!("{group}_{what}"), &[of], *value as f64);
        }
        ([group, what], MetricValue::Histogram(values)) => {
            let what = what.strip_suffix("_ns").unwrap_or(what);
            families.histogram(group, &[of, ("stage", what)], values);
        }
        _ => {}
    }
}

fn add_ring(families: &mut Families, ring: &RingStatus) {
    let labels = [("ring", ring.name.as_str()), ("colour", ring.colour.as_str())];
    families.counter("ring_records", &labels, ring.head_seq.saturating_sub(1));
    families.counter("ring_bytes", &labels, ring.bytes);
    for gate in &ring.gates {
        let labels = [("ring", ring.name.as_str()), ("consumer", gate.consumer.as_str())];
        families.gauge("consumer_lag_records", &labels, gate.lag_records as f64);
        families.gauge("consumer_lag_bytes", &labels, gate.lag_bytes as f64);
        families.gauge("consumer_credit_percent", &labels, gate.credit_percent);
        families.counter("consumer_lost_records", &labels, gate.lost_records);
        families.counter("consumer_evictions", &labels, gate.evictions);
    }
}
