//! Decodes the columns that pairing needs with the Parquet library alone, and prints how many rows there were: what any
//! replay of the file costs at least.
//!
//!     decode run.parquet
#![allow(clippy::print_stdout, reason = "it is a tool of the command line")]

use std::{error::Error, fs::File, hint::black_box};

use beyla_schema::arrow::events::NOT_FOR_PAIRING;
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};

/// As many as a replay decodes at a time.
const BATCH_ROWS: usize = 8 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("which file?")?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let columns = builder.metadata().file_metadata().schema_descr();
    let needed = (0..columns.num_columns())
        .filter(|&column| !NOT_FOR_PAIRING.contains(&columns.column(column).name()));
    let mask = ProjectionMask::leaves(columns, needed);
    let mut rows = 0;
    for batch in builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()? {
        rows += black_box(batch?).num_rows();
    }
    println!("{rows} rows");
    Ok(())
}
