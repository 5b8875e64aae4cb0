//! The journal: events that are in no closed row group yet, so that a capture that is killed loses nothing
//! that it had written down.
//!
//! ```text
//! 0      head: magic, length and CRC of the metadata, generation, length of the partial file, CRC of these
//! 64     metadata as JSON, padded to a page
//! page.. frames: generation, length, number of events, CRC of the records, CRC of these; records
//! ```
//!
//! A frame is one write. When a row group was closed, its events are no longer needed here: the head is rewritten
//! with the next generation and the new length of the partial file, and frames start over on the pages that are
//! there. That one small write decides: before it the row group does not count and its events are frames, after
//! it the frames do not count and the events are in the row group. A reader takes frames as long as they carry the
//! head's generation. Generations count from a number that differs between captures, so that no bytes that a
//! captured program sends can pass for a frame.
//!
//! All numbers are little-endian. Nothing is synchronised to the disk: what was written survives the end of the
//! process in any way, not that of the machine.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use super::{Error, Metadata, footer::Flaw, record};
use crate::event::Event;

const MAGIC: [u8; 8] = *b"BEYLAJ\0\x01";
const PAGE: u64 = 4096;
/// Bytes of a head, and where the metadata begin.
const HEAD: usize = 36;
const METADATA_AT: u64 = 64;
/// Bytes before a frame's records.
const FRAME: usize = 24;

/// A frame is written at this size, even when its batch of events goes on.
pub(super) const FRAME_FULL: usize = 256 << 10;

/// The journal should begin anew at this size, however few events are in it.
pub(super) const JOURNAL_FULL: u64 = 128 << 20;

/// No frame is longer: the longest event and a full frame before it.
const MAX_FRAME: u32 = 16 << 20;
/// No journal has more bytes of records.
const MAX_RECORDS: usize = 256 << 20;
const MAX_METADATA: u32 = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    metadata_length: u32,
    metadata_crc: u32,
    generation: u64,
    partial_length: u64,
}

impl Head {
    fn bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.metadata_length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.metadata_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.generation.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.partial_length.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..32]);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn of(bytes: [u8; HEAD]) -> Option<Self> {
        let head = Self {
            metadata_length: u32_at(&bytes, 8),
            metadata_crc: u32_at(&bytes, 12),
            generation: u64_at(&bytes, 16),
            partial_length: u64_at(&bytes, 24),
        };
        (head.bytes() == bytes && head.metadata_length <= MAX_METADATA).then_some(head)
    }

    fn frames_at(self) -> u64 {
        (METADATA_AT + u64::from(self.metadata_length)).next_multiple_of(PAGE)
    }
}

#[derive(Clone, Copy, Debug)]
struct FrameHead {
    length: u32,
    events: u32,
    crc: u32,
}

