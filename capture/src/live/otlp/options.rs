//! Where spans and metrics are sent.

use std::time::Duration;

use beyla_engine::otlp::Signal;
use percent_encoding::percent_decode_str;
use ureq::http::{HeaderName, HeaderValue, Uri, uri::Scheme};

/// Where spans and metrics are sent, and how.
#[derive(Clone, Debug)]
pub struct Options {
    traces: Uri,
    metrics: Uri,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) timeout: Duration,
}

/// What is wrong with an option.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no URL of a receiver.
    #[error("{0:?} is no URL such as http://localhost:4318")]
    Endpoint(String),
    /// TLS is not spoken.
    #[error("{0:?} needs TLS: send to a collector near by over http://, and let it send on over https://")]
    Tls(String),
    /// It has a name or password.
    #[error("credentials do not belong in the URL of a receiver, but in a header")]
    Credentials,
    /// It is no list of headers.
    #[error("header {0:?} is not NAME=VALUE")]
    Header(String),
}

impl Options {
    /// Sends to the receiver at `endpoint`, a URL to which the path of each signal is added.
    pub fn new(endpoint: &str) -> Result<Self, Error> {
        let signal = |signal: Signal| url(&format!("{}/{}", endpoint.trim_end_matches('/'), signal.path()));
        Ok(Self {
            traces: signal(Signal::Traces)?,
            metrics: signal(Signal::Metrics)?,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
        })
    }

    /// Sends one signal to `endpoint`, a whole URL.
    pub fn with_endpoint(mut self, signal: Signal, endpoint: &str) -> Result<Self, Error> {
        *match signal {
            Signal::Traces => &mut self.traces,
            Signal::Metrics => &mut self.metrics,
        } = url(endpoint)?;
        Ok(self)
    }

    /// Sends `headers` along: `NAME=VALUE,NAME=VALUE`, values percent-encoded, as in `OTEL_EXPORTER_OTLP_HEADERS`.
    pub fn with_headers(mut self, headers: &str) -> Result<Self, Error> {
        for header in headers.split(',').filter(|header| !header.trim().is_empty()) {
            // Of a header that cannot be read, only the name is shown: the value may be a secret.
            let (name, value) = header.split_once('=').unwrap_or((header, ""));
            let error = || Error::Header(name.trim().to_owned());
            let decoded: Vec<u8> = percent_decode_str(value.trim()).collect();
            let mut value = HeaderValue::from_bytes(&decoded).map_err(|_| error())?;
            value.set_sensitive(true);
            self.headers.push((name.trim().parse().map_err(|_| error())?, value));
        }
        Ok(self)
    }

    /// Waits for an answer for so long.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Where a signal is sent.
    pub(super) fn url(&self, signal: Signal) -> &Uri {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        }
    }
}

fn url(text: &str) -> Result<Uri, Error> {
    let bad = || Error::Endpoint(text.to_owned());
    let url: Uri = text.parse().map_err(|_| bad())?;
    let authority = url.authority().ok_or_else(bad)?;
    if authority.as_str().contains('@') {
        return Err(Error::Credentials);
    }
    match url.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => Err(Error::Tls(text.to_owned())),
        Some(scheme) if *scheme == Scheme::HTTP && !authority.host().is_empty() => Ok(url),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_the_url_of_a_receiver() {
        for (endpoint, traces) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("http://[::1]:4318/otlp", "http://[::1]:4318/otlp/v1/traces"),
        ] {
            assert_eq!(Options::new(endpoint).unwrap().url(Signal::Traces).to_string(), traces);
        }
        let options = Options::new("http://a").unwrap().with_endpoint(Signal::Metrics, "http://b/x").unwrap();
        assert_eq!(options.url(Signal::Metrics).to_string(), "http://b/x");
        for bad in ["", "localhost", "localhost:4318", "ftp://localhost", "/v1", "http://"] {
            assert!(matches!(Options::new(bad), Err(Error::Endpoint(_))), "{bad}");
        }
        assert!(matches!(Options::new("https://localhost"), Err(Error::Tls(_))));
        assert!(matches!(Options::new("http://me:secret@localhost"), Err(Error::Credentials)));
    }

    #[test]
    fn headers_are_those_of_the_environment_variable() {
        let options = Options::new("http://a").unwrap();
        let with = options.clone().with_headers("Authorization=Basic%20c2VjcmV0PQ==, x-scope = 1,").unwrap();
        let headers: Vec<_> =
            with.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers, [("authorization", &b"Basic c2VjcmV0PQ=="[..]), ("x-scope", b"1")]);
        assert!(!format!("{with:?}").contains("c2VjcmV0"));
        for bad in ["=secret", "a b=secret", "a=secret%0d%0ab: c"] {
            let error = options.clone().with_headers(bad).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
