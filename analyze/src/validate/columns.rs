//! What can be said of columns without knowing what events mean: their types, which kinds of rows have values in
//! them, the wall time, and that as many bytes are there as the row says.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Schema, TimestampNanosecondType, UInt32Type, UInt64Type},
    error::ArrowError,
};
use beyla_schema::{
    arrow::events::schema,
    event::Clock,
    file::{VERSION, Version},
};

use super::log::{At, Invariant, Log};

/// The kinds of rows, and a bit for each.
const KINDS: &[&str] = &["open", "data", "close", "listen", "process", "loss", "seen", "end"];

/// Which kinds of rows may have a value in a column that not all have, and which must.
const RULES: &[(&str, &[&str], &[&str])] = &[
    ("pid", &["open", "data", "listen", "process"], &["data", "process"]),
    ("tid", &["open", "data", "listen", "process"], &["data"]),
    ("connection", &["open", "data", "close", "listen"], &["open", "data", "close", "listen"]),
    ("action", &["open", "process", "end"], &["open", "process", "end"]),
    ("direction", &["data", "close"], &["data"]),
    ("source", &["data"], &["data"]),
    ("call", &["data"], &["data"]),
    ("position", &["data"], &["data"]),
    ("ready_ns", &["data"], &[]),
    ("goroutine", &["data"], &[]),
    ("length", &["data"], &["data"]),
    ("captured", &["data"], &["data"]),
    ("payload", &["data"], &["data"]),
    ("tail", &["data"], &[]),
    ("transport", &["open", "listen"], &["open", "listen"]),
    ("local_address", &["open", "listen"], &[]),
    ("local_port", &["open", "listen"], &[]),
    ("remote_address", &["open"], &[]),
    ("remote_port", &["open"], &[]),
    ("received", &["close"], &["close"]),
    ("sent", &["close"], &["close"]),
    ("parent", &["process"], &[]),
    ("executable", &["process"], &[]),
    ("service", &["process"], &[]),
    ("started", &["process"], &[]),
    ("command_line", &["process"], &[]),
    ("cgroup", &["process"], &[]),
    ("container", &["process"], &[]),
    ("runtime", &["process"], &[]),
    ("cause", &["loss"], &["loss"]),
    ("count", &["loss", "seen"], &["loss", "seen"]),
    ("carried", &["open", "listen", "process", "loss", "seen"], &[]),
];

fn bits(kinds: &[&str]) -> u8 {
    let bit = |(index, kind)| u8::from(kinds.contains(kind)) << index;
    KINDS.iter().enumerate().map(bit).sum()
}

/// Compares the columns of a file with those of the format. A file of an older version may lack some, one of a
/// newer version may have more.
pub(super) fn check_schema(columns: &Schema, version: Version, at: At, log: &mut Log) {
    let ours = schema();
    for field in ours.fields() {
        let reason = match columns.field_with_name(field.name()) {
            Err(_) if version < VERSION => continue,
            Ok(column) if plain(column.data_type()) == plain(field.data_type()) => None,
            Ok(column) => Some(format!("column `{}` is of type {}", field.name(), column.data_type())),
            Err(_) => Some(format!("there is no column `{}`", field.name())),
        };
        log.check(Invariant::Columns, at, None);
        if let Some(reason) = reason {
            log.fail(Invariant::Columns, at.file, None, reason);
        }
    }
    let unknown = |name: &&String| ours.field_with_name(name).is_err();
    for name in columns.fields().iter().map(|field| field.name()).filter(unknown) {
        if version <= VERSION {
            log.fail(Invariant::Columns, at.file, None, format!("column `{name}` is not of the format"));
        }
    }
}

/// A dictionary is only a way to write its values.
fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}

/// Looks at the rows of a batch; `at` is its first row.
pub(super) fn check_rows(batch: &RecordBatch, clock: Clock, at: At, log: &mut Log) -> Result<(), ArrowError> {
    nulls(batch, at, log)?;
    time(batch, clock, at, log);
    captured(batch, at, log);
    Ok(())
}

fn nulls(batch: &RecordBatch, at: At, log: &mut Log) -> Result<(), ArrowError> {
    let Some(kinds) = batch.column_by_name("kind") else { return Ok(()) };
    let kinds = cast(kinds, &DataType::Utf8)?;
    let kinds = kinds.as_string::<i32>();
    let bit = |kind: Option<&str>| match KINDS.iter().position(|known| Some(*known) == kind) {
        Some(index) => 1 << index,
        None => 0u8,
    };
    let kinds: Vec<u8> = kinds.iter().map(bit).collect();
    for (name, may, must) in RULES {
        let Some(column) = batch.column_by_name(name) else { continue };
        let (may, must) = (bits(may), bits(must));
        // Of a kind that is not known nothing is known.
        let wrong = |row: usize| kinds[row] & if column.is_valid(row) { !may } else { must } != 0;
        for row in (0..batch.num_rows()).filter(|row| wrong(*row)) {
            let kind = KINDS[kinds[row].trailing_zeros() as usize];
            let has = if column.is_valid(row) { "with a value in" } else { "without" };
            let reason = format!("a `{kind}` row {has} `{name}`");
            log.fail(Invariant::Nulls, at.file, Some(at.row + row as u64), reason);
        }
    }
    for name in ["kind", "time", "ts_ns", "cpu", "seq"] {
        let Some(column) = batch.column_by_name(name).filter(|column| column.null_count() > 0) else {
            continue;
        };
        for row in (0..batch.num_rows()).filter(|row| column.is_null(*row)) {
            let reason = format!("a row without `{name}`");
            log.fail(Invariant::Nulls, at.file, Some(at.row + row as u64), reason);
        }
    }
    log.looked(Invariant::Nulls, batch.num_rows());
    Ok(())
}

fn time(batch: &RecordBatch, clock: Clock, at: At, log: &mut Log) {
    let time =
        batch.column_by_name("time").and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    let ts_ns = batch.column_by_name("ts_ns").and_then(|column| column.as_primitive_opt::<UInt64Type>());
    let Some((time, ts_ns)) = time.zip(ts_ns) else { return };
    for (row, (time, ts_ns)) in (at.row..).zip(time.values().iter().zip(ts_ns.values())) {
        let wall = clock.wall_ns(*ts_ns);
        if *time != wall {
            let reason = format!("time is {} ns off", i128::from(*time) - i128::from(wall));
            log.fail(Invariant::Time, at.file, Some(row), reason);
        }
    }
    log.looked(Invariant::Time, batch.num_rows());
}

fn captured(batch: &RecordBatch, at: At, log: &mut Log) {
    let number = |name| batch.column_by_name(name)?.as_primitive_opt::<UInt32Type>();
    let binary = |name| batch.column_by_name(name)?.as_binary_opt::<i32>();
    let (Some(captured), Some(payload), Some(tail)) = (number("captured"), binary("payload"), binary("tail"))
    else {
        return;
    };
    for row in (0..batch.num_rows()).filter(|row| captured.is_valid(*row)) {
        let kept = payload.value_length(row) + tail.value_length(row);
        let says = captured.value(row);
        if u32::try_from(kept) != Ok(says) {
            let reason = format!("captured is {says}, and {kept} bytes are there");
            log.fail(Invariant::Captured, at.file, Some(at.row + row as u64), reason);
        }
    }
}
