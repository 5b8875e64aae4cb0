//! Files that are not finished: at whatever moment their writer ends, what it had written down is read, once, and
//! what cannot be read says why.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs::{self, File},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use arrow::compute::concat_batches;
use beyla_schema::{
    event::{Body, Call, Data, Direction, Endpoint, Event, Open, Origin, Source, Transport},
    file::{Error, EventReader, EventWriter, JournaledWriter, Metadata, Names, Projection, VERSION},
};

fn metadata() -> Metadata {
    Metadata { schema_version: VERSION, capture_id: "00c0ffee00c0ffee".into(), ..Metadata::default() }
}

const PAYLOAD: [u8; 600] = [b'x'; 600];

/// The event numbered `number`.
fn event(number: u64) -> Event<'static> {
    let body = match number % 5 {
        0 => Body::Open(Open {
            origin: Origin::Accept,
            transport: Transport::Tcp,
            local: Endpoint::Inet("127.0.0.1:8080".parse().unwrap()),
            remote: Endpoint::Inet("[::1]:5000".parse().unwrap()),
        }),
        1 => Body::Seen(number),
        _ => Body::Data(Data {
            direction: Direction::Send,
            source: Source::Socket,
            call: Call::Sendmsg,
            position: number,
            goroutine: number % 3,
            ready_ns: number.is_multiple_of(2).then_some(7),
            length: 5000,
            payload: &PAYLOAD[..(number * 37 % 600) as usize],
            tail: b"end",
        }),
    };
    Event { ts_ns: number, cpu: 1, seq: number, pid: 5, tid: 6, connection: 9, carried: false, body }
}

struct Files {
    _folder: tempfile::TempDir,
    names: Names,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { names: Names::of(&folder.path().join("run.parquet")), _folder: folder }
    }

    fn writer(&self, group_rows: usize) -> JournaledWriter {
        let (partial, journal) = (&self.names.partial, &self.names.journal);
        let mut writer = JournaledWriter::create(
            File::create(partial).unwrap(),
            File::create(journal).unwrap(),
            metadata(),
        )
        .unwrap();
        writer.set_group_rows(group_rows);
        writer
    }

    /// As they are on the disk.
    fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        (fs::read(&self.names.partial).unwrap(), fs::read(&self.names.journal).unwrap())
    }

    fn set(&self, partial: &[u8], journal: &[u8]) {
        fs::write(&self.names.partial, partial).unwrap();
        fs::write(&self.names.journal, journal).unwrap();
    }

    /// How many events are there; they must be the first ones.
    fn read(&self) -> (u64, Result<(), Error>) {
        read(&self.names.path)
    }
}

fn read(path: &Path) -> (u64, Result<(), Error>) {
    let mut count = 0;
    let mut read = || {
        let mut reader = EventReader::open_path(path, Projection::All)?;
        let each = |got: &Event<'_>| {
            assert_eq!(*got, event(count));
            count += 1;
        };
        let mut each = each;
        while reader.next_batch(&mut each)?.is_some() {}
        Ok(())
    };
    let result = read();
    (count, result)
}

/// Writes events in batches of several sizes; after each, `each` gets the number of events so far.
fn write(files: &Files, group_rows: usize, batches: u64, mut each: impl FnMut(u64)) -> JournaledWriter {
    let mut writer = files.writer(group_rows);
    let mut count = 0;
    for batch in 0..batches {
        for _ in 0..=(batch * 3 % 8) {
            writer.push(&event(count)).unwrap();
            count += 1;
        }
        writer.commit().unwrap();
        assert_eq!(writer.kept(), count);
        each(count);
    }
    writer
}

