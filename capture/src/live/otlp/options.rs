//! Where spans and metrics are sent.

use std::time::Duration;

use beyla_engine::otlp::Signal;
use ureq::http::{HeaderName, HeaderValue, Uri, uri::Scheme};

use crate::live::OtlpOptions;

/// Where spans and metrics are sent, and how.
#[derive(Clone, Debug)]
pub struct Options {
    traces: Option<Uri>,
    metrics: Option<Uri>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) timeout: Duration,
    /// Time from one sending of metrics to the next.
    pub(in crate::live) interval: Duration,
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
    /// It is no header.
    #[error("header {0:?} is none that HTTP allows")]
    Header(String),
}

impl Options {
    /// What was asked for; None when nothing is to be sent.
    pub fn of(wanted: &OtlpOptions) -> Result<Option<Self>, Error> {
        let whole = |endpoint: &Option<String>| endpoint.as_deref().map(url).transpose();
        let (traces, metrics) = (whole(&wanted.traces_endpoint)?, whole(&wanted.metrics_endpoint)?);
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        let headers = wanted.headers.iter().map(|(name, value)| {
            // Only the name is shown: the value may be a secret.
            let error = || Error::Header(name.clone());
            let mut value = HeaderValue::from_str(value).map_err(|_| error())?;
            value.set_sensitive(true);
            Ok((name.parse().map_err(|_| error())?, value))
        });
        let headers = headers.collect::<Result<_, Error>>()?;
        let (timeout, interval) = (wanted.timeout, wanted.interval);
        Ok(Some(Self { traces, metrics, headers, timeout, interval }))
    }

    /// Where a signal is sent; None when it is not.
    pub(in crate::live) fn url(&self, signal: Signal) -> Option<&Uri> {
        match signal {
            Signal::Traces => self.traces.as_ref(),
            Signal::Metrics => self.metrics.as_ref(),
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

    fn of(traces: &str, headers: &[(&str, &str)]) -> Result<Option<Options>, Error> {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let headers = headers.collect();
        Options::of(&OtlpOptions {
            traces_endpoint: Some(traces.to_owned()),
            headers,
            ..OtlpOptions::default()
        })
    }

    #[test]
    fn an_endpoint_is_the_url_of_a_receiver() {
        for endpoint in ["http://localhost:4318/v1/traces", "http://[::1]:4318/otlp"] {
            let options = of(endpoint, &[]).unwrap().unwrap();
            assert_eq!(options.url(Signal::Traces).unwrap().to_string(), endpoint);
            assert_eq!(options.url(Signal::Metrics), None);
        }
        for bad in ["", "localhost", "localhost:4318", "ftp://localhost", "/v1", "http://"] {
            assert!(matches!(of(bad, &[]), Err(Error::Endpoint(_))), "{bad}");
        }
        assert!(matches!(of("https://localhost", &[]), Err(Error::Tls(_))));
        assert!(matches!(of("http://me:secret@localhost", &[]), Err(Error::Credentials)));
        assert!(Options::of(&OtlpOptions::default()).unwrap().is_none());
    }

    #[test]
    fn headers_may_be_secret() {
        let options = of("http://a", &[("Authorization", "Basic c2VjcmV0PQ==")]).unwrap().unwrap();
        let [(name, value)] = &options.headers[..] else { panic!("{options:?}") };
        assert_eq!((name.as_str(), value.as_bytes()), ("authorization", &b"Basic c2VjcmV0PQ=="[..]));
        assert!(!format!("{options:?}").contains("c2VjcmV0"));
        for bad in [("", "secret"), ("a b", "secret"), ("a", "secret\r\nb: c")] {
            let error = of("http://a", &[bad]).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
