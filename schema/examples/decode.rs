//! Decodes the columns that pairing needs, with the Parquet library alone, and does nothing with them: what a replay is
//! measured against.
//!
//!     decode large.parquet
#![allow(clippy::print_stdout, reason = "it is a tool of the command line")]

use std::{error::Error, fs::File, hint::black_box};

use beyla_schema::arrow::events::NOT_FOR_PAIRING;
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};

/// As many as the reader of captures asks for.
const BATCH_ROWS: usize = 8 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: decode FILE")?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
    let columns = builder.parquet_schema();
    let names = columns.columns().iter().map(|column| column.name());
    let wanted = names.enumerate().filter(|(_, name)| !NOT_FOR_PAIRING.contains(name));
    let mask = ProjectionMask::leaves(columns, wanted.map(|(index, _)| index));
    let mut rows = 0;
    for batch in builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()? {
        rows += black_box(batch?).num_rows();
    }
    println!("{rows} rows");
    Ok(())
}
