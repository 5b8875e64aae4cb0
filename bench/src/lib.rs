//! What the benchmarks are given: the events of real services, out of the fixtures.

use std::path::Path;

use arrow::array::RecordBatch;
use beyla_schema::arrow::events::EventBatch;
use beyla_schema::event::{Body, Data, Event};
use beyla_schema::file::{EventReader, Projection};

/// A capture in memory.
pub struct Capture {
    /// Its columns, as a file gives them.
    pub records: Vec<RecordBatch>,
    batches: Vec<EventBatch>,
}

impl Capture {
    /// Reads the fixture called `name`.
    pub fn of(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/{name}/{name}.parquet"));
        let mut reader = EventReader::open_path(&path, Projection::All).expect("a fixture can be opened");
        let mut records = Vec::new();
        while let Some(batch) = reader.next_record_batch().expect("a fixture can be read") {
            records.push(batch);
        }
        let batches = records.iter().map(EventBatch::new).collect::<Result<_, _>>();
        Self { records, batches: batches.expect("a fixture has our columns") }
    }

    /// Its events.
    pub fn events(&self) -> Vec<Event<'_>> {
        let rows = self.batches.iter().flat_map(|batch| (0..batch.rows()).map(|row| batch.event(row)));
        rows.flat_map(|event| event.expect("a fixture's rows are sound")).collect()
    }

    /// Its calls, and the connections they are of.
    pub fn calls(&self) -> Vec<(u64, Data<'_>)> {
        self.events().into_iter().filter_map(call).collect()
    }
}

fn call(event: Event<'_>) -> Option<(u64, Data<'_>)> {
    match event.body {
        Body::Data(data) => Some((event.connection, data)),
        _ => None,
    }
}
