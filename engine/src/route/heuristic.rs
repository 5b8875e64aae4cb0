//! Which segments of a path look like ids, by their letters alone.

use super::gibberish;

/// Slashes at which a path is cut off.
const MAX_SLASHES: usize = 10;

/// Bytes of the longest segment that can be a word.
const MAX_WORD: usize = 128;

/// Appends `path` to `route` with `wildcard` in the place of segments that look like ids.
///
/// It ends before the tenth slash, or where a query or fragment begins.
pub(super) fn route(path: &str, wildcard: char, route: &mut String) {
    let end = memchr::memchr3(b'?', b'&', b'#', path.as_bytes()).unwrap_or(path.len());
    for (number, segment) in path[..end].split('/').take(MAX_SLASHES).enumerate() {
        if number > 0 {
            route.push('/');
        }
        if is_kept(segment) {
            route.push_str(segment);
        } else {
            route.push(wildcard);
        }
    }
}

/// Whether a segment is made of words. An empty one is kept too.
fn is_kept(segment: &str) -> bool {
    segment.is_empty() || segment.len() <= MAX_WORD && has_letters_only(segment) && is_words(segment)
}

/// One other character is fine in the second place, as in `v1`.
fn has_letters_only(segment: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_' | b'.' | b' ');
    segment.bytes().enumerate().all(|(at, byte)| at == 1 && byte.is_ascii() || is_word(byte))
}

fn is_words(segment: &str) -> bool {
    let trimmed = segment.strip_suffix(['-', '_', '.']).unwrap_or(segment);
    trimmed.split(['-', '_', '.']).all(|word| !word.is_empty() && !gibberish::is_gibberish(word))
}
