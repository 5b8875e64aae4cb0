//! A set of ports, as it is written on the command line: `8080`, `80,443`, `9000-9010`.

use std::{fmt, ops::RangeInclusive, str::FromStr};

/// Ports in ascending, separate ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

/// Not a list of ports.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a port, nor a range such as 9000-9010 (ports are 1 to 65535)")]
pub struct InvalidPorts(String);

impl Ports {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These and `others`.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        Self::of([self.0, others.0].concat())
    }

    fn of(mut ranges: Vec<RangeInclusive<u16>>) -> Self {
        ranges.sort_by_key(|range| (*range.start(), *range.end()));
        let mut ports: Vec<RangeInclusive<u16>> = Vec::new();
        for range in ranges {
            match ports.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*range.end().max(last.end());
                }
                _ => ports.push(range),
            }
        }
        Self(ports)
    }

    /// Whether `port` is one of them.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    /// As the kernel programs look them up: bit `port % 64` of word `port / 64`.
    pub fn bitmap(&self) -> [u64; 1024] {
        let mut words = [0; 1024];
        for port in self.0.iter().cloned().flatten() {
            words[usize::from(port / 64)] |= 1 << (port % 64);
        }
        words
    }
}

impl FromStr for Ports {
    type Err = InvalidPorts;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let port = |text: &str| text.trim().parse::<u16>().ok().filter(|&port| port != 0);
            match (port(first), port(last)) {
                (Some(first), Some(last)) if first <= last => Ok(first..=last),
                _ => Err(InvalidPorts(part.trim().to_owned())),
            }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self::of)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", range.start())?;
            if range.start() != range.end() {
                write!(f, "-{}", range.end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_put_in_order() {
        let shown = |text: &str| text.parse::<Ports>().map(|ports| ports.to_string());
        assert_eq!(shown("8080").as_deref(), Ok("8080"));
        assert_eq!(shown("443, 80").as_deref(), Ok("80,443"));
        assert_eq!(shown("9000-9010,9005-9020,9021").as_deref(), Ok("9000-9021"));
        assert_eq!(shown("1-65535").as_deref(), Ok("1-65535"));
        for wrong in ["", "0", "65536", "9010-9000", "http", "80,", "80-"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_bitmap_has_just_those_ports() {
        let ports: Ports = "63-64,8080,65535".parse().unwrap();
        let bitmap = ports.bitmap();
        for port in 0..=u16::MAX {
            assert_eq!(
                bitmap[usize::from(port / 64)] >> (port % 64) & 1 == 1,
                ports.contains(port),
                "{port}"
            );
        }
    }
}
