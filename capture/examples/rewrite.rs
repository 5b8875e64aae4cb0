//! Records a capture again, from its file instead of the kernel: redaction, journal and Parquet, so many times over.
//!
//!     rewrite --times 3 -o copy.parquet run.parquet
//!
//! What one time costs is what two of them cost more than one: reading is done once. The journal is beside the copy.

use std::{fs::File, path::PathBuf};

use anyhow::Context;
use beyla_engine::redact::{Policy, Redactor};
use beyla_schema::{
    arrow::events::EventBatch,
    event::Event,
    file::{EventReader, JournaledWriter, Metadata, Names, Projection},
};
use clap::Parser;

/// Events between two commits, as many as come in a moment of load.
const COMMIT: usize = 4096;

#[derive(Parser)]
struct Options {
    /// Capture to record again
    input: PathBuf,
    /// How often
    #[arg(long, default_value_t = 1)]
    times: u32,
    /// Where to write it
    #[arg(short, long)]
    output: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Options { input, times, output } = Options::parse();
    let mut reader = EventReader::open_path(&input, Projection::All)?;
    let mut batches = Vec::new();
    while let Some(batch) = reader.next_record_batch()? {
        batches.push(EventBatch::new(&batch)?);
    }
    let mut events = Vec::new();
    for batch in &batches {
        for row in 0..batch.rows() {
            events.extend(batch.event(row).map_err(anyhow::Error::msg)?);
        }
    }
    for _ in 0..times {
        record(&events, reader.metadata(), &Names::of(&output))
            .with_context(|| output.display().to_string())?;
    }
    Ok(())
}

fn record(events: &[Event<'_>], metadata: &Metadata, names: &Names) -> anyhow::Result<()> {
    let mut redactor = Redactor::new(&Policy::standard());
    let (file, journal) = (File::create(&names.path)?, File::create(&names.journal)?);
    let mut writer = JournaledWriter::create(file, journal, metadata.clone())?;
    for events in events.chunks(COMMIT) {
        for event in events {
            writer.push(&redactor.redact(event))?;
        }
        writer.commit()?;
    }
    writer.finish(metadata)?;
    Ok(())
}
