//! Tells words from ids by the order of their letters.
//!
//! In words some letters follow others far more often than they would by chance. [`model`](super::model) says how
//! surprising each pair is; ids are surprising on average. It also lists words and short forms that are surprising, but
//! known.

use super::model::{COSTS, KNOWN, THRESHOLD};

/// The longest known word fits.
const MAX_KNOWN: usize = 24;

/// Whether the letters of `word` are in an order that words do not have. Only letters and spaces count; one letter
/// alone is a word.
pub(super) fn is_gibberish(word: &str) -> bool {
    let mut before = None;
    let (mut sum, mut pairs) = (0_u32, 0_u32);
    for symbol in word.bytes().filter_map(symbol) {
        if let Some(before) = before.replace(symbol) {
            sum += u32::from(COSTS[before][symbol]);
            pairs += 1;
        }
    }
    // Rounded down, as in the training.
    pairs > 0 && sum / pairs > THRESHOLD && !is_known(word)
}

/// The row and column of a letter or space.
fn symbol(byte: u8) -> Option<usize> {
    match byte {
        b' ' => Some(26),
        _ if byte.is_ascii_alphabetic() => Some(usize::from(byte.to_ascii_lowercase() - b'a')),
        _ => None,
    }
}

/// Whether a list knows `word`, whatever its case.
fn is_known(word: &str) -> bool {
    let mut lower = [0; MAX_KNOWN];
    let Some(lower) = lower.get_mut(..word.len()) else { return false };
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    let lower = &*lower;
    KNOWN.binary_search_by(|known| known.as_bytes().cmp(lower)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, MAX_KNOWN, is_gibberish};

    #[test]
    fn known_words_are_found_in_any_case() {
        assert!(KNOWN.is_sorted());
        for word in KNOWN {
            assert!(word.len() <= MAX_KNOWN, "{word}");
            assert!(!is_gibberish(word) && !is_gibberish(&word.to_uppercase()), "{word}");
        }
    }

    #[test]
    fn other_bytes_do_not_count() {
        for word in ["v1", "k6", "j4elk", "7", "", "ü"] {
            assert!(!is_gibberish(word), "{word}");
        }
        assert!(is_gibberish("x4qzvk"));
    }

    /// Random letters, as many as there are in ids, are told from words nearly always.
    #[test]
    fn random_letters_are_gibberish() {
        let mut state = 1_u64;
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + ((state >> 33) % 26) as u8)
        };
        for (length, at_least) in [(6, 900), (8, 930), (12, 970), (20, 990)] {
            let found = (0..1000)
                .filter(|_| {
                    is_gibberish(&std::iter::repeat_with(&mut letter).take(length).collect::<String>())
                })
                .count();
            println!("{length} letters: {found} of 1000");
            assert!(found >= at_least, "{length} letters: {found} of 1000");
        }
    }
}
