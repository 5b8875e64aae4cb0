//! Executables as a selector.

use std::{
    fmt::{self, Display, Formatter},
    path::Path,
    str::FromStr,
};

use globset::{Glob, GlobMatcher};
use regex::Regex;

/// A pattern for the path of an executable.
#[derive(Clone, Debug)]
pub enum Executable {
    /// Matches the whole path, or its last component when the pattern has no slash.
    Glob(GlobMatcher),
    /// Matches some part of the path.
    Regexp(Regex),
}

impl Executable {
    /// Paths with a part that this regular expression matches.
    pub fn regexp(expression: &str) -> Result<Self, regex::Error> {
        Regex::new(expression).map(Self::Regexp)
    }

    /// Paths that end in this text.
    pub fn suffix(text: &str) -> Result<Self, regex::Error> {
        Self::regexp(&format!("{}$", regex::escape(text)))
    }

    /// Whether this is the path of such an executable.
    pub(super) fn matches(&self, path: &Path) -> bool {
        match self {
            Self::Glob(pattern) if pattern.glob().glob().contains('/') => pattern.is_match(path),
            Self::Glob(pattern) => pattern.is_match(path.file_name().unwrap_or_default()),
            Self::Regexp(expression) => expression.is_match(&path.to_string_lossy()),
        }
    }
}

impl FromStr for Executable {
    type Err = globset::Error;

    fn from_str(pattern: &str) -> Result<Self, Self::Err> {
        Ok(Self::Glob(Glob::new(pattern)?.compile_matcher()))
    }
}

impl Display for Executable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Glob(pattern) => pattern.glob().fmt(f),
            Self::Regexp(expression) => write!(f, "~ {expression}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_or_whole_paths() {
        let matches =
            |pattern: &str, path: &str| pattern.parse::<Executable>().unwrap().matches(Path::new(path));
        assert!(matches("nginx", "/usr/sbin/nginx"));
        assert!(matches("python3*", "/usr/bin/python3.11"));
        assert!(matches("/usr/*/nginx", "/usr/sbin/nginx"));
        assert!(matches("*/nginx", "/usr/sbin/nginx"));
        assert!(!matches("nginx", "/usr/sbin/nginx-debug"));
        assert!(!matches("/opt/*", "/usr/sbin/nginx"));
        assert!("[".parse::<Executable>().is_err());
    }

    #[test]
    fn expressions_match_parts_and_suffixes_ends() {
        let path = Path::new("/usr/bin/python3.11");
        assert!(Executable::regexp("python3?").unwrap().matches(path));
        assert!(!Executable::regexp("^python").unwrap().matches(path));
        assert!(Executable::regexp("(").is_err());
        assert!(Executable::suffix("3.11").unwrap().matches(path));
        assert!(!Executable::suffix("python").unwrap().matches(path));
        assert!(!Executable::suffix("3.11").unwrap().matches(Path::new("/usr/bin/python3x11")));
    }
}
