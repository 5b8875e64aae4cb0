//! Patterns that somebody wrote: parsed, and found for a path.
//!
//! A [`Pattern`] comes from a flag or a file; a [`Matcher`] holds all of them as one tree, in which a path costs at
//! most one visit to each node.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// A pattern of paths, such as `/users/{id}`, `/users/:id`, `/files/v:version` or `/static/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
    /// Ends in `*`: everything below matches too.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    /// Any segment that is longer than its prefix and begins with it.
    Variable(Box<str>),
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route pattern {pattern:?}: {fault}")]
pub struct PatternError {
    pattern: String,
    fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("it is empty; \"/\" is the pattern of the root")]
    Empty,
    #[error("{0:?} does not belong into the pattern of a path: queries and fragments are no part of it")]
    NotInPath(char),
    #[error("\"*\" can only be the last segment; {{name}} stands for one segment in the middle")]
    InnerWildcard,
    #[error("the segment {0:?}: a brace opens a variable that has to be the whole segment, as in {{id}}")]
    Braces(String),
    #[error("the segment {0:?}: the variable has no name")]
    NoName(String),
}

impl Pattern {
    /// The pattern as it was written, which is the route of the paths that it matches.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Display for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let fail = |fault| PatternError { pattern: text.to_owned(), fault };
        if text.is_empty() {
            return Err(fail(Fault::Empty));
        }
        if let Some(char) = text.chars().find(|&char| matches!(char, '?' | '#') || char.is_control()) {
            return Err(fail(Fault::NotInPath(char)));
        }
        let mut tokens: Vec<&str> = segments(text).collect();
        let open = tokens.last() == Some(&"*");
        if open {
            tokens.pop();
        }
        let segments = tokens.into_iter().map(segment).collect::<Result<_, _>>().map_err(fail)?;
        Ok(Self { text: text.to_owned(), segments, open })
    }
}

fn segment(token: &str) -> Result<Segment, Fault> {
    if token.contains('*') {
        return Err(Fault::InnerWildcard);
    }
    if token.contains(['{', '}']) {
        let name = token.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        return match name {
            Some("") => Err(Fault::NoName(token.to_owned())),
            Some(name) if !name.contains(['{', '}']) => Ok(Segment::Variable("".into())),
            _ => Err(Fault::Braces(token.to_owned())),
        };
    }
    match token.split_once(':') {
        Some((_, "")) => Err(Fault::NoName(token.to_owned())),
        Some((prefix, _)) => Ok(Segment::Variable(prefix.into())),
        None => Ok(Segment::Literal(token.into())),
    }
}

/// The segments of a path: what lies between slashes, without the empty one before the first and after the last.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = trim(path);
    std::iter::from_fn(move || {
        let (segment, after) = next(rest?);
        rest = after;
        Some(segment)
    })
}

/// A path without one slash at each end; none for the root, which has no segment.
fn trim(path: &str) -> Option<&str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    (!path.is_empty()).then_some(path)
}

/// The first segment of `rest`, and what comes after it.
fn next(rest: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'/', rest.as_bytes()) {
        Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
        None => (rest, None),
    }
}

/// Finds the pattern of a path.
///
/// At every segment a literal is tried before the variables, these in the order in which they were first given, and a
/// final `*` last of all. Where one way does not lead to the end of a pattern, the next is tried.
#[derive(Debug, Default)]
pub struct Matcher {
    /// The first is the root; children come after their parents.
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    children: Vec<(Segment, usize)>,
    /// The pattern that ends here, by its number.
    end: Option<usize>,
    /// The pattern that has its `*` here.
    open: Option<usize>,
}

impl Matcher {
    /// Of several patterns that match the same paths, the first is found.
    pub fn new(patterns: &[Pattern]) -> Self {
        let mut nodes = vec![Node::default()];
        for (number, pattern) in patterns.iter().enumerate() {
            let mut at = 0;
            for segment in &pattern.segments {
                let known = nodes[at].children.iter().find(|(known, _)| known == segment);
                at = if let Some(&(_, child)) = known {
                    child
                } else {
                    let child = nodes.len();
                    nodes[at].children.push((segment.clone(), child));
                    nodes.push(Node::default());
                    child
                };
            }
            let place = if pattern.open { &mut nodes[at].open } else { &mut nodes[at].end };
            place.get_or_insert(number);
        }
        for node in &mut nodes {
            node.children.sort_by_key(|(segment, _)| matches!(segment, Segment::Variable(_)));
        }
        Self { nodes }
    }

    /// The number of the pattern of `path`, counted from 0.
    pub fn find(&self, path: &str) -> Option<usize> {
        self.from(0, trim(path))
    }

