//! `time_bucket(width, time)`: times by spans of the same width, counted from 1970 in UTC.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray},
    datatypes::{DataType, IntervalUnit, TimeUnit, TimestampNanosecondType},
};
use datafusion::{
    common::{ScalarValue, exec_err, plan_err},
    error::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};

const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeBucket {
    signature: Signature,
}

impl TimeBucket {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// Nanoseconds of a width.
fn width(argument: Option<&ColumnarValue>) -> Result<i64> {
    let ns = match argument {
        Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(text)))) => match humantime::parse_duration(text) {
            Ok(width) => i64::try_from(width.as_nanos()).ok(),
            Err(error) => return exec_err!("time_bucket: {text}: {error}; a width is like 10s or 5m"),
        },
        Some(ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(width)))) => {
            if width.months != 0 {
                return exec_err!("time_bucket: months have no width: date_trunc('month', time) does that");
            }
            DAY_NS.checked_mul(width.days.into()).and_then(|days| days.checked_add(width.nanoseconds))
        }
        _ => return exec_err!("time_bucket: the width is the same for all rows, such as '10s'"),
    };
    match ns {
        Some(ns) if ns > 0 => Ok(ns),
        _ => exec_err!("time_bucket: the width has to be more than nothing, and less than 292 years"),
    }
}

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &'static str {
        "time_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [width, time] = arguments else {
            return plan_err!("it is called as time_bucket('10s', time)");
        };
        let width = match width {
            DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            _ => DataType::Utf8,
        };
        let zone = match time {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => Some("UTC".into()),
        };
        Ok(vec![width, DataType::Timestamp(TimeUnit::Nanosecond, zone)])
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let called = || plan_err!("it is called as time_bucket('10s', time)");
        arguments.get(1).map_or_else(called, |time| Ok(time.clone()))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let width = width(call.args.first())?;
        let Some(times) = call.args.get(1) else { return exec_err!("time_bucket: there is no time") };
        let times = times.to_array(call.number_rows)?;
        let times = times.as_primitive::<TimestampNanosecondType>();
        let buckets = times.unary::<_, TimestampNanosecondType>(|ns| ns.saturating_sub(ns.rem_euclid(width)));
        let buckets = buckets.with_data_type(times.data_type().clone());
        Ok(ColumnarValue::Array(Arc::new(buckets)))
    }
}