#[test]
fn whatever_was_committed_is_read_at_any_moment() {
    let files = Files::new();
    let mut groups = 0;
    let mut before = (Vec::new(), Vec::new(), 0);
    write(&files, 20, 40, |count| {
        let (partial, journal) = files.bytes();
        let (read, result) = files.read();
        assert_eq!((read, result.unwrap()), (count, ()));
        let moments = Files::new();
        let is = |partial: &[u8], journal: &[u8], least| {
            moments.set(partial, journal);
            let (read, result) = moments.read();
            result.unwrap();
            assert!(least <= read && read <= count, "{least} <= {read} <= {count}");
        };
        let (partial_before, journal_before, count_before) = &before;
        if !journal_before.is_empty() {
            // While the frame is written, over whatever was there.
            let new_head =
                if partial.len() > partial_before.len() { &journal_before[..64] } else { &journal[..64] };
            for cut in (4096..journal.len()).step_by(211).chain([journal.len() - 1]) {
                let mut torn = journal[..cut].to_vec();
                torn[..64].copy_from_slice(new_head);
                torn.extend(journal_before.get(cut..).unwrap_or_default());
                if torn != *journal_before {
                    is(partial_before, &torn, *count_before);
                }
            }
            // The row group, its footer, and before the head of the journal is written.
            if partial.len() > partial_before.len() {
                groups += 1;
                let mut old_head = journal.clone();
                old_head[..64].copy_from_slice(&journal_before[..64]);
                for cut in (partial_before.len()..=partial.len()).step_by(501).chain([partial.len()]) {
                    is(&partial[..cut], &old_head, count);
                }
            }
        }
        before = (partial, journal, count);
    });
    assert!(groups > 4, "only {groups} row groups");
}

#[test]
fn a_finished_file_is_the_same_whether_it_was_journalled_or_not() {
    let files = Files::new();
    let mut writer = write(&files, 50, 60, |_| {});
    let count = writer.kept();
    let unfinished = EventReader::open_path(&files.names.path, Projection::All).unwrap();
    assert!(unfinished.unfinished() && unfinished.rows() == count && unfinished.rows_in_journal() > 0);
    let left = all(unfinished);
    writer.finish(&metadata()).unwrap();
    // Not yet in its place: what the footer at the end describes does not count twice.
    assert_eq!(files.read().0, count);
    fs::rename(&files.names.partial, &files.names.path).unwrap();
    // The journal is still there.
    let finished = EventReader::open_path(&files.names.partial, Projection::All).unwrap();
    assert!(!finished.unfinished());
    assert_eq!(all(finished), left);

    let plain = files.names.path.with_file_name("plain.parquet");
    let mut writer = EventWriter::new(File::create(&plain).unwrap(), metadata().clock()).unwrap();
    (0..count).for_each(|number| writer.push(&event(number)).unwrap());
    writer.finish(&metadata()).unwrap();
    assert_eq!(all(EventReader::open_path(&plain, Projection::All).unwrap()), left);
}

/// All rows as one batch.
fn all(mut reader: EventReader) -> arrow::array::RecordBatch {
    let schema = reader.schema();
    let mut batches = Vec::new();
    while let Some(batch) = reader.next_record_batch().unwrap() {
        assert_eq!(batch.schema(), schema);
        batches.push(batch);
    }
    concat_batches(&schema, &batches).unwrap()
}

#[test]
fn both_halves_have_the_columns_that_are_asked_for() {
    let files = Files::new();
    write(&files, 10, 12, |_| {});
    let mut reader = EventReader::open_path(&files.names.path, Projection::Pairing).unwrap();
    let schema = reader.schema();
    assert!(schema.column_with_name("payload").is_some() && schema.column_with_name("cgroup").is_none());
    while let Some(batch) = reader.next_record_batch().unwrap() {
        assert_eq!(batch.schema(), schema);
    }
}