    fn from(&self, at: usize, rest: Option<&str>) -> Option<usize> {
        let node = self.nodes.get(at)?;
        let Some(rest) = rest else { return node.end.or(node.open) };
        let (segment, after) = next(rest);
        node.children
            .iter()
            .filter(|(of, _)| match of {
                Segment::Literal(text) => **text == *segment,
                Segment::Variable(prefix) => segment.len() > prefix.len() && segment.starts_with(&**prefix),
            })
            .find_map(|&(_, child)| self.from(child, after))
            .or(node.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(patterns: &[&'a str], path: &str) -> Option<&'a str> {
        let parsed: Vec<Pattern> = patterns.iter().map(|text| text.parse().expect("a pattern")).collect();
        Matcher::new(&parsed).find(path).map(|number| patterns[number])
    }

    #[test]
    fn a_variable_is_one_segment() {
        for pattern in ["/users/{id}", "/users/:id", "users/{id}/"] {
            for path in ["/users/7", "/users/7/", "users/%20"] {
                assert_eq!(find(&[pattern], path), Some(pattern), "{path}");
            }
            for path in ["/users", "/users/", "/users//", "/users/7/orders", "/user/7", "/", ""] {
                assert_eq!(find(&[pattern], path), None, "{pattern} {path}");
            }
        }
    }

    #[test]
    fn a_prefix_needs_something_after_it() {
        assert_eq!(find(&["/files/v:version"], "/files/v12"), Some("/files/v:version"));
        assert_eq!(find(&["/files/v:version"], "/files/v"), None);
        assert_eq!(find(&["/files/v:version"], "/files/12"), None);
    }

    #[test]
    fn a_final_star_is_everything_below_and_its_place_itself() {
        for path in ["/static", "/static/", "/static/a", "/static/a/b/c.js"] {
            assert_eq!(find(&["/static/*"], path), Some("/static/*"));
        }
        assert_eq!(find(&["/static/*"], "/statics"), None);
        assert_eq!(find(&["/*"], "/"), Some("/*"));
        assert_eq!(find(&["*"], "/a/b"), Some("*"));
        assert_eq!(find(&["/static", "/static/*"], "/static"), Some("/static"));
        assert_eq!(find(&["/static/*", "/static"], "/static"), Some("/static"));
    }

    #[test]
    fn the_root_is_a_pattern() {
        assert_eq!(find(&["/"], "/"), Some("/"));
        assert_eq!(find(&["/"], "/a"), None);
    }

    #[test]
    fn empty_segments_count() {
        assert_eq!(find(&["/a//b"], "/a//b"), Some("/a//b"));
        assert_eq!(find(&["/a/b"], "/a//b"), None);
    }

    #[test]
    fn literals_come_before_variables_before_the_rest() {
        let patterns = ["/*", "/users/{id}", "/users/me"];
        assert_eq!(find(&patterns, "/users/me"), Some("/users/me"));
        assert_eq!(find(&patterns, "/users/7"), Some("/users/{id}"));
        assert_eq!(find(&patterns, "/users/7/x"), Some("/*"));
    }

    #[test]
    fn variables_are_tried_in_the_order_they_were_given() {
        assert_eq!(find(&["/a/{x}", "/a/v:y"], "/a/v1"), Some("/a/{x}"));
        assert_eq!(find(&["/a/v:y", "/a/{x}"], "/a/v1"), Some("/a/v:y"));
        assert_eq!(find(&["/a/{x}", "/a/:y"], "/a/1"), Some("/a/{x}"));
    }

    #[test]
    fn a_literal_that_leads_nowhere_is_taken_back() {
        let patterns = ["/users/me/settings", "/users/{id}/orders", "/users/*"];
        assert_eq!(find(&patterns, "/users/me/orders"), Some("/users/{id}/orders"));
        assert_eq!(find(&patterns, "/users/me/other"), Some("/users/*"));
    }

    #[test]
    fn many_ways_through_a_tree_cost_no_more_than_its_nodes() {
        let patterns: Vec<String> = (0..64).map(|n| format!("{}x", "/{a}".repeat(n))).collect();
        let patterns: Vec<&str> = patterns.iter().map(|text| &**text).skip(1).collect();
        assert_eq!(find(&patterns[..0], "/a"), None);
        let fork = ["/a:b/a:b/a:b/a:b/z", "/{a}/{a}/{a}/{a}/z", "/a:b/{a}/a:b/{a}/y"];
        assert_eq!(find(&fork, "/aa/aa/aa/aa/y"), Some(fork[2]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("", "empty"),
            ("/a?b=c", "'?'"),
            ("/a#b", "'#'"),
            ("/a/*/b", "last segment"),
            ("/a*", "last segment"),
            ("/a/**", "last segment"),
            ("/{id", "\"{id\""),
            ("/id}", "\"id}\""),
            ("/a{id}", "\"a{id}\""),
            ("/{a}{b}", "\"{a}{b}\""),
            ("/{}", "no name"),
            ("/:", "no name"),
            ("/v:", "no name"),
        ] {
            let error = text.parse::<Pattern>().expect_err(text).to_string();
            assert!(error.contains(part) && error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
