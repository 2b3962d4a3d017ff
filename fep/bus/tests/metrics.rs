//! Metric pages: what is written is what is read, in another mapping, and nonsense is refused.

use std::fs;

use fep_bus::{Access, BusError, MetricPage, MetricReader, MetricSet, MetricValue, bucket_end, bucket_of};
use proptest::prelude::*;
use tempfile::TempDir;

// REQ: FEP-BUS-016
#[test]
fn readers_see_every_metric_with_its_name_kind_and_value() {
    let dir = TempDir::new().unwrap();
    let mut set = MetricSet::new();
    let frames = set.counter("frames_total");
    let latency = set.histogram("latency_ns");
    let state = set.gauge("lock_state");
    let mut page = MetricPage::create(dir.path(), "link-1", &set, &Access::default()).unwrap();
    let readers = MetricReader::open_all(dir.path()).unwrap();
    let reader = readers[0].as_ref().unwrap();
    assert_eq!(reader.name(), "link-1");
    for value in [0, 1, 2, 3, 1000, u64::MAX] {
        page.add(frames, 2);
        page.set(state, value);
        page.record(latency, value);
    }
    let names: Vec<&str> = reader.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["frames_total", "latency_ns", "lock_state"]);
    assert_eq!(reader.value("frames_total"), Some(MetricValue::Counter(12)));
    assert_eq!(reader.value("lock_state"), Some(MetricValue::Gauge(u64::MAX)));
    assert_eq!(reader.value("nothing"), None);
    let Some(MetricValue::Histogram(histogram)) = reader.value("latency_ns") else { panic!("no histogram") };
    assert_eq!(histogram.count, 6);
    assert_eq!(histogram.sum, 1005_u64);
    assert_eq!((histogram.buckets[0], histogram.buckets[1], histogram.buckets[2]), (1, 1, 2));
    assert_eq!(histogram.quantile(0.5), Some(3));
    assert_eq!(histogram.quantile(1.0), Some(u64::MAX));
    // The values outlive their writer.
    drop(page);
    assert_eq!(reader.value("frames_total"), Some(MetricValue::Counter(12)));
}

#[test]
fn names_that_clash_or_do_not_fit_are_refused() {
    let dir = TempDir::new().unwrap();
    for names in
        [vec!["twice", "twice"], vec![""], vec!["a-name-of-more-than-forty-seven-octets-is-too-long"], vec![]]
    {
        let mut set = MetricSet::new();
        names.iter().for_each(|name| {
            set.counter(*name);
        });
        assert!(
            matches!(
                MetricPage::create(dir.path(), "page", &set, &Access::default()),
                Err(BusError::Spec { .. })
            ),
            "{names:?}"
        );
    }
    let mut set = MetricSet::new();
    set.counter("fine");
    assert!(MetricPage::create(dir.path(), "../page", &set, &Access::default()).is_err());
}

proptest! {
    // REQ: FEP-BUS-016
    #[test]
    fn every_value_falls_into_the_bucket_that_ends_at_or_after_it(value: u64) {
        let bucket = bucket_of(value);
        prop_assert!(value <= bucket_end(bucket));
        prop_assert!(bucket == 0 || value > bucket_end(bucket - 1));
    }

    #[test]
    fn a_damaged_page_is_refused_or_read_within_its_bounds(at in 0_usize..4096, value: u8) {
        let dir = TempDir::new().unwrap();
        let mut set = MetricSet::new();
        set.counter("one");
        set.histogram("two");
        let page = MetricPage::create(dir.path(), "page", &set, &Access::default()).unwrap();
        let mut octets = fs::read(page.path()).unwrap();
        octets[at] = value;
        fs::write(page.path(), &octets).unwrap();
        if let Ok(reader) = MetricReader::open(page.path()) {
            prop_assert!(reader.iter().count() <= 2);
        }
    }
}
