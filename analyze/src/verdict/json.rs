//! Verdicts for programs. The schema is a contract, told in `docs/ci.md`.

use serde::Serialize;

use super::Case;

/// Name and version of the schema: the number changes when a field changes its meaning or goes away.
pub const SCHEMA: &str = "beyla-analyze/check/1";

#[derive(Serialize)]
struct Document<'c> {
    schema: &'static str,
    failed: bool,
    complete: bool,
    warnings: &'c [String],
    checks: Vec<CaseOf<'c>>,
}

#[derive(Serialize)]
struct CaseOf<'c> {
    name: &'c str,
    verdict: &'static str,
    reason: &'c str,
    details: &'c [String],
}

/// All cases as JSON, ended by a newline. Captures are complete when nothing has to be warned of.
pub fn render(cases: &[Case], warnings: &[String]) -> String {
    let document = Document {
        schema: SCHEMA,
        failed: cases.iter().any(Case::failed),
        complete: warnings.is_empty(),
        warnings,
        checks: cases
            .iter()
            .map(|Case { name, verdict, details }| CaseOf {
                name,
                verdict: verdict.name(),
                reason: verdict.reason(),
                details,
            })
            .collect(),
    };
    // Only maps with keys that are no text, and types that refuse, can fail to serialise; there are none here.
    let mut json = serde_json::to_string_pretty(&document).unwrap_or_default();
    json.push('\n');
    json
}
