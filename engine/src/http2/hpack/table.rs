//! The tables of fields (RFC 7541 section 2.3): the static one, and the dynamic one as far as it is known.

use std::collections::VecDeque;

/// Bytes that are kept of a dynamic table, as RFC 7541 section 4.1 counts them. Endpoints commonly agree on 4096.
pub const MAX_TABLE: usize = 64 << 10;

/// The size of a table until the encoder says otherwise (RFC 9113 section 6.5.2).
const INITIAL: usize = 4096;

/// What an entry counts besides its name and value (RFC 7541 section 4.1).
const OVERHEAD: usize = 32;

/// Bytes of evicted entries that are let lie before the rest is moved together.
const SLACK: usize = 4096;

/// The static table (RFC 7541 appendix A); index 1 comes first.
pub(super) static STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// What an index stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup<'a> {
    /// A field. The name is None when it was not seen.
    Field(Option<&'a [u8]>, &'a [u8]),
    /// An entry that was made before anything was known.
    Unknown,
    /// Nothing.
    Invalid,
}

/// The dynamic table of one direction, newest entry first.
///
/// After bytes were missed, entries that are made from then on are known by their index all the same, since
/// the newest has the lowest one; everything behind them is unknown.
#[derive(Debug)]
pub(super) struct Dynamic {
    /// Newest first.
    entries: VecDeque<Entry>,
    /// Names and values, oldest first, after what was evicted.
    bytes: Vec<u8>,
    /// Where in `bytes` the oldest entry begins.
    start: usize,
    /// Bytes that were let go before those in `bytes`.
    gone: u64,
    size: usize,
    max: usize,
    /// There are no entries but `entries`, and their sizes are true.
    complete: bool,
    /// `max` is the encoder's.
    exact: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where it begins, counted over all entries ever made.
    at: u64,
    name: Option<u32>,
    value: u32,
}

impl Entry {
    fn bytes(self) -> usize {
        self.name.unwrap_or(0) as usize + self.value as usize
    }
}

