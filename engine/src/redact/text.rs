//! Secrets in a text that is no stream: a command line, an argument, a line of a log.

use std::borrow::Cow;
use std::ops::Range;

use super::output::MASK;
use super::policy::Policy;
use crate::http1::head::is_token;

/// Masks the secrets in a text, at equal length in bytes.
///
/// Values are masked after `name:` for the header fields of the policy, up to the end of the line, or to the quote that
/// the field began with; and after `name=` for its query parameters, also as options (`--token=...`) or variables
/// (`TOKEN=...`), up to `&`, `;`, `#`, a blank or a quote.
pub fn redact_text<'a>(policy: &Policy, text: &'a str) -> Cow<'a, str> {
    let mut masked = Cow::Borrowed(text);
    let mut at = 0;
    while let Some(mark) = memchr::memchr2(b':', b'=', &text.as_bytes()[at..]) {
        at += mark + 1;
        let Some(secret) = secret(policy, text.as_bytes(), at) else { continue };
        let mask = |text: &str| {
            text.chars().flat_map(|c| std::iter::repeat_n(char::from(MASK), c.len_utf8())).collect::<String>()
        };
        let replacement = mask(&text[secret.clone()]);
        at = secret.end;
        masked.to_mut().replace_range(secret, &replacement);
    }
    masked
}

/// Whether a value ends before a byte, given the quote it stands in.
type Ends = fn(u8, Option<u8>) -> bool;

/// The value that the colon or equals sign before `at` introduces, if it is one that is masked. Its ends are at
/// ASCII characters, and so between characters.
fn secret(policy: &Policy, text: &[u8], at: usize) -> Option<Range<usize>> {
    let (&mark, before) = text[..at].split_last()?;
    let (start, ends): (usize, Ends) = if mark == b'=' {
        let name = before.iter().rposition(|&byte| delimits(byte)).map_or(0, |at| at + 1);
        let dashes = before[name..].iter().take_while(|&&byte| byte == b'-').count();
        if !policy.is_query_key(&before[name + dashes..]) {
            return None;
        }
        // A value in quotes goes on to the end of them.
        (name, |byte, quote| quote.map_or(delimits(byte), |quote| byte == quote))
    } else {
        let name = before.trim_ascii_end();
        let start = name.iter().rposition(|&byte| !is_token(byte) || byte == b'\'').map_or(0, |at| at + 1);
        if !policy.is_header(&name[start..]) {
            return None;
        }
        (start, |byte, quote| matches!(byte, b'\n' | b'\r' | 0) || Some(byte) == quote)
    };
    let quoted = |at: Option<&u8>| at.copied().filter(|byte| matches!(byte, b'"' | b'\''));
    let value = &text[at..];
    let (skipped, quote) = if mark == b'=' {
        (usize::from(quoted(value.first()).is_some()), quoted(value.first()))
    } else {
        let quote = start.checked_sub(1).and_then(|at| quoted(text.get(at)));
        (value.len() - value.trim_ascii_start().len(), quote)
    };
    let from = at + skipped;
    let length = text[from..].iter().position(|&byte| ends(byte, quote)).unwrap_or(text.len() - from);
    Some(from..from + length)
}

fn delimits(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0 || b"?&;#\"'<>,".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_keeps_its_shape() {
        for (text, expected) in [
            (
                "curl -H 'Authorization: Bearer abc' http://a/",
                "curl -H 'Authorization: **********' http://a/",
            ),
            ("curl -H Authorization: Bearer abc", "curl -H Authorization: **********"),
            ("curl http://a/?token=ab&b=1#x", "curl http://a/?token=**&b=1#x"),
            ("app --password=häß --port=1", "app --password=***** --port=1"),
            ("PASSWORD='a b' app", "PASSWORD='***' app"),
            ("X-API-KEY: a\r\nHost: b", "X-API-KEY: *\r\nHost: b"),
            ("token= x", "token= x"),
            ("a:b=c::=", "a:b=c::="),
        ] {
            assert_eq!(redact_text(&Policy::standard(), text), expected);
            assert_eq!(redact_text(&Policy::none(), text), text);
        }
    }
}
