//! Histograms as OpenTelemetry metrics, with cumulative temporality.

use prost::Message;

use super::attributes::Attributes;
use super::message::{
    self, AggregationTemporality, ExportMetricsServiceRequest, HistogramDataPoint, Metric, ResourceMetrics,
    ScopeMetrics,
};
use super::resource::{resource, scope};
use super::{Payload, Signal};

/// One series of a histogram, as it is at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Name of the metric, such as `http.server.request.duration`.
    pub name: String,
    /// Unit of bounds and sum (UCUM): `s`, `By`.
    pub unit: String,
    /// What tells the series from others of its name and service.
    pub attributes: Vec<(String, Value)>,
    /// Upper bounds of the buckets, ascending. A value on a bound belongs to its bucket.
    pub bounds: Vec<f64>,
    /// Values of each bucket alone, and of one more above the last bound.
    pub counts: Vec<u64>,
    /// Of all values.
    pub sum: f64,
    /// Of values.
    pub count: u64,
    /// Since when values were counted; nanoseconds since 1970-01-01 UTC.
    pub start_ns: u64,
    /// Until when; nanoseconds since 1970-01-01 UTC.
    pub time_ns: u64,
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Int(u64),
}

/// Collects histograms for one payload, in their order, grouped by service and name.
#[derive(Debug)]
pub struct Metrics {
    host: String,
    services: Vec<(Box<str>, Vec<Metric>)>,
    len: u64,
}

impl Metrics {
    /// Collects histograms of services on `host`.
    pub fn new(host: String) -> Self {
        Self { host, services: Vec::new(), len: 0 }
    }

    /// Adds a series of `service`.
    pub fn add(&mut self, service: &str, histogram: Histogram) {
        let service = self.services.iter().position(|(name, _)| **name == *service).unwrap_or_else(|| {
            self.services.push((service.into(), Vec::new()));
            self.services.len() - 1
        });
        let Histogram { name, unit, bounds, counts, sum, count, start_ns, time_ns, .. } = histogram;
        let mut attributes = Attributes::default();
        for (key, value) in histogram.attributes {
            match value {
                Value::Text(text) => attributes.text(&key, text.as_str()),
                Value::Int(number) => attributes.int(&key, Some(number)),
            }
        }
        let point = HistogramDataPoint {
            start_time_unix_nano: start_ns,
            time_unix_nano: time_ns,
            count,
            sum: Some(sum),
            bucket_counts: counts,
            explicit_bounds: bounds,
            attributes: attributes.into(),
        };
        let metrics = &mut self.services[service].1;
        let metric = metrics.iter().position(|metric| metric.name == name).unwrap_or_else(|| {
            metrics.push(Metric { name, unit, histogram: Some(message::Histogram::default()) });
            metrics.len() - 1
        });
        let points = metrics[metric].histogram.get_or_insert_default();
        points.set_aggregation_temporality(AggregationTemporality::Cumulative);
        points.data_points.push(point);
        self.len += 1;
    }

    /// Takes the histograms out. None when there are none.
    pub fn take(&mut self) -> Option<Payload> {
        let items = std::mem::take(&mut self.len);
        let resource_metrics = self.services.drain(..).map(|(service, metrics)| ResourceMetrics {
            resource: Some(resource(&service, &self.host, None)),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope()), metrics }],
        });
        let request = ExportMetricsServiceRequest { resource_metrics: resource_metrics.collect() };
        (items > 0).then(|| Payload { signal: Signal::Metrics, items, bytes: request.encode_to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(name: &str, route: &str) -> Histogram {
        Histogram {
            name: name.to_owned(),
            unit: "s".to_owned(),
            attributes: vec![
                ("http.route".to_owned(), Value::Text(route.to_owned())),
                ("http.response.status_code".to_owned(), Value::Int(200)),
            ],
            bounds: vec![0.0, 0.005],
            counts: vec![0, 2, 1],
            sum: 0.5,
            count: 3,
            start_ns: 1,
            time_ns: 2,
        }
    }

    #[test]
    fn series_are_grouped_by_service_and_name() {
        let mut metrics = Metrics::new("vm".to_owned());
        assert_eq!(metrics.take(), None);
        for (service, name, route) in
            [("shop", "a", "/1"), ("cart", "a", "/1"), ("shop", "a", "/2"), ("shop", "b", "/1")]
        {
            metrics.add(service, histogram(name, route));
        }
        let payload = metrics.take().unwrap();
        super::super::leave(&payload);
        assert_eq!((payload.signal, payload.items), (Signal::Metrics, 4));
        let request = ExportMetricsServiceRequest::decode(&*payload.bytes).unwrap();
        let names: Vec<Vec<_>> = request
            .resource_metrics
            .iter()
            .map(|resource| &resource.scope_metrics[0].metrics)
            .map(|metrics| metrics.iter().map(|metric| metric.name.as_str()).collect())
            .collect();
        assert_eq!(names, [vec!["a", "b"], vec!["a"]]);
        let histogram = request.resource_metrics[0].scope_metrics[0].metrics[0].histogram.as_ref().unwrap();
        assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Cumulative);
        assert_eq!(histogram.data_points.len(), 2);
        assert_eq!(histogram.data_points[1].bucket_counts, [0, 2, 1]);
        assert_eq!(metrics.take(), None);
    }
}
