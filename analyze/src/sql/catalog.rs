//! What a session knows by name: tables and views with their columns, and functions.

use datafusion::{execution::FunctionRegistry, logical_expr::TableType};

use super::{Session, output};

/// A table or a view.
pub(super) struct Known {
    pub(super) name: String,
    pub(super) is_view: bool,
    /// Names and types.
    pub(super) columns: Vec<(String, String)>,
}

/// The tables in the order in which they are listed; others follow by name.
const ORDER: [&str; 4] = ["requests", "connections", "losses", "events"];

impl Session {
    /// Tables and views, those that were made by queries among them.
    pub(super) fn known(&self) -> Vec<Known> {
        let mut catalogs =
            self.context.catalog_names().into_iter().filter_map(|name| self.context.catalog(&name));
        let schema = catalogs.find_map(|catalog| catalog.schema("public"));
        let Some(schema) = schema else { return Vec::new() };
        let known = |name: String| {
            let table = self.runtime.block_on(schema.table(&name)).ok()??;
            let schema = table.schema();
            let columns = schema.fields().iter();
            let columns = columns.map(|field| (field.name().clone(), output::type_name(field.data_type())));
            Some(Known { is_view: table.table_type() == TableType::View, columns: columns.collect(), name })
        };
        let mut tables: Vec<_> = schema.table_names().into_iter().filter_map(known).collect();
        let place = |name: &str| ORDER.iter().position(|listed| *listed == name).unwrap_or(ORDER.len());
        tables.sort_by_cached_key(|table| (table.is_view, place(&table.name), table.name.clone()));
        tables
    }

    /// Names of all functions, in their order.
    pub(super) fn function_names(&self) -> Vec<String> {
        let state = self.context.state();
        let mut names: Vec<_> = state.udfs().into_iter().chain(state.udafs()).chain(state.udwfs()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
