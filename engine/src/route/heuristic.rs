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

#[cfg(test)]
mod tests {
    fn route(path: &str) -> String {
        let mut route = String::new();
        super::route(path, '*', &mut route);
        route
    }

    #[test]
    fn words_are_kept() {
        for word in [
            "users",
            "orders",
            "checkout",
            "login",
            "healthz",
            "readyz",
            "metrics",
            "graphql",
            "favicon.ico",
            "robots.txt",
            "index.html",
            "app.min.js",
            "socket.io",
            "wp-login.php",
            "swagger-ui",
            "user_profile",
            "getUserById",
            "addToCart",
            "PaymentMethods",
            "v1",
            "v2",
            "s3",
            "k8s",
            "k6-test-runs",
            "u",
            "x",
            "HTTP",
            "API",
            "json",
            "html",
            "xml",
            "grpc",
            "jsonrpc",
            "pprof",
            "en-US",
            "pt-br",
            "usuarios",
            "trabajo",
            "Benutzer",
            "Arbeit",
            "utilisateurs",
            "tache",
            "payment_intents",
            "how-to-install-rust",
            "alice",
            "attach",
            "getquote",
            "hello world",
            "trailing-",
        ] {
            assert_eq!(route(word), word);
        }
    }

    #[test]
    fn ids_are_not() {
        for id in [
            "7",
            "42",
            "1234567890",
            "22j",
            "v12",
            "sha256",
            "2024-11-29",
            "9.99",
            "550e8400-e29b-41d4-a716-446655440000",
            "5f4dcc3b5aa765d61d8327deb882cf99",
            "da39a3ee5e6b",
            "507f1f77bcf86cd799439011",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "cjld2cjxh0000qzrmn831i7rn",
            "dQw4w9WgXcQ",
            "dQwWgXcQ",
            "aGVsbG9Xb3JsZA",
            "eyJhbGciOiJIUzINi",
            "AKIAIOSFODNN",
            "XKJ-PLQ",
            "SKU-4711",
            "fdklsd",
            "ljgdflgjf",
            "apjkmyp",
            "jwbcm",
            "sjdklnfldsn",
            "hjkqwe",
            "bcdfgh",
            "abcdabcdefef",
            "B07XJ8C8F5",
            "ORD-XQZJK",
            "user@example.com",
            "a,b",
            "%20",
            "naïve",
            "~me",
            "(1)",
            "**",
            "x=y;z",
            "-dash",
            ".git",
            "two--dashes",
            "report-xqzvkj",
        ] {
            assert_eq!(route(id), "*", "{id}");
        }
        assert_eq!(route(&"banana".repeat(22)), "*", "too long for a word");
    }

    #[test]
    fn slashes_stay_where_they_are() {
        for (path, expected) in [
            ("", ""),
            ("/", "/"),
            ("//", "//"),
            ("/products/", "/products/"),
            ("/products//org/3", "/products//org/*"),
            ("123/ljgdflgjf", "*/*"),
            ("123/", "*/"),
            ("*", "*"),
            ("/users/fdklsd/j4elk/23993/job/2", "/users/*/j4elk/*/job/*"),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }

    #[test]
    fn queries_and_fragments_end_a_path() {
        for (path, expected) in
            [("/attach?id=7", "/attach"), ("/a#b", "/a"), ("/1&b", "/*"), ("?", ""), ("attach12?", "*")]
        {
            assert_eq!(route(path), expected, "{path}");
        }
    }

    #[test]
    fn the_tenth_slash_ends_a_path() {
        assert_eq!(route("/a/b/c/d/e/f/g/h/i"), "/a/b/c/d/e/f/g/h/i");
        assert_eq!(route("/a/b/c/d/e/f/g/h/i/j"), "/a/b/c/d/e/f/g/h/i");
        assert_eq!(route("/a/b/c/d/e/f/g/h/123/j"), "/a/b/c/d/e/f/g/h/*");
    }

    #[test]
    fn the_wildcard_can_be_any_character() {
        let mut route = String::new();
        super::route("/users/7", '…', &mut route);
        assert_eq!(route, "/users/…");
    }
}
