//! Verdicts as the tools of continuous integration read them: what `diff` and `check` found, case by case. [`junit`] and [`github`]
//! are for machines, [`text`], [`markdown`] and [`json`] for those who read along.

pub mod github;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod text;

/// Something that was looked at, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What was looked at; no other case of the same run is called so, unless it was given twice.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
    /// What helps to see why: lines of text.
    pub details: Vec<String>,
}

/// What came of a case, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Passed(String),
    /// It does not hold.
    Failed(String),
    /// There is too little to tell: no failure.
    Undecided(String),
}

impl Case {
    /// Whether it does not hold.
    pub fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed(_))
    }
}

impl Verdict {
    /// As documents call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Failed(_) => "failed",
            Self::Undecided(_) => "undecided",
        }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        let (Self::Passed(reason) | Self::Failed(reason) | Self::Undecided(reason)) = self;
        reason
    }
}

/// How many cases there are, failed, and undecided.
fn counts(cases: &[Case]) -> (u64, u64, u64) {
    let failed = cases.iter().filter(|case| case.failed()).count();
    let undecided = cases.iter().filter(|case| matches!(case.verdict, Verdict::Undecided(_))).count();
    (cases.len() as u64, failed as u64, undecided as u64)
}

/// Everything in a sentence.
fn summary(cases: &[Case]) -> String {
    let (all, failed, undecided) = counts(cases);
    let undecided = if undecided > 0 { format!(", {undecided} undecided") } else { String::new() };
    let all = crate::units::counted(all, "check");
    if failed > 0 {
        format!("failed: {failed} of {all}{undecided}")
    } else {
        format!("passed: {all}{undecided}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> Vec<Case> {
        let text = "a,b:c%\r\n::error::x\u{1b}[2J</failure>]]>\"'&<\u{0}\u{ffff}é|`*";
        vec![
            Case { name: text.into(), verdict: Verdict::Failed(text.into()), details: vec![text.into()] },
            Case { name: "b".into(), verdict: Verdict::Undecided("too few".into()), details: vec![] },
            Case { name: "c".into(), verdict: Verdict::Passed("fine".into()), details: vec![] },
        ]
    }

    #[test]
    fn no_text_ends_an_annotation_or_begins_another() {
        let out = github::render("check", &hostile(), &[]);
        assert_eq!(out.lines().filter(|line| line.starts_with("::error")).count(), 1, "{out}");
        assert!(out.lines().all(|line| line.starts_with("::")), "{out}");
        assert!(out.starts_with("::error title=check%3A a%2Cb%3Ac%25%0D%0A%3A%3Aerror"), "{out}");
        assert!(!out.contains('\r') && !out.contains('\u{1b}'), "{out}");
    }

    #[test]
    fn no_text_leaves_its_element() {
        let out = junit::render("check", &hostile(), &["lost 3 events".to_owned()]);
        assert_eq!(out.matches("<failure").count(), 1, "{out}");
        assert_eq!(out.matches("</failure>").count(), 1, "{out}");
        assert!(!out.contains(['\0', '\u{1b}', '\u{ffff}', '\r']), "{out}");
        assert!(out.contains("tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""), "{out}");
    }

    #[test]
    fn no_text_becomes_markup() {
        let out = markdown::render("check", &hostile(), &[]);
        assert!(!out.contains('\u{1b}'), "{out}");
        // Lines of code, which the details are, mean nothing.
        let outside = |line: &&str| !line.starts_with("    ");
        assert!(out.lines().filter(outside).all(|line| !line.contains("</failure>")), "{out}");
        assert_eq!(out.lines().filter(|line| line.starts_with('|')).count(), 5, "{out}");
    }
}
