//! A configuration file in YAML with the keys of Beyla, of which those of `routes` are used here.

use std::{collections::BTreeMap, fs, path::Path};

use beyla_engine::route::{
    Rules,
    config::{Fault, Section},
};
use serde::{Deserialize, de::IgnoredAny};

use crate::Error;

/// What a configuration file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The route rules; none when the file has none.
    pub routes: Option<Rules>,
    /// Keys that are not used here, with their section.
    pub unknown: Vec<String>,
}

/// The file as it is written.
#[derive(Default, Deserialize)]
struct Document {
    routes: Option<Section>,
    #[serde(flatten)]
    #[expect(clippy::zero_sized_map_values, reason = "only maps take up what is left")]
    unknown: BTreeMap<String, IgnoredAny>,
}

/// Reads a configuration file.
pub fn read(path: &Path) -> Result<Config, Error> {
    let file = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => parse(&text).map_err(|fault| match fault {
            Fault { line: 0, reason } => Error::Config { place: file, reason },
            Fault { line, reason } => Error::Config { place: format!("{file}:{line}"), reason },
        }),
        Err(error) => Err(Error::Config { place: file, reason: error.to_string() }),
    }
}

fn parse(text: &str) -> Result<Config, Fault> {
    let document: Option<Document> = serde_saphyr::from_str(text)?;
    let Document { routes, unknown } = document.unwrap_or_default();
    let mut unknown: Vec<String> = unknown.into_keys().collect();
    let routes = routes.map(|section| section.rules(&mut unknown)).transpose()?;
    Ok(Config { routes, unknown })
}

#[cfg(test)]
mod tests {
    use beyla_engine::route::{IgnoreMode, Pattern, Unmatched};

    use super::*;

    fn fault(text: &str) -> (u64, String) {
        let fault = parse(text).err().unwrap();
        (fault.line, fault.reason)
    }

    #[test]
    fn all_keys_are_understood() {
        let text = "
routes:
  patterns:
    - /users/{id}
    - /static/*
  ignored_patterns: [/healthz]
  ignore_mode: traces
  unmatched: heuristic
  wildcard_char: '#'
  max_path_segment_cardinality: 25
";
        let Config { routes: Some(rules), unknown } = parse(text).ok().unwrap() else { panic!("no rules") };
        assert_eq!(unknown, [""; 0]);
        let texts = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(&rules.patterns), ["/users/{id}", "/static/*"]);
        assert_eq!(texts(&rules.ignored), ["/healthz"]);
        assert_eq!((rules.ignore_mode, rules.unmatched), (IgnoreMode::Traces, Unmatched::Heuristic));
        assert_eq!((rules.wildcard, rules.max_segment_cardinality), ('#', 25));
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        for text in ["", "---\n", "# nothing\n", "routes:\n", "{}"] {
            assert_eq!(parse(text).ok(), Some(Config::default()), "{text}");
        }
        let rules = parse("routes: {max_path_segment_cardinality: -1}").ok().unwrap().routes.unwrap();
        assert_eq!(rules, Rules { max_segment_cardinality: 0, ..Rules::default() });
    }

    #[test]
    fn unknown_keys_are_named() {
        let text = "open_port: 8080\nroutes:\n  pattern: [/a]\n  unmatched: path\ndiscovery:\n  instrument: [{a: 1}]\n";
        let config = parse(text).ok().unwrap();
        assert_eq!(config.unknown, ["discovery", "open_port", "routes.pattern"]);
        assert_eq!(config.routes.unwrap().unmatched, Unmatched::Path);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let (line, reason) = fault("routes:\n  patterns:\n    - /a\n    - /a/*/b\n");
        assert!(line == 4 && reason.contains("/a/*/b"), "{line}: {reason}");
        let (line, reason) = fault("routes:\n  unmatched: all\n");
        assert!(line == 2 && reason.starts_with("unmatched: \"all\""), "{line}: {reason}");
        let (line, reason) = fault("routes:\n  wildcard_char: ab\n");
        assert!(line == 2 && reason.starts_with("wildcard_char: "), "{line}: {reason}");
        let (line, reason) = fault("routes:\n  patterns: 3\n");
        assert!(line == 2 && !reason.is_empty(), "{line}: {reason}");
        let (line, reason) = fault("routes:\n  patterns: [\n");
        assert!(line >= 2 && !reason.is_empty(), "{line}: {reason}");
    }
}