#[test]
fn a_capture_that_goes_on_is_read_up_to_some_moment() {
    let files = Files::new();
    let (done, kept) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Until it was read often enough, but not for ever.
            let mut writer = files.writer(500);
            for number in 0..100_000 {
                writer.push(&event(number)).unwrap();
                if number % 13 == 0 {
                    writer.commit().unwrap();
                    kept.store(writer.kept(), Ordering::Release);
                }
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        while kept.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        // Often, and for as long as it takes the writer to close a few row groups.
        let mut reads = 0;
        while reads < 12 || kept.load(Ordering::Acquire) <= 3000 {
            reads += 1;
            let least = kept.load(Ordering::Acquire);
            let (count, result) = files.read();
            done.store(result.is_err(), Ordering::Relaxed);
            result.unwrap();
            assert!(count >= least, "{count} of {least}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn damage_in_the_middle_is_said_and_a_torn_end_is_not() {
    let files = Files::new();
    write(&files, 1000, 10, |_| {});
    let (partial, journal) = files.bytes();
    files.set(&partial, &journal[..journal.len() - 1]);
    let (torn, result) = files.read();
    result.unwrap();
    let mut damaged = journal.clone();
    // In the records of the first frame.
    damaged[4096 + 30] ^= 1;
    files.set(&partial, &damaged);
    let (count, result) = files.read();
    let said = result.unwrap_err().to_string();
    assert!(said.contains("run.parquet.journal: byte 4096: a frame is damaged"), "{said}");
    assert!(count == 0 && torn > 20);
}

#[test]
fn a_damaged_journal_is_an_error_or_a_beginning_never_a_panic() {
    let files = Files::new();
    let mut count = 0;
    write(&files, 20, 14, |so_far| count = so_far);
    let (partial, journal) = files.bytes();
    let mut errors = 0;
    for at in (0..journal.len()).step_by(7) {
        for flip in [0x01, 0xff] {
            let mut damaged = journal.clone();
            damaged[at] ^= flip;
            files.set(&partial, &damaged);
            let (read, result) = files.read();
            assert!(read <= count);
            errors += usize::from(result.is_err());
            if let Err(error) = result {
                let said = error.to_string();
                assert!(said.contains("run.parquet.journal: byte "), "{said}");
            }
        }
    }
    assert!(errors > 100, "only {errors} errors");
    for length in [0, 1, 35, 36, 63, 64, 65, 100] {
        files.set(&partial, &journal[..length]);
        assert!(files.read().1.is_err(), "{length}");
    }
    // Lengths and counts that would take more than there is.
    for at in [8, 24, 4096 + 8, 4096 + 12] {
        let mut damaged = journal.clone();
        damaged[at..at + 4].fill(0xff);
        files.set(&partial, &damaged);
        let _ = files.read();
    }
}

#[test]
fn damaged_row_groups_are_an_error_never_a_panic() {
    let files = Files::new();
    write(&files, 30, 20, |_| {});
    let (partial, journal) = files.bytes();
    let mut errors = 0;
    for at in (0..partial.len()).step_by(11) {
        let mut damaged = partial.clone();
        damaged[at] ^= 0x55;
        files.set(&damaged, &journal);
        // A payload has no checksum of its own.
        let read = || {
            let mut reader = EventReader::open_path(&files.names.path, Projection::All)?;
            while reader.next_batch(|_| {})?.is_some() {}
            Ok::<_, Error>(())
        };
        errors += usize::from(read().is_err());
    }
    assert!(errors > partial.len() / 11 / 10, "only {errors} errors");
    for length in [0, 1, 4, 11, 12, partial.len() - 1] {
        files.set(&partial[..length], &journal);
        let said = files.read().1.unwrap_err().to_string();
        assert!(said.contains("run.parquet.partial: byte "), "{said}");
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let files = Files::new();
    write(&files, 10, 20, |_| {});
    let (partial, journal) = files.bytes();
    let other = Files::new();
    let another = Metadata { capture_id: "1".into(), ..metadata() };
    let new = |path: &Path| File::create(path).unwrap();
    let _ = JournaledWriter::create(new(&other.names.partial), new(&other.names.journal), another).unwrap();
    let mut foreign = other.bytes().1;
    // It says as much of the partial file counts as its own journal does.
    foreign[24..32].copy_from_slice(&journal[24..32]);
    files.set(&partial, &foreign);
    assert!(files.read().1.is_err());

    fs::remove_file(&files.names.partial).unwrap();
    fs::write(&files.names.journal, &journal).unwrap();
    let said = files.read().1.unwrap_err().to_string();
    assert!(said.contains("run.parquet.partial: "), "{said}");

    // Without a journal, what the last footer describes is there, and only that.
    fs::remove_file(&files.names.journal).unwrap();
    let length = u64::from_le_bytes(journal[24..32].try_into().unwrap()) as usize;
    fs::write(&files.names.partial, &partial[..length]).unwrap();
    let (count, result) = files.read();
    result.unwrap();
    assert!(count > 10);
    fs::write(&files.names.partial, &partial[..length - 10]).unwrap();
    assert!(files.read().1.is_err());
}
