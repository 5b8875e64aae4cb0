//! What runs the program of a process, told from its executable.

use std::{fs::File, path::Path};

use object::{Object as _, ObjectSection as _, ReadCache};
use serde::{Deserialize, Serialize};

/// A language runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Runtime {
    Go,
    Node,
    Python,
    Java,
    Ruby,
    Rust,
    /// None of these.
    Other,
}

impl Runtime {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Node => "node",
            Self::Python => "python",
            Self::Java => "java",
            Self::Ruby => "ruby",
            Self::Rust => "rust",
            Self::Other => "other",
        }
    }

    /// Tells by the name of the executable, else by what its file says; `file` is where it can be opened. None
    /// when it cannot be.
    pub(super) fn of(executable: &Path, file: &Path) -> Option<Self> {
        let name = executable.file_name()?.to_string_lossy();
        // python3.11, ruby3.1
        let runtime = match name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.') {
            "node" | "nodejs" => Self::Node,
            "python" | "pypy" => Self::Python,
            "java" => Self::Java,
            "ruby" => Self::Ruby,
            _ => return of_file(file),
        };
        Some(runtime)
    }
}

/// Tells compiled programs by what their linkers leave behind. Only the table of sections and one small section
/// are read, whatever the size of the file.
fn of_file(file: &Path) -> Option<Runtime> {
    /// Compilers write a line each.
    const COMMENT: u64 = 64 << 10;
    let cache = ReadCache::new(File::open(file).ok()?);
    let Ok(elf) = object::File::parse(&cache) else { return Some(Runtime::Other) };
    // https://pkg.go.dev/debug/buildinfo: in every executable since Go 1.13, stripped or not.
    if elf.section_by_name(".go.buildinfo").is_some() {
        return Some(Runtime::Go);
    }
    let comment = elf.section_by_name(".comment").filter(|section| section.size() <= COMMENT);
    let comment = comment.and_then(|section| section.data().ok()).unwrap_or_default();
    let rust = comment.windows(5).any(|word| word == b"rustc");
    Some(if rust { Runtime::Rust } else { Runtime::Other })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_interpreters_are_enough() {
        let of = |path: &str| Runtime::of(Path::new(path), Path::new("/nowhere"));
        assert_eq!(of("/usr/bin/python3.11"), Some(Runtime::Python));
        assert_eq!(of("/usr/bin/ruby3.1"), Some(Runtime::Ruby));
        assert_eq!(of("/opt/jdk/bin/java"), Some(Runtime::Java));
        assert_eq!(of("/usr/bin/node"), Some(Runtime::Node));
        assert_eq!(of("/usr/sbin/nginx"), None);
    }

    #[test]
    fn executables_that_were_compiled_are_told_by_their_sections() {
        let me = std::env::current_exe().unwrap();
        assert_eq!(Runtime::of(&me, &me), Some(Runtime::Rust));
        let other = Path::new("/bin/sh");
        assert_eq!(Runtime::of(other, other), Some(Runtime::Other));
        let text = Path::new("/etc/passwd");
        assert_eq!(Runtime::of(text, text), Some(Runtime::Other));
    }
}
