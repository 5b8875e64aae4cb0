//! `quantile(x, q)`, and `p50`, `p90`, `p95`, `p99`: as the report has them.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, UInt64Array},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, FieldRef, Float64Type, UInt64Type},
};
use datafusion::{
    common::{ScalarValue, plan_err},
    error::Result,
    logical_expr::{
        Accumulator, AggregateUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
    physical_expr::{PhysicalExpr, expressions::Literal},
};

use super::histogram::{Histogram, Parts};

const BILLION: f64 = 1e9;

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Quantile {
    name: &'static str,
    /// The share; none when the call says.
    billionths: Option<u32>,
    signature: Signature,
}

impl Quantile {
    /// `quantile(x, q)`.
    pub(super) fn any() -> Self {
        let signature = Signature::exact(vec![DataType::Float64, DataType::Float64], Volatility::Immutable);
        Self { name: "quantile", billionths: None, signature }
    }

    /// A function called `name` of one argument.
    pub(super) fn percent(name: &'static str, percent: u32) -> Self {
        let signature = Signature::exact(vec![DataType::Float64], Volatility::Immutable);
        Self { name, billionths: Some(percent * 10_000_000), signature }
    }
}

impl AggregateUDFImpl for Quantile {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, call: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if call.is_distinct {
            return plan_err!("{} has no distinct", self.name);
        }
        let billionths = self.billionths.map_or_else(|| share(call.exprs.get(1)), Ok)?;
        Ok(Box::new(Numbers { billionths, histogram: Histogram::default() }))
    }

    fn state_fields(&self, call: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let list = DataType::List(Arc::new(Field::new_list_field(DataType::UInt64, true)));
        let field = |part| Arc::new(Field::new(format!("{}[{part}]", call.name), list.clone(), true));
        Ok(["numbers", "places", "counts"].map(field).into())
    }
}

/// Billionths of the share that a call names.
fn share(argument: Option<&Arc<dyn PhysicalExpr>>) -> Result<u32> {
    let share = argument.and_then(|share| share.downcast_ref::<Literal>());
    match share.map(Literal::value) {
        Some(ScalarValue::Float64(Some(share))) if (0.0..=1.0).contains(share) => {
            Ok((share * BILLION).round() as u32)
        }
        _ => plan_err!("quantile: its second argument is a number from 0 to 1"),
    }
}

/// What has come so far.
#[derive(Debug)]
struct Numbers {
    billionths: u32,
    histogram: Histogram,
}

impl Accumulator for Numbers {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if let Some(values) = values.first() {
            values.as_primitive::<Float64Type>().iter().flatten().for_each(|value| self.histogram.add(value));
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.histogram.quantile(self.billionths)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.histogram.bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (numbers, places, counts) = std::mem::take(&mut self.histogram).into_parts();
        let list = |values: Vec<u64>| {
            let field = Arc::new(Field::new_list_field(DataType::UInt64, true));
            let offsets = OffsetBuffer::from_lengths([values.len()]);
            let values = Arc::new(UInt64Array::from(values));
            Ok(ScalarValue::List(Arc::new(ListArray::try_new(field, offsets, values, None)?)))
        };
        [numbers, places, counts].map(list).into_iter().collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [numbers, places, counts] = states else { return plan_err!("a quantile has three parts") };
        for row in 0..numbers.len() {
            let part = |lists: &ArrayRef| lists.as_list::<i32>().value(row);
            let [numbers, places, counts] = [part(numbers), part(places), part(counts)];
            self.histogram.merge(&Parts {
                numbers: numbers.as_primitive::<UInt64Type>().values(),
                places: places.as_primitive::<UInt64Type>().values(),
                counts: counts.as_primitive::<UInt64Type>().values(),
            });
        }
        Ok(())
    }
}
