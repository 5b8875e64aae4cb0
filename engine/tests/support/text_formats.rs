//! A strict parser of the text formats of Prometheus and OpenMetrics, as far as they are written here. What is not allowed
//! fails the test.

use std::collections::{BTreeMap, BTreeSet};

/// A sample.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
    pub at: Option<f64>,
}

impl Parsed {
    /// The value of a label; empty where there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value)
    }
}

/// All samples of a text.
pub fn parse(text: &str, openmetrics: bool) -> Vec<Parsed> {
    let mut lines: Vec<&str> = text.strip_suffix('\n').unwrap().split('\n').collect();
    if openmetrics {
        assert_eq!(lines.pop(), Some("# EOF"));
    }
    let (mut family, mut kind, mut samples) = ("", "", Vec::<Parsed>::new());
    let (mut families, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for line in lines {
        if let Some(comment) = line.strip_prefix("# ") {
            let (keyword, rest) = comment.split_once(' ').unwrap();
            let (name, text) = rest.split_once(' ').unwrap();
            if name != family {
                assert!(families.insert(name), "{name} comes twice");
                family = name;
            }
            match keyword {
                "TYPE" => kind = text,
                "UNIT" => assert!(openmetrics && name.ends_with(&format!("_{text}")), "{line}"),
                "HELP" => assert!(!text.is_empty(), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let sample = sample(line, openmetrics);
        let suffix = sample.name.strip_prefix(family).unwrap_or_else(|| panic!("{line} is in {family}"));
        let suffixes: &[&str] = match kind {
            "histogram" => &["_bucket", "_sum", "_count"],
            "counter" if openmetrics => &["_total"],
            "info" if openmetrics => &["_info"],
            "counter" | "gauge" => &[""],
            _ => panic!("{kind}"),
        };
        assert!(suffixes.contains(&suffix), "{line} is no {kind}");
        let identity = format!("{} {:?} {:?}", sample.name, sample.labels, sample.at);
        assert!(seen.insert(identity), "{line} comes twice");
        samples.push(sample);
    }
    check_histograms(&samples);
    samples
}

/// Buckets are cumulative, in order and with the count at their end; times go forwards.
fn check_histograms(samples: &[Parsed]) {
    let mut times = BTreeMap::new();
    let mut before: Option<(&Parsed, f64)> = None;
    for sample in samples {
        let last = times.insert((&sample.name, &sample.labels), sample.at.unwrap_or(0.0));
        assert!(last.is_none_or(|last| Some(last) < sample.at), "{sample:?} comes too late");
        if sample.name.ends_with("_bucket") {
            let bound: f64 = sample.label("le").parse().unwrap();
            if let Some((previous, up_to)) = before {
                assert!(up_to < bound && previous.value <= sample.value, "{previous:?} {sample:?}");
            }
            before = Some((sample, bound));
        } else if sample.name.ends_with("_count") {
            let (last, bound) = before.take().unwrap();
            assert!(bound.is_infinite() && last.value == sample.value, "{last:?} {sample:?}");
            assert_eq!(last.at, sample.at);
        }
    }
}

fn sample(line: &str, openmetrics: bool) -> Parsed {
    let (name, mut rest) = line.split_at(line.find(['{', ' ']).unwrap());
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    if rest.starts_with('{') {
        (labels, rest) = braces(rest, line);
    }
    let rest = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line:?}"));
    let (rest, exemplar) = match rest.split_once(" # ") {
        Some((rest, exemplar)) => (rest, Some(exemplar)),
        None => (rest, None),
    };
    let mut numbers =
        rest.split(' ').map(|number| number.parse::<f64>().unwrap_or_else(|_| panic!("{line:?}")));
    let (value, at) = (numbers.next().unwrap(), numbers.next());
    assert!(numbers.next().is_none() && (at.is_none() || openmetrics), "{line}");
    if let Some(exemplar) = exemplar {
        assert!(openmetrics && name.ends_with("_bucket"), "{line}");
        let (labels, rest) = braces(exemplar, line);
        assert!(labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= 128);
        let numbers: Vec<f64> = rest[1..].split(' ').map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers.len(), 2, "{line}");
    }
    Parsed { name: name.to_owned(), labels, value, at }
}

/// Labels with their braces, and what follows them.
fn braces<'a>(text: &'a str, line: &str) -> (Vec<(String, String)>, &'a str) {
    let mut rest = text.strip_prefix('{').unwrap();
    let mut labels = Vec::<(String, String)>::new();
    loop {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line:?}"));
        assert!(is_name(name) && labels.iter().all(|(other, _)| other != name), "{line:?}");
        let mut unescaped = String::new();
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next().unwrap_or_else(|| panic!("{line:?}")) {
                (at, '"') => break at,
                (_, '\\') => unescaped.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, quoted @ ('\\' | '"'))) => quoted,
                    other => panic!("{other:?} after a backslash in {line:?}"),
                }),
                (_, char) => unescaped.push(char),
            }
        };
        labels.push((name.to_owned(), unescaped));
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, rest.strip_prefix('}').unwrap_or_else(|| panic!("{line:?}"))),
        }
    }
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|char| char.is_ascii_alphanumeric() || char == '_')
}
