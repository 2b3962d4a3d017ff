//! Counters and gauges of a process as Prometheus text.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus::{Encoder, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::Problem;

/// The metrics of a process. Clones share them. Names begin with the prefix given and are registered once, at start.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    prefix: String,
}

impl Metrics {
    /// No metric yet. `prefix` is the process as metrics know it, e.g. `fep_archive`.
    #[must_use]
    pub fn new(prefix: &str) -> Metrics {
        Metrics { registry: Registry::new(), prefix: prefix.to_owned() }
    }

    /// Counters `PREFIX_NAME_total` with these labels.
    ///
    /// # Errors
    /// When the name is taken or no name at all: a mistake of the program.
    pub fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let vector = IntCounterVec::new(Opts::new(format!("{}_{name}_total", self.prefix), help), labels)?;
        self.registry.register(Box::new(vector.clone()))?;
        Ok(vector)
    }

    /// Gauges `PREFIX_NAME` with these labels.
    ///
    /// # Errors
    /// As [`Metrics::counters`].
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        let vector = IntGaugeVec::new(Opts::new(format!("{}_{name}", self.prefix), help), labels)?;
        self.registry.register(Box::new(vector.clone()))?;
        Ok(vector)
    }

    /// Everything, as the answer to `GET /metrics`.
    ///
    /// # Errors
    /// When the text cannot be made, which would be a fault of the program.
    pub fn answer(&self) -> Result<Response, Problem> {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .map_err(|error| Problem::fault("writing the metrics", &error))?;
        Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    // REQ: FEP-KIT-005
    #[tokio::test]
    async fn what_is_counted_stands_in_the_text_and_a_name_is_given_once() {
        let metrics = Metrics::new("fep_x");
        let requests = metrics.counters("requests", "Requests answered.", &["path"]).expect("a free name");
        assert!(metrics.counters("requests", "again", &[]).is_err());
        requests.with_label_values(&["/a"]).inc_by(3);
        metrics.gauges("lag", "Lag.", &[]).expect("a free name").with_label_values::<&str>(&[]).set(-2);
        let body = metrics.answer().expect("text").into_body().collect().await.expect("in memory").to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(text.contains("fep_x_requests_total{path=\"/a\"} 3"), "{text}");
        assert!(text.contains("fep_x_lag -2"), "{text}");
    }
}
