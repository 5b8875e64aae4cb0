//! What is asked for besides the command line: environment variables and a file in YAML, with the names of Beyla.
//!
//! Each source gives a [`Layer`]. The flags lie over the environment, the environment over the file:
//! `docs/configuration.md` lists what each of them knows.

mod environment;
mod file;
mod values;

use std::{path::PathBuf, str::FromStr, time::Duration};

use beyla_engine::{
    prometheus::Names,
    route::{Rules, Unmatched},
    trace_line::{Form, FormError},
};

use crate::target::Selectors;
pub(crate) use values::{endpoint, header, metrics_path, series_ttl};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An environment variable.
    #[error("{name}={value}: {reason}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What it is set to.
        value: String,
        /// Why that means nothing.
        reason: String,
    },
    /// Header fields in an environment variable, which may be secret.
    #[error("{0}: not a list such as name=value,name=value")]
    Headers(&'static str),
    /// A file.
    #[error("{place}: {reason}")]
    File {
        /// The file, with the line where there is one.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

/// What one source asks for. What it leaves open is none, or empty.
#[derive(Debug, Default)]
pub struct Layer {
    /// Whose events.
    pub selectors: Selectors,
    /// What all of them are reported under.
    pub service: Option<String>,
    /// Whether and how requests are printed.
    pub traces: Option<TracePrinter>,
    /// Where metrics are served.
    pub prometheus_port: Option<u16>,
    /// Under which path.
    pub prometheus_path: Option<String>,
    /// What metrics are called.
    pub names: Option<Names>,
    /// How long series without requests stay.
    pub ttl: Option<Duration>,
    /// Where spans and metrics are sent.
    pub otlp: Otlp,
    /// The route rules.
    pub routes: Option<Rules>,
    /// The route of paths without a pattern, whatever the rules say.
    pub unmatched: Option<Unmatched>,
    /// What is not used, for people.
    pub notes: Vec<String>,
}

/// What one source asks for of OTLP.
#[derive(Debug, Default)]
pub struct Otlp {
    /// The whole URL for spans.
    pub traces_endpoint: Option<String>,
    /// The whole URL for metrics.
    pub metrics_endpoint: Option<String>,
    /// Header fields of every request.
    pub headers: Vec<(String, String)>,
    /// How long a request may take.
    pub timeout: Option<Duration>,
    /// Time from one sending of metrics to the next.
    pub interval: Option<Duration>,
}

/// Whether and how requests are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TracePrinter {
    /// They are not, whatever a lower layer says.
    Disabled,
    /// In this form.
    Form(Form),
}

impl FromStr for TracePrinter {
    type Err = FormError;

    /// Beyla's names, and ours.
    fn from_str(word: &str) -> Result<Self, FormError> {
        match word {
            "disabled" => Ok(Self::Disabled),
            "json_indent" => Ok(Self::Form(Form::JsonIndent)),
            form => form.parse().map(Self::Form),
        }
    }
}

impl From<bool> for TracePrinter {
    /// As in the first Beyla, which had one form.
    fn from(print: bool) -> Self {
        if print { Self::Form(Form::Line) } else { Self::Disabled }
    }
}

impl Layer {
    /// This, and where it says nothing, what is below.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            // Together they would choose more than either of them: the upper ones stand for all.
            selectors: if self.selectors.is_empty() { below.selectors } else { self.selectors },
            service: self.service.or(below.service),
            traces: self.traces.or(below.traces),
            prometheus_port: self.prometheus_port.or(below.prometheus_port),
            prometheus_path: self.prometheus_path.or(below.prometheus_path),
            names: self.names.or(below.names),
            ttl: self.ttl.or(below.ttl),
            otlp: Otlp {
                traces_endpoint: self.otlp.traces_endpoint.or(below.otlp.traces_endpoint),
                metrics_endpoint: self.otlp.metrics_endpoint.or(below.otlp.metrics_endpoint),
                headers: if self.otlp.headers.is_empty() { below.otlp.headers } else { self.otlp.headers },
                timeout: self.otlp.timeout.or(below.otlp.timeout),
                interval: self.otlp.interval.or(below.otlp.interval),
            },
            routes: self.routes.or(below.routes),
            unmatched: self.unmatched.or(below.unmatched),
            notes: [self.notes, below.notes].concat(),
        }
    }
}

impl Otlp {
    /// The endpoints: those for one signal as they are, else what the specification makes of the one for all.
    fn at(base: Option<&str>, traces: Option<String>, metrics: Option<String>) -> Self {
        let of = |signal| base.map(|base| format!("{}/v1/{signal}", base.trim_end_matches('/')));
        Self {
            traces_endpoint: traces.or_else(|| of("traces")),
            metrics_endpoint: metrics.or_else(|| of("metrics")),
            ..Self::default()
        }
    }

    /// What flags say.
    pub(crate) fn flags(
        base: Option<&str>,
        traces: Option<String>,
        metrics: Option<String>,
        headers: Vec<(String, String)>,
    ) -> Self {
        Self { headers, ..Self::at(base, traces, metrics) }
    }
}

/// What is asked for by flags, environment and file together. `variable` looks up an environment variable; the file is
/// that of the flags, else that of the environment.
pub fn resolve(
    flags: Layer,
    file: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Layer, Error> {
    let (environment, path) = environment::read(variable)?;
    let file = match file.or(path) {
        Some(path) => file::read(&path)?,
        None => Layer::default(),
    };
    Ok(flags.over(environment).over(file))
}