impl FrameHead {
    fn bytes(self, generation: u64) -> [u8; FRAME] {
        let mut bytes = [0; FRAME];
        bytes[..8].copy_from_slice(&generation.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.events.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..20]);
        bytes[20..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// None when these bytes are no frame of this generation.
    fn of(bytes: [u8; FRAME], generation: u64) -> Option<Self> {
        let head = Self { length: u32_at(&bytes, 8), events: u32_at(&bytes, 12), crc: u32_at(&bytes, 16) };
        (head.bytes(generation) == bytes && head.length <= MAX_FRAME).then_some(head)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// The writing side.
pub(super) struct Journal {
    file: File,
    head: Head,
    /// Where the next frame goes.
    end: u64,
    /// The next frame: room for its head, then records.
    frame: Vec<u8>,
    events: u32,
    written: u64,
}

impl Journal {
    /// Begins a journal in an empty file.
    pub(super) fn create(file: File, metadata: &Metadata) -> Result<Self, Error> {
        let json = serde_json::to_vec(metadata).map_err(Error::Metadata)?;
        let head = Head {
            metadata_length: json.len() as u32,
            metadata_crc: crc32fast::hash(&json),
            generation: u64::from_str_radix(&metadata.capture_id, 16).unwrap_or(1),
            partial_length: 0,
        };
        let mut bytes = head.bytes().to_vec();
        bytes.resize(METADATA_AT as usize, 0);
        bytes.extend(json);
        file.write_all_at(&bytes, 0)?;
        let written = bytes.len() as u64;
        Ok(Self { file, head, end: head.frames_at(), frame: vec![0; FRAME], events: 0, written })
    }

    /// Adds an event to the next frame.
    pub(super) fn push(&mut self, event: &Event<'_>) {
        record::encode(event, &mut self.frame);
        self.events += 1;
    }

    /// Whether the next frame should be written, though its batch goes on.
    pub(super) fn frame_full(&self) -> bool {
        self.frame.len() >= FRAME_FULL
    }

    /// Whether the journal should begin anew.
    pub(super) fn full(&self) -> bool {
        self.end >= JOURNAL_FULL
    }

    /// Bytes written so far, over all generations.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Writes the next frame, if it has any events. Returns how many.
    pub(super) fn commit(&mut self) -> io::Result<u32> {
        if self.events == 0 {
            return Ok(0);
        }
        let records = &self.frame[FRAME..];
        let head =
            FrameHead { length: records.len() as u32, events: self.events, crc: crc32fast::hash(records) };
        self.frame[..FRAME].copy_from_slice(&head.bytes(self.head.generation));
        self.file.write_all_at(&self.frame, self.end)?;
        self.end += self.frame.len() as u64;
        self.written += self.frame.len() as u64;
        self.frame.truncate(FRAME);
        Ok(std::mem::take(&mut self.events))
    }

    /// Every event so far is in the first `partial_length` bytes of the partial file: begins anew.
    pub(super) fn rewind(&mut self, partial_length: u64) -> io::Result<()> {
        let generation = self.head.generation.wrapping_add(1);
        let head = Head { generation, partial_length, ..self.head };
        self.file.write_all_at(&head.bytes(), 0)?;
        self.written += HEAD as u64;
        self.head = head;
        self.end = head.frames_at();
        Ok(())
    }
}

/// Up to where a journal was read: which generation of it, and where its next frame will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    head: Head,
    at: u64,
}

/// What a journal holds.
pub(super) struct Tail {
    /// The capture, as it was known at its beginning.
    pub(super) metadata: Metadata,
    /// How much of the partial file counts.
    pub(super) partial_length: u64,
    /// Records of events, one after the other.
    pub(super) records: Vec<u8>,
    /// How many.
    pub(super) events: u64,
    /// What ended the reading, if not the last frame.
    pub(super) damage: Option<Flaw>,
    /// Where it ended.
    pub(super) place: Place,
}

/// How often reading starts over because the capture goes on meanwhile. It takes as long to fill the journal
/// as to read it a hundred times.
const ATTEMPTS: usize = 100;

/// Reads a journal, which may be being written.
pub(super) fn read(file: &File) -> Result<Tail, Error> {
    let flawed = |(offset, reason)| Error::Unfinished { offset, reason };
    if file.metadata()?.len() <= METADATA_AT {
        return Err(flawed((0, "it is empty: nothing was recorded yet")));
    }
    for _ in 0..ATTEMPTS {
        let Some(head) = head(file)? else { continue };
        let tail = Tail {
            metadata: metadata(file, head)?,
            partial_length: head.partial_length,
            records: Vec::new(),
            events: 0,
            damage: None,
            place: Place { head, at: head.frames_at() },
        };
        let tail = frames(file, tail)?;
        // Frames of this generation are only overwritten after the head was.
        if self::head(file)? == Some(head) {
            return Ok(tail);
        }
    }
    Err(flawed((0, "this is not the head of a journal, or it is damaged")))
}

/// Reads the frames that were added behind `place`, which moves on. None when the journal began anew since, and when it
/// is being rewritten right now.
pub(super) fn read_on(file: &File, place: &mut Place) -> io::Result<Option<Vec<u8>>> {
    let mut records = Vec::new();
    let mut at = place.at;
    while records.len() < FRAME_FULL
        && let Some(frame) = frame(file, at, place.head.generation, &mut records)?
    {
        at += (FRAME + frame.length as usize) as u64;
    }
    // Frames of this generation are only overwritten after the head was.
    if head(file)? != Some(place.head) {
        return Ok(None);
    }
    place.at = at;
    Ok(Some(records))
}

fn head(file: &File) -> io::Result<Option<Head>> {
    let mut bytes = [0; HEAD];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Head::of(bytes))
}

fn metadata(file: &File, head: Head) -> Result<Metadata, Error> {
    let reason = "the metadata are damaged";
    let flawed = Error::Unfinished { offset: METADATA_AT, reason };
    if file.metadata()?.len() < METADATA_AT + u64::from(head.metadata_length) {
        return Err(flawed);
    }
    let mut json = vec![0; head.metadata_length as usize];
    file.read_exact_at(&mut json, METADATA_AT)?;
    if crc32fast::hash(&json) != head.metadata_crc {
        return Err(flawed);
    }
    let json = String::from_utf8(json).map_err(|_| flawed)?;
    Metadata::parse(&json)
}

fn frames(file: &File, mut tail: Tail) -> io::Result<Tail> {
    let head = tail.place.head;
    loop {
        let at = tail.place.at;
        if let Some(events) = frame(file, at, head.generation, &mut tail.records)? {
            tail.place.at += (FRAME + events.length as usize) as u64;
            tail.events += u64::from(events.events);
            continue;
        }
        // A frame that was being written when the capture ended is the last one. If there is one behind it,
        // it was written meanwhile, or it is damaged.
        if !any_frame(file, at + 1, head.generation)? {
            return Ok(tail);
        }
        if frame(file, at, head.generation, &mut Vec::new())?.is_none() {
            tail.damage = Some((at, "a frame is damaged, and there are others behind it"));
            return Ok(tail);
        }
    }
}

/// Reads the frame at `at` and appends its records. None when there is no whole one.
fn frame(file: &File, at: u64, generation: u64, records: &mut Vec<u8>) -> io::Result<Option<FrameHead>> {
    let mut bytes = [0; FRAME];
    if !filled(file, &mut bytes, at)? {
        return Ok(None);
    }
    let Some(head) = FrameHead::of(bytes, generation) else { return Ok(None) };
    let before = records.len();
    if before + head.length as usize > MAX_RECORDS {
        return Ok(None);
    }
    records.resize(before + head.length as usize, 0);
    let whole = filled(file, &mut records[before..], at + FRAME as u64)?;
    if whole && crc32fast::hash(&records[before..]) == head.crc {
        return Ok(Some(head));
    }
    records.truncate(before);
    Ok(None)
}

/// Whether the head of a frame lies anywhere from `at` on.
fn any_frame(file: &File, mut at: u64, generation: u64) -> io::Result<bool> {
    let mut bytes = vec![0; 1 << 20];
    loop {
        let length = read_up_to(file, &mut bytes, at)?;
        let mut windows = bytes[..length].array_windows::<FRAME>();
        let generation_bytes = generation.to_le_bytes();
        if windows
            .any(|window| window[..8] == generation_bytes && FrameHead::of(*window, generation).is_some())
        {
            return Ok(true);
        }
        if length < bytes.len() {
            return Ok(false);
        }
        at += (length - (FRAME - 1)) as u64;
    }
}

/// Fills `bytes` from `at`; false when the file ends before.
fn filled(file: &File, bytes: &mut [u8], at: u64) -> io::Result<bool> {
    Ok(read_up_to(file, bytes, at)? == bytes.len())
}

fn read_up_to(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], at.saturating_add(length as u64)) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
