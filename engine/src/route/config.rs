//! The section `routes` of a configuration file in YAML, with Beyla's keys: the same for a capture and for a replay.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::Spanned;

use super::{Pattern, Rules};

/// The section as it is written.
#[derive(Deserialize)]
pub struct Section {
    patterns: Option<Vec<Spanned<String>>>,
    ignored_patterns: Option<Vec<Spanned<String>>>,
    ignore_mode: Option<Spanned<String>>,
    unmatched: Option<Spanned<String>>,
    wildcard_char: Option<Spanned<String>>,
    max_path_segment_cardinality: Option<i64>,
    #[serde(flatten)]
    #[expect(clippy::zero_sized_map_values, reason = "only maps take up what is left")]
    unknown: BTreeMap<String, IgnoredAny>,
}

/// What is wrong with a configuration file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    /// The line, from 1; 0 when there is none to blame.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl Fault {
    /// The value of a key is wrong.
    pub fn of<T>(value: &Spanned<T>, reason: String) -> Self {
        Self { line: value.referenced.line(), reason }
    }
}

impl From<serde_saphyr::Error> for Fault {
    fn from(error: serde_saphyr::Error) -> Self {
        let line = error.location().map_or(0, |location| location.line());
        // The first line says what is wrong; the others show where in the text.
        let reason = error.without_snippet().to_string();
        Self { line, reason: reason.lines().next().unwrap_or_default().to_owned() }
    }
}

impl Section {
    /// The rules that the section gives; what it leaves out is as in [`Rules::default`]. Keys that it should not have are
    /// added to `unknown`.
    ///
    /// # Errors
    ///
    /// A value that means nothing.
    pub fn rules(self, unknown: &mut Vec<String>) -> Result<Rules, Fault> {
        let mut rules = Rules::default();
        unknown.extend(self.unknown.into_keys().map(|key| format!("routes.{key}")));
        rules.patterns = patterns(self.patterns)?;
        rules.ignored = patterns(self.ignored_patterns)?;
        if let Some(mode) = self.ignore_mode {
            rules.ignore_mode = value(&mode, "ignore_mode: ")?;
        }
        if let Some(unmatched) = self.unmatched {
            rules.unmatched = value(&unmatched, "unmatched: ")?;
        }
        if let Some(wildcard) = self.wildcard_char {
            rules.wildcard = value(&wildcard, "wildcard_char: ")?;
        }
        if let Some(limit) = self.max_path_segment_cardinality {
            rules.max_segment_cardinality = usize::try_from(limit).unwrap_or(0);
        }
        Ok(rules)
    }
}

fn patterns(texts: Option<Vec<Spanned<String>>>) -> Result<Vec<Pattern>, Fault> {
    texts.unwrap_or_default().iter().map(|text| value(text, "")).collect()
}

fn value<T: FromStr<Err: Display>>(text: &Spanned<String>, key: &str) -> Result<T, Fault> {
    text.value.parse().map_err(|error| Fault::of(text, format!("{key}{error}")))
}
