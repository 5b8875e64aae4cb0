//! The columns of the tables, with their types and meanings, and how a file's columns differ from those of the format.

use std::path::Path;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use beyla_schema::{
    arrow::{
        columns::{EVENTS, Meaning, REQUESTS},
        events, requests,
    },
    file::VERSION,
};
use serde::Serialize;

use crate::{
    Error,
    replay::Capture,
    table::{Align, BOLD, Cell, DIM, Table, paint, printable},
};

/// Name and version of the schema: the number changes when a field changes its meaning or goes away.
const SCHEMA: &str = "beyla-analyze/schema/1";

/// A table, and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The rows of the files.
    Events,
    /// What the engine makes of them.
    Requests,
}

/// The columns of some tables, and perhaps of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    schema: &'static str,
    /// Version of the format that this program writes.
    version: String,
    tables: Vec<Described>,
    file: Option<File>,
}

#[derive(Clone, Debug, Serialize)]
struct Described {
    table: &'static str,
    columns: Vec<Column>,
}

#[derive(Clone, Debug, Serialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    nullable: bool,
    rows: &'static str,
    meaning: &'static str,
}

/// How the columns of a file differ.
#[derive(Clone, Debug, Serialize)]
struct File {
    #[serde(rename = "file")]
    name: String,
    version: String,
    /// Columns of the format that it lacks.
    missing: Vec<String>,
    /// Columns that it has beside them.
    additional: Vec<Additional>,
    /// Columns of another type.
    different: Vec<Additional>,
}

#[derive(Clone, Debug, Serialize)]
struct Additional {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
}

/// Describes tables, and compares a file with the format.
pub fn describe(tables: &[Of], file: Option<&Path>) -> Result<Description, Error> {
    let tables = tables.iter().map(|table| match table {
        Of::Events => described("events", &events::schema(), EVENTS),
        Of::Requests => described("requests", &requests::schema(), REQUESTS),
    });
    Ok(Description {
        schema: SCHEMA,
        version: VERSION.to_string(),
        tables: tables.collect(),
        file: file.map(compared).transpose()?,
    })
}

fn described(table: &'static str, schema: &Schema, meanings: &'static [Meaning]) -> Described {
    let column = |field: &arrow::datatypes::FieldRef| {
        let meaning = meanings.iter().find(|meaning| meaning.name == field.name());
        Column {
            name: field.name().clone(),
            data_type: type_name(field.data_type()),
            nullable: field.is_nullable(),
            rows: meaning.map_or("", |meaning| meaning.rows),
            meaning: meaning.map_or("", |meaning| meaning.meaning),
        }
    };
    Described { table, columns: schema.fields().iter().map(column).collect() }
}

fn compared(path: &Path) -> Result<File, Error> {
    let capture = Capture::open_whole(path)?;
    let (ours, theirs) = (events::schema(), capture.schema());
    let additional = |name: &String, data_type: &DataType| Additional {
        name: name.clone(),
        data_type: type_name(data_type),
    };
    let mut file = File {
        name: capture.name().to_owned(),
        version: capture.metadata().schema_version.to_string(),
        missing: Vec::new(),
        additional: Vec::new(),
        different: Vec::new(),
    };
    for field in ours.fields() {
        match theirs.field_with_name(field.name()) {
            Err(_) => file.missing.push(field.name().clone()),
            Ok(column) if type_name(column.data_type()) == type_name(field.data_type()) => {}
            Ok(column) => file.different.push(additional(column.name(), column.data_type())),
        }
    }
    for column in theirs.fields().iter().filter(|column| ours.field_with_name(column.name()).is_err()) {
        file.additional.push(additional(column.name(), column.data_type()));
    }
    Ok(file)
}

/// The name of a type in the documents.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        // A dictionary is only a way to write its values.
        DataType::Dictionary(_, values) => type_name(values),
        DataType::Utf8 => "text".to_owned(),
        DataType::Binary => "binary".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::UInt16 => "uint16".to_owned(),
        DataType::UInt32 => "uint32".to_owned(),
        DataType::UInt64 => "uint64".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Timestamp(TimeUnit::Nanosecond, Some(zone)) if &**zone == "UTC" => {
            "timestamp, ns, UTC".to_owned()
        }
        other => other.to_string(),
    }
}

/// As text with ANSI styles.
pub fn text(description: &Description) -> String {
    let mut out = String::new();
    for (index, Described { table, columns }) in description.tables.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        paint(&mut out, BOLD, table);
        if *table == "events" {
            paint(&mut out, DIM, &format!(", format {}", description.version));
        }
        out.push('\n');
        let mut rows = Table::new([Align::Left; 5]);
        let heads = ["column", "type", "null", "rows", "meaning"];
        rows.push(heads.map(|head| Cell::new(head).styled(DIM)).to_vec());
        for column in columns {
            let nullable = if column.nullable { "yes" } else { "no" };
            let cells = [&*column.name, &column.data_type, nullable, column.rows, column.meaning];
            rows.push(cells.map(Cell::new).to_vec());
        }
        rows.render(&mut out, 2, usize::MAX);
    }
    if let Some(file) = &description.file {
        if !out.is_empty() {
            out.push('\n');
        }
        compared_text(&mut out, file);
    }
    out
}

fn compared_text(out: &mut String, file: &File) {
    let File { name, version, missing, additional, different } = file;
    paint(out, BOLD, &printable(name));
    out.push_str(", format ");
    out.push_str(&printable(version));
    out.push('\n');
    let typed = |columns: &[Additional]| {
        let columns = columns.iter().map(|column| format!("{} ({})", column.name, column.data_type));
        columns.collect::<Vec<_>>().join(", ")
    };
    let lists =
        [("missing", missing.join(", ")), ("additional", typed(additional)), ("different", typed(different))];
    for (label, columns) in lists.iter().filter(|(_, columns)| !columns.is_empty()) {
        out.push_str("  ");
        paint(out, DIM, &format!("{label:<12}"));
        out.push_str(&printable(columns));
        out.push('\n');
    }
    if lists.iter().all(|(_, columns)| columns.is_empty()) {
        out.push_str("  the columns are those of the format\n");
    }
}

/// As JSON, ended by a newline.
pub fn json(description: &Description) -> String {
    // Only maps with keys that are no text, and types that refuse, can fail to serialise; there are none here.
    let mut json = serde_json::to_string_pretty(description).unwrap_or_default();
    json.push('\n');
    json
}
