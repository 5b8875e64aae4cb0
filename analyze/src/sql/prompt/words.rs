//! Completion at the prompt: the columns of the tables that the statement names come first, then tables, functions and the
//! words of SQL.

use std::collections::BTreeSet;

use rustyline::{
    Context, Helper,
    completion::Completer,
    highlight::Highlighter,
    hint::Hinter,
    validate::{ValidationContext, ValidationResult, Validator},
};

use super::complete;
use crate::sql::{Session, catalog::Known};

const KEYWORDS: &str = "select from where group by order limit offset having distinct count avg min max sum as and or \
                        not null is in like between desc asc nulls first last case when then else end join left on \
                        using with union all over partition describe explain analyze create view show tables";

/// What can be completed.
pub(super) struct Words {
    tables: Vec<Known>,
    others: Vec<String>,
}

impl Words {
    pub(super) fn new(session: &Session) -> Self {
        Self::of(session.known(), session.function_names())
    }

    fn of(tables: Vec<Known>, functions: Vec<String>) -> Self {
        let mut others: Vec<_> = KEYWORDS.split_whitespace().map(str::to_owned).collect();
        others.extend(functions);
        others.extend(tables.iter().map(|table| table.name.clone()));
        others.sort_unstable();
        others.dedup();
        Self { tables, others }
    }

    /// What `begun` may become in `statement`.
    fn fitting(&self, statement: &str, begun: &str) -> Vec<String> {
        let quoted = begun.starts_with('"');
        let fits = |word: &str| word.starts_with(begun.trim_start_matches('"'));
        let named: BTreeSet<_> = statement.split(|char| !is_word(char)).map(str::to_lowercase).collect();
        let mut groups = [BTreeSet::new(), BTreeSet::new()];
        for table in &self.tables {
            let group = usize::from(!named.contains(&table.name));
            for (column, _) in table.columns.iter().filter(|(column, _)| fits(column)) {
                // A name with dots is one only within quotes.
                let word = if column.chars().all(is_word) && !quoted {
                    column.clone()
                } else {
                    format!("\"{column}\"")
                };
                groups[group].insert(word);
            }
        }
        let [of_named, of_others] = groups;
        // The columns of other tables are of use only while no table is named.
        let mut words: Vec<_> = if of_named.is_empty() { of_others } else { of_named }.into_iter().collect();
        if !quoted {
            let others = self.others.iter().filter(|word| fits(word) && !words.contains(word));
            let others: Vec<_> = others.cloned().collect();
            words.extend(others);
        }
        words
    }
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, end: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..end).unwrap_or(line);
        // A quoted name goes on from the last quote that is open.
        let open = before.rfind('"').filter(|_| before.matches('"').count() % 2 == 1);
        let start = open.unwrap_or_else(|| {
            let char = before.char_indices().rev().find(|(_, char)| !is_word(*char));
            char.map_or(0, |(index, char)| index + char.len_utf8())
        });
        let begun = before.get(start..).unwrap_or_default().to_lowercase();
        Ok((start, if begun.is_empty() { Vec::new() } else { self.fitting(line, &begun) }))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if complete(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Highlighter for Words {}

impl Hinter for Words {
    type Hint = String;
}

impl Helper for Words {}

#[cfg(test)]
mod tests {
    use rustyline::history::FileHistory;

    use super::*;

    fn completed(line: &str) -> (usize, Vec<String>) {
        let table = |name: &str, columns: &[&str]| Known {
            name: name.to_owned(),
            is_view: false,
            columns: columns.iter().map(|column| ((*column).to_owned(), "text".to_owned())).collect(),
        };
        let tables = vec![
            table("requests", &["duration_ms", "query", "queue_ms"]),
            table("spans", &["duration", "http.route", "http.request.method"]),
        ];
        let words = Words::of(tables, vec!["quantile".to_owned()]);
        let history = FileHistory::new();
        words.complete(line, line.len(), &Context::new(&history)).unwrap()
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn names_are_completed_from_their_beginning() {
        assert_eq!(completed("select dura"), (7, words(&["duration", "duration_ms"])));
        assert_eq!(completed("select é,QUE"), (10, words(&["query", "queue_ms"])));
        assert_eq!(completed("select qu"), (7, words(&["query", "queue_ms", "quantile"])));
        assert_eq!(completed("select "), (7, vec![]));
    }

    #[test]
    fn columns_of_the_tables_named_come_alone() {
        assert_eq!(completed("from requests select dur"), (21, words(&["duration_ms"])));
    }

    #[test]
    fn names_with_dots_are_quoted() {
        assert_eq!(completed("select http"), (7, words(&["\"http.request.method\"", "\"http.route\""])));
        assert_eq!(completed("select \"http.ro"), (7, words(&["\"http.route\""])));
    }
}
