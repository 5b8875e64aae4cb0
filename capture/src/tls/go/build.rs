//! The version of Go that built a program, and what depends on it.
//!
//! The form of `.go.buildinfo` is told in Go's debug/buildinfo/buildinfo.go.

use object::ReadRef;

use super::image::Image;

/// The version that a program says it was built with: `go1.26.8`, `go1.22.1 X:boringcrypto`, `devel go1.27-8d3a`.
pub(super) fn version<'a, R: ReadRef<'a>>(image: &Image<'a, '_, R>) -> Option<String> {
    /// Longer than any version.
    const LONGEST: u64 = 256;
    const INLINE: u8 = 2;
    let (address, section) = image.section(".go.buildinfo")?;
    let head = section.first_chunk::<32>().filter(|head| head.starts_with(b"\xff Go buildinf:"))?;
    let text = if head[15] & INLINE == INLINE {
        // Since Go 1.18: the length, which takes one byte or two, and the text.
        match section.get(32..)? {
            [length @ 0..0x80, rest @ ..] => rest.get(..usize::from(*length))?,
            [low, high @ 0..0x80, rest @ ..] => {
                rest.get(..usize::from(low & 0x7f) | usize::from(*high) << 7)?
            }
            _ => return None,
        }
    } else {
        // A pointer to a string, which is a pointer and a length.
        let string = image.pointer(address.checked_add(16)?)?;
        let length = image.bytes(string.checked_add(8)?, 8)?;
        let length = u64::from_le_bytes(length.try_into().ok()?);
        image.bytes(image.pointer(string)?, length.min(LONGEST))?
    };
    let version = str::from_utf8(text).ok()?;
    (version.contains("go1.") && text.len() as u64 <= LONGEST).then(|| version.to_owned())
}

/// The 26 of `go1.26.8`. None when there is no number to know a version by.
pub(super) fn minor(version: &str) -> Option<u32> {
    let (_, rest) = version.split_once("go1.")?;
    let end = rest.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Where `runtime.g` has `goid`: seen in running programs of all these versions.
pub(super) fn goid_offset(minor: u32) -> Option<u16> {
    match minor {
        17..=22 | 25..=27 => Some(152),
        23 | 24 => Some(160),
        _ => None,
    }
}

/// The hash of the type `*net.TCPConn` in its table of methods as a `net.Conn`: the compiler makes it of the type's
/// name, in one way for several versions.
pub(super) fn tcp_conn(minor: u32) -> Option<u32> {
    match minor {
        17 | 18 => Some(0xb954_d952),
        19..=23 => Some(0xbc02_0cb9),
        24 => Some(0x425e_a6e6),
        25..=27 => Some(0x43fd_f3b9),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn versions() {
        assert_eq!(minor("go1.26.8"), Some(26));
        assert_eq!(minor("go1.18"), Some(18));
        assert_eq!(minor("go1.22.1 X:boringcrypto"), Some(22));
        assert_eq!(minor("devel go1.28-8d3a51b Mon Jun 1"), Some(28));
        assert_eq!(minor("devel +8d3a51b"), None);
        assert_eq!(minor("go1.99999999999"), None);
    }
}
