//! Reading the metric page of a role.

use fep_bus::{Log2Hist, MetricReader, MetricValue, bucket_end};
use fep_control::api::{AntennaStatus, LatencyStatus, NamedCount, VcStatus};
use fep_downlink::{AntennaCounts, Counts, Ledger, VcLedger};
use fep_mission::ChannelConfig;
use fep_record::BadReason;
use hdrhistogram::Histogram;

use super::{LINK_STATES, STAGES, SYNC_STATES};

/// Everything a page says at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    values: Vec<(String, MetricValue)>,
}

impl Reading {
    pub(crate) fn of(reader: &MetricReader) -> Reading {
        Reading { values: reader.iter().map(|(name, value)| (name.to_owned(), value)).collect() }
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        match self.values.iter().find(|(found, _)| found == name) {
            Some((_, MetricValue::Counter(value) | MetricValue::Gauge(value))) => *value,
            _ => 0,
        }
    }

    pub(crate) fn values(&self) -> &[(String, MetricValue)] {
        &self.values
    }

    pub(crate) fn state(&self) -> &'static str {
        LINK_STATES.get(self.number("link.state") as usize).copied().unwrap_or("unknown")
    }

    pub(crate) fn sync_state(&self) -> &'static str {
        SYNC_STATES.get(self.number("sync.state") as usize).copied().unwrap_or("unknown")
    }

    /// Numbers whose name begins with `prefix` and a dot, without it; all but the state.
    pub(crate) fn named(&self, prefix: &str) -> Vec<NamedCount> {
        let counters = self.values.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(prefix)?.strip_prefix('.')?;
            match value {
                MetricValue::Counter(value) | MetricValue::Gauge(value) if name != "state" => {
                    Some(NamedCount { name: name.to_owned(), value: *value })
                }
                _ => None,
            }
        });
        counters.collect()
    }

    pub(crate) fn ledger(&self) -> Ledger {
        let counts =
            Counts::from_values(Counts::NAMES.iter().map(|name| self.number(&format!("chain.{name}"))));
        let mut ledger = Ledger { counts, ..Ledger::default() };
        for reason in BadReason::ALL {
            ledger.bad.set(*reason, self.number(&format!("bad.{}", reason.name())));
        }
        ledger
    }

    pub(crate) fn vcs(&self, channel: &ChannelConfig, counts: &CounterReading) -> Vec<VcStatus> {
        let statuses = channel.vcs.iter().map(|vc| {
            let prefix = format!("vc.{}.{}", vc.scid, vc.id);
            let numbers = VcLedger::NAMES.iter().map(|name| self.number(&format!("{prefix}.{name}")));
            VcStatus {
                gvcid: format!("{}/{}", vc.scid, vc.id),
                name: vc.name.clone(),
                service: serde_json::to_value(vc.service)
                    .ok()
                    .and_then(|service| service.as_str().map(str::to_owned))
                    .unwrap_or_default(),
                ledger: VcLedger::from_values(numbers),
                last_count: counts.last(vc.scid, vc.id),
            }
        });
        statuses.collect()
    }

    /// An antenna of a merge.
    pub(crate) fn antenna(&self, link: &str, number: u16) -> AntennaStatus {
        let count = |name: &str| self.number(&format!("antenna.{link}.{name}"));
        AntennaStatus {
            link: link.to_owned(),
            number,
            heard: count("heard") == 1,
            waited_for: count("waited_for") == 1,
            counts: AntennaCounts {
                received: count("received"),
                served: count("served"),
                duplicates: count("duplicates"),
                late: count("late"),
                bad: count("bad"),
                pending: count("pending"),
            },
            lost_on_bus: count("lost_on_bus"),
        }
    }

    pub(crate) fn latency(&self) -> Vec<LatencyStatus> {
        let statuses = STAGES.iter().filter_map(|stage| {
            let (_, MetricValue::Histogram(histogram)) =
                self.values.iter().find(|(name, _)| *name == format!("latency.{stage}_ns"))?
            else {
                return None;
            };
            let max_ns = self.number(&format!("latency.{stage}_max_ns"));
            let fine = to_hdr(histogram, max_ns);
            // The histogram answers with the end of a class of values, which may lie beyond the largest.
            let at = |part| fine.value_at_quantile(part).min(max_ns);
            Some(LatencyStatus {
                stage: (*stage).to_owned(),
                count: histogram.count,
                p50_ns: at(0.5),
                p99_ns: at(0.99),
                p999_ns: at(0.999),
                max_ns,
            })
        });
        statuses.collect()
    }
}

/// Every value at the upper end of its power of two, none above the largest ever seen: percentiles err upwards.
fn to_hdr(histogram: &Log2Hist, max_ns: u64) -> Histogram<u64> {
    // 0 to 2^62 ns with two digits always makes a histogram; if it ever did not, an empty one is shown.
    let Ok(mut fine) = Histogram::<u64>::new_with_bounds(1, 1 << 62, 2) else {
        return Histogram::new(1).unwrap_or_else(|_| unreachable!("one digit is always accepted"));
    };
    for (bucket, count) in histogram.buckets.iter().enumerate() {
        if *count > 0 {
            fine.saturating_record_n(bucket_end(bucket).min(max_ns).clamp(1, 1 << 62), *count);
        }
    }
    fine
}

/// Last counts of the virtual channels, out of the page that survives a restart.
#[derive(Debug, Clone, Default)]
pub(crate) struct CounterReading(Reading);

impl CounterReading {
    pub(crate) fn of(reader: &MetricReader) -> CounterReading {
        CounterReading(Reading::of(reader))
    }

    fn last(&self, scid: u16, vcid: u8) -> Option<u32> {
        self.0.number(&format!("next.{scid}.{vcid}")).checked_sub(1).map(|count| count as u32)
    }
}

#[cfg(test)]
mod tests {
    use fep_bus::BUCKETS;

    use super::*;

    // REQ: FEP-ENG-312
    #[test]
    fn no_percentile_of_a_latency_lies_beyond_the_largest_value() {
        for max_ns in [0, 1, 999, 20_471_474, 1 << 40, (1 << 40) + 12_345] {
            let bucket = (0..BUCKETS).find(|bucket| bucket_end(*bucket) >= max_ns).expect("a bucket");
            let mut buckets = [0; BUCKETS];
            buckets[bucket] = 3;
            let histogram = Log2Hist { count: 3, sum: 3 * max_ns, buckets };
            let values = vec![
                ("latency.decoded_ns".to_owned(), MetricValue::Histogram(histogram)),
                ("latency.decoded_max_ns".to_owned(), MetricValue::Gauge(max_ns)),
            ];
            let status = Reading { values }.latency().remove(0);
            assert_eq!([status.p50_ns, status.p99_ns, status.p999_ns], [max_ns; 3]);
        }
    }
}
