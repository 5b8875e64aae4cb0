//! One request to the receiver, and what its answer means.

use std::time::Duration;

use beyla_engine::otlp::{Payload, Rejection, Signal, rejection};
use ureq::http::{HeaderMap, StatusCode, Uri, header};
use ureq::{Agent, Error};

use super::Options;

/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 << 10;

/// Characters of a receiver's message that are shown.
const MAX_MESSAGE: usize = 200;

/// Sends payloads over connections that it keeps open.
pub(super) struct Sender {
    agent: Agent,
    options: Options,
}

/// Why a payload, or a part of it, was not delivered.
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// For people.
    pub(super) text: String,
    /// Whether another try makes sense.
    pub(super) temporary: bool,
    /// When the receiver wants it.
    pub(super) retry_after: Option<Duration>,
}

/// Failures that are told once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// There was no answer.
    NoAnswer,
    /// The answer had this status.
    Status(StatusCode),
    /// A part was rejected.
    Rejected,
}

impl Sender {
    pub(super) fn new(options: Options) -> Self {
        // What is sent goes where it was told to go, and nowhere else.
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("beyla-replay/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.new_agent(), options }
    }

    /// Where a signal is sent.
    pub(super) fn url(&self, signal: Signal) -> Option<&Uri> {
        self.options.url(signal)
    }

    /// Sends a payload, waiting for at most `left`. What the receiver rejected of it, if anything.
    pub(super) fn post(&self, payload: &Payload, left: Duration) -> Result<Option<Rejection>, Failure> {
        // Nobody wants it.
        let Some(url) = self.url(payload.signal) else { return Ok(None) };
        let mut request = self.agent.post(url);
        for (name, value) in &self.options.headers {
            request = request.header(name, value);
        }
        let answer = request
            .content_type("application/x-protobuf")
            .config()
            .timeout_global(Some(self.options.timeout.min(left)))
            .build()
            .send(&payload.bytes);
        let mut answer = answer.map_err(|error| Failure::no_answer(&error))?;
        if !answer.status().is_success() {
            return Err(Failure::status(answer.status(), answer.headers()));
        }
        // It was taken, whatever becomes of the rest of the answer.
        let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        Ok(body.ok().and_then(|body| rejection(&body)))
    }
}

impl Failure {
    fn no_answer(error: &Error) -> Self {
        let temporary =
            matches!(error, Error::Io(_) | Error::Timeout(_) | Error::HostNotFound | Error::ConnectionFailed);
        Self { kind: Kind::NoAnswer, text: error.to_string(), temporary, retry_after: None }
    }

    fn status(status: StatusCode, headers: &HeaderMap) -> Self {
        let retry_after =
            headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            kind: Kind::Status(status),
            text: status.to_string(),
            temporary: matches!(status.as_u16(), 429 | 502 | 503 | 504),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    /// A part was rejected, or there is a warning.
    pub(super) fn rejected(rejection: &Rejection) -> Self {
        let message: String = rejection.message.chars().take(MAX_MESSAGE).collect();
        Self {
            kind: Kind::Rejected,
            text: format!("{} rejected: {}", rejection.items, message.escape_debug()),
            temporary: false,
            retry_after: None,
        }
    }
}