impl Dynamic {
    /// The empty table that a connection begins with.
    pub(super) fn begun() -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: Vec::new(),
            start: 0,
            gone: 0,
            size: 0,
            max: INITIAL,
            complete: true,
            exact: true,
        }
    }

    /// A table of which nothing is known.
    pub(super) fn found() -> Self {
        Self { max: MAX_TABLE, complete: false, exact: false, ..Self::begun() }
    }

    /// Bytes were missed that may have changed it.
    pub(super) fn lose(&mut self) {
        self.evict(0);
        self.compact();
        self.max = MAX_TABLE;
        self.complete = false;
        self.exact = false;
    }

    /// The entry behind `age` newer ones.
    pub(super) fn get(&self, age: usize) -> Lookup<'_> {
        let Some(entry) = self.entries.get(age) else {
            return if self.complete { Lookup::Invalid } else { Lookup::Unknown };
        };
        let start = (entry.at - self.gone) as usize;
        let field = &self.bytes[start..start + entry.bytes()];
        let (name, value) = field.split_at(entry.name.unwrap_or(0) as usize);
        Lookup::Field(entry.name.map(|_| name), value)
    }

    /// Makes an entry; evicts what has no room beside it (RFC 7541 section 4.4). `size` is that of name and
    /// value, of which no more may be given than the table can hold.
    pub(super) fn insert(&mut self, name: Option<&[u8]>, value: &[u8], size: usize) {
        if self.make_room(size) {
            self.complete &= name.is_some();
            self.bytes.extend_from_slice(name.unwrap_or_default());
            self.push(name.map(<[u8]>::len), value);
        }
        self.compact();
    }

    /// Likewise, with the name of the entry behind `age` newer ones, which is let go if that makes the room.
    pub(super) fn insert_alike(&mut self, age: usize, value: &[u8], size: usize) {
        let named = self.entries.get(age).copied();
        if self.make_room(size) {
            let name = named.and_then(|entry| Some((entry.at, entry.name? as usize)));
            self.complete &= name.is_some();
            if let Some((at, length)) = name {
                let start = (at - self.gone) as usize;
                self.bytes.extend_from_within(start..start + length);
            }
            self.push(name.map(|(_, length)| length), value);
        }
        self.compact();
    }

    /// Evicts what has no room beside an entry of this size; says whether there is room for it then.
    fn make_room(&mut self, size: usize) -> bool {
        let size = size.saturating_add(OVERHEAD);
        self.evict(self.max.saturating_sub(size));
        size <= self.max
    }

    /// Makes an entry with a name, of which so many bytes were written last.
    fn push(&mut self, name: Option<usize>, value: &[u8]) {
        let length = name.unwrap_or(0);
        let at = self.gone + (self.bytes.len() - length) as u64;
        self.bytes.extend_from_slice(value);
        self.entries.push_front(Entry { at, name: name.map(|name| name as u32), value: value.len() as u32 });
        self.size += OVERHEAD + length + value.len();
    }

    /// The encoder uses so many bytes from here on (RFC 7541 section 6.3).
    pub(super) fn resize(&mut self, max: usize) {
        self.exact = max <= MAX_TABLE;
        self.max = max.min(MAX_TABLE);
        self.evict(self.max);
        self.compact();
        if max == 0 {
            self.complete = true;
        }
    }

    /// Drops the oldest entries until no more than `room` is taken. Their bytes stay where they are.
    fn evict(&mut self, room: usize) {
        while self.size > room
            && let Some(entry) = self.entries.pop_back()
        {
            self.start += entry.bytes();
            self.size -= OVERHEAD + entry.bytes();
            // The encoder, who may have more room, may still have it.
            self.complete &= self.exact;
        }
    }

    /// Moves the bytes of the entries together if many were let go.
    fn compact(&mut self) {
        if self.start > SLACK && self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.gone += self.start as u64;
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &mut Dynamic, name: &[u8], value: &[u8]) {
        table.insert(Some(name), value, name.len() + value.len());
    }

    #[test]
    fn the_newest_comes_first_and_the_oldest_goes_first() {
        let mut table = Dynamic::begun();
        table.resize(80);
        for (name, value) in [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")] {
            insert(&mut table, name, value);
        }
        assert_eq!(table.get(0), Lookup::Field(Some(b"c"), b"3"));
        assert_eq!(table.get(1), Lookup::Field(Some(b"b"), b"2"));
        assert_eq!(table.get(2), Lookup::Invalid);
        insert(&mut table, b"long", &[b'x'; 80]);
        assert_eq!(table.get(0), Lookup::Invalid, "an entry without room empties the table");
    }

    #[test]
    fn what_was_made_before_a_loss_is_unknown_until_the_table_was_emptied() {
        let mut table = Dynamic::begun();
        insert(&mut table, b"a", b"1");
        table.lose();
        assert_eq!(table.get(0), Lookup::Unknown);
        insert(&mut table, b"b", b"2");
        assert_eq!(table.get(0), Lookup::Field(Some(b"b"), b"2"));
        assert_eq!(table.get(1), Lookup::Unknown);
        table.resize(0);
        table.resize(4096);
        assert_eq!(table.get(0), Lookup::Invalid);
    }

    #[test]
    fn memory_is_bounded_whatever_the_encoder_claims() {
        let mut table = Dynamic::begun();
        table.resize(usize::MAX);
        for _ in 0..10_000 {
            insert(&mut table, b"name", &[b'v'; 100]);
        }
        assert!(table.size <= MAX_TABLE && table.bytes.len() <= 3 * MAX_TABLE);
        assert_eq!(table.get(9_999), Lookup::Unknown, "the encoder may still have it");
        assert_eq!(table.get(0), Lookup::Field(Some(b"name"), &[b'v'; 100]));
    }
}
