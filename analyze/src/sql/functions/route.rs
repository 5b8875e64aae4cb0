//! `route(path [, unmatched])`: what the route rules make of a path.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{Array, AsArray, StringBuilder},
    datatypes::DataType,
};
use beyla_engine::route::{Routes, Rules, Unmatched};
use datafusion::{
    common::{ScalarValue, exec_err, plan_err},
    error::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};

/// The function, with the rules that are used where none are named.
#[derive(Debug)]
pub(super) struct Route {
    signature: Signature,
    rules: Rules,
    /// What resolved paths last, since batches mostly ask by the same rules.
    last: Mutex<Option<Routes>>,
}

impl Route {
    pub(super) fn new(rules: Rules) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { signature, rules, last: Mutex::default() }
    }

    fn rules(&self, unmatched: Option<&ColumnarValue>) -> Result<Rules> {
        let mut rules = self.rules.clone();
        match unmatched {
            None => {}
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))) => match name.parse() {
                Ok(unmatched) => rules.unmatched = unmatched,
                Err(error) => return exec_err!("route: {error}"),
            },
            Some(_) => return exec_err!("route: its second argument is the same for all rows"),
        }
        if rules.unmatched == Unmatched::LowCardinality {
            return exec_err!(
                "route: low-cardinality depends on the paths before; the column `route` has it, with --unmatched"
            );
        }
        Ok(rules)
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.signature.hash(state);
    }
}

impl ScalarUDFImpl for Route {
    fn name(&self) -> &'static str {
        "route"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments.len() {
            1 | 2 => Ok(vec![DataType::Utf8; arguments.len()]),
            _ => plan_err!("it is called as route(path) or route(path, 'heuristic')"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rules = self.rules(call.args.get(1))?;
        let Some(paths) = call.args.first() else { return exec_err!("route: there is no path") };
        let paths = paths.to_array(call.number_rows)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let routes = match &mut *last {
            Some(routes) if *routes.rules() == rules => routes,
            other => other.insert(Routes::new(rules)),
        };
        let mut found = StringBuilder::new();
        for path in paths.as_string::<i32>() {
            found.append_option(path.and_then(|path| routes.resolve("", path).route));
        }
        Ok(ColumnarValue::Array(Arc::new(found.finish()) as Arc<dyn Array>))
    }
}
