//! Formats of an exposition, and which one a client wants.

/// A format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The text format of Prometheus, version 0.0.4: neither exemplars nor native histograms.
    #[default]
    Text,
    /// OpenMetrics 1.0: with exemplars.
    OpenMetrics,
    /// Messages `io.prometheus.client.MetricFamily`, each after its length: with exemplars and native histograms.
    Protobuf,
}

impl Format {
    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// The format that the value of `Accept` likes best, the first of equals. Text when it likes none.
    pub fn negotiate(accept: &str) -> Self {
        let mut best = (0.0, Self::Text);
        for range in accept.split(',') {
            if let Some((quality, format)) = acceptable(range).filter(|(quality, _)| *quality > best.0) {
                best = (quality, format);
            }
        }
        best.1
    }
}

/// What a media range allows, and how much it is liked, 0 to 1. None for what is not spoken here.
fn acceptable(range: &str) -> Option<(f32, Format)> {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let (mut quality, mut version, mut proto, mut encoding) = (1.0, None, None, None);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match &*name.trim().to_ascii_lowercase() {
            "q" => quality = value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?,
            "version" => version = Some(value),
            "proto" => proto = Some(value),
            "encoding" => encoding = Some(value),
            _ => {}
        }
    }
    let format = match &*kind {
        "*/*" | "text/*" => Format::Text,
        "text/plain" if matches!(version, None | Some("0.0.4")) => Format::Text,
        "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => Format::OpenMetrics,
        "application/vnd.google.protobuf"
            if proto == Some("io.prometheus.client.MetricFamily") && encoding == Some("delimited") =>
        {
            Format::Protobuf
        }
        _ => return None,
    };
    Some((quality, format))
}

#[cfg(test)]
mod tests {
    use super::Format::{self, OpenMetrics, Protobuf, Text};

    #[test]
    fn clients_get_what_they_like_best() {
        for (accept, expected) in [
            // Prometheus 2: as it comes, with native histograms, and before OpenMetrics 1.0.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                 application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Protobuf,
            ),
            ("application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Text),
            // Prometheus 3: likewise.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
                 application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Protobuf,
            ),
            ("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3", Text),
            // A browser, curl, and nobody.
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", Text),
            ("*/*", Text),
            ("", Text),
            // What order, case, spaces and quotes do.
            ("text/plain;q=0.5, Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=0.9", OpenMetrics),
            ("text/plain,application/openmetrics-text", Text),
            ("application/openmetrics-text;version=1.0.0;q=0", Text),
            ("application/openmetrics-text;version=2.0.0", Text),
            // What makes no sense.
            ("application/openmetrics-text;q=NaN", Text),
            ("application/openmetrics-text;q=7,,;;=;q", Text),
            ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", Text),
            ("application/vnd.google.protobuf", Text),
        ] {
            assert_eq!(Format::negotiate(accept), expected, "{accept}");
        }
    }
}
