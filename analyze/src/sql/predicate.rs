//! Filters that are asked of a request before a row is made of it: comparisons of columns with constants. They say the same
//! as DataFusion would of the row, so that it need not ask again.

use std::cmp::Ordering;

use beyla_schema::{
    arrow::requests::{Getter, Source, Value},
    request::Request,
};
use datafusion::{
    arrow::datatypes::{DataType, TimeUnit},
    common::ScalarValue,
    logical_expr::{Between, BinaryExpr, Expr, Operator, expr::InList},
};

/// Something that is true of a request or is not. What SQL calls unknown is not true; so nothing is negated here but
/// single comparisons, of which null is left out either way.
pub(super) enum Predicate {
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    Compare(Getter, fn(Ordering) -> bool, Constant),
    In(Getter, Vec<Constant>),
    NotIn(Getter, Vec<Constant>),
    Null(Getter),
    NotNull(Getter),
}

/// A constant of the type of a column.
pub(super) enum Constant {
    Text(String),
    Int(i64),
    Bool(bool),
    Time(i64),
    Double(f64),
}

impl Predicate {
    /// What `filter` says, if it is one of these.
    pub(super) fn of(filter: &Expr) -> Option<Self> {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                Some(Self::And(Box::new([Self::of(left)?, Self::of(right)?])))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                Some(Self::Or(Box::new([Self::of(left)?, Self::of(right)?])))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (&**left, &**right) {
                (column, Expr::Literal(constant, _)) => Self::compare(column, *op, constant),
                (Expr::Literal(constant, _), column) => Self::compare(column, op.swap()?, constant),
                _ => None,
            },
            Expr::Between(Between { expr, negated: false, low, high }) => match (&**low, &**high) {
                (Expr::Literal(low, _), Expr::Literal(high, _)) => Some(Self::And(Box::new([
                    Self::compare(expr, Operator::GtEq, low)?,
                    Self::compare(expr, Operator::LtEq, high)?,
                ]))),
                _ => None,
            },
            Expr::InList(InList { expr, list, negated }) => {
                let getter = getter(expr)?;
                let constants = list.iter().map(|constant| match constant {
                    Expr::Literal(constant, _) => Constant::of(constant, getter),
                    _ => None,
                });
                let constants = constants.collect::<Option<_>>()?;
                Some(if *negated { Self::NotIn(getter, constants) } else { Self::In(getter, constants) })
            }
            Expr::IsNull(column) => getter(column).map(Self::Null),
            Expr::IsNotNull(column) => getter(column).map(Self::NotNull),
            Expr::Column(_) | Expr::IsTrue(_) => {
                let column = if let Expr::IsTrue(column) = filter { column } else { filter };
                Self::compare(column, Operator::Eq, &ScalarValue::Boolean(Some(true)))
            }
            Expr::Not(column) if matches!(**column, Expr::Column(_)) => {
                Self::compare(column, Operator::Eq, &ScalarValue::Boolean(Some(false)))
            }
            _ => None,
        }
    }

    fn compare(column: &Expr, operator: Operator, constant: &ScalarValue) -> Option<Self> {
        let getter = getter(column)?;
        let holds: fn(Ordering) -> bool = match operator {
            Operator::Eq => Ordering::is_eq,
            Operator::NotEq => Ordering::is_ne,
            Operator::Lt => Ordering::is_lt,
            Operator::LtEq => Ordering::is_le,
            Operator::Gt => Ordering::is_gt,
            Operator::GtEq => Ordering::is_ge,
            _ => return None,
        };
        Some(Self::Compare(getter, holds, Constant::of(constant, getter)?))
    }

    /// Whether it is true of a request of `source`.
    pub(super) fn holds(&self, request: &Request<'_>, source: &Source) -> bool {
        match self {
            Self::And(both) => both.iter().all(|side| side.holds(request, source)),
            Self::Or(either) => either.iter().any(|side| side.holds(request, source)),
            Self::Compare(getter, holds, constant) => {
                getter.get(request, source).and_then(|value| constant.order(value)).is_some_and(holds)
            }
            Self::In(getter, constants) => {
                getter.get(request, source).is_some_and(|value| among(value, constants))
            }
            Self::NotIn(getter, constants) => {
                getter.get(request, source).is_some_and(|value| !among(value, constants))
            }
            Self::Null(getter) => getter.get(request, source).is_none(),
            Self::NotNull(getter) => getter.get(request, source).is_some(),
        }
    }
}

fn getter(column: &Expr) -> Option<Getter> {
    match column {
        Expr::Column(column) => Getter::of(&column.name),
        _ => None,
    }
}

fn among(value: Value<'_>, constants: &[Constant]) -> bool {
    constants.iter().any(|constant| constant.order(value) == Some(Ordering::Equal))
}

impl Constant {
    /// A constant that needs no conversion to be compared with the column; null is none.
    fn of(constant: &ScalarValue, getter: Getter) -> Option<Self> {
        Some(match (getter.data_type(), constant) {
            (
                DataType::Utf8,
                ScalarValue::Utf8(Some(text))
                | ScalarValue::Utf8View(Some(text))
                | ScalarValue::LargeUtf8(Some(text)),
            ) => Self::Text(text.clone()),
            (DataType::Int64, ScalarValue::Int64(Some(value))) => Self::Int(*value),
            (DataType::Boolean, ScalarValue::Boolean(Some(value))) => Self::Bool(*value),
            (DataType::Float64, ScalarValue::Float64(Some(value))) => Self::Double(*value),
            (
                DataType::Timestamp(TimeUnit::Nanosecond, _),
                ScalarValue::TimestampNanosecond(Some(ns), Some(_)),
            ) => Self::Time(*ns),
            _ => return None,
        })
    }

    /// How `value` stands to it. None when they are of different types.
    fn order(&self, value: Value<'_>) -> Option<Ordering> {
        Some(match (value, self) {
            (Value::Text(value), Self::Text(constant)) => value.cmp(constant),
            (Value::Int(value), Self::Int(constant)) | (Value::Time(value), Self::Time(constant)) => {
                value.cmp(constant)
            }
            (Value::Bool(value), Self::Bool(constant)) => value.cmp(constant),
            // The order of Arrow.
            (Value::Double(value), Self::Double(constant)) => value.total_cmp(constant),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use beyla_schema::request::{EndReason, Kind};
    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn holds(filter: &Expr) -> Option<bool> {
        let request = Request {
            method: Some("GET"),
            status: Some(404),
            duration_ns: Some(2_000_000),
            ..Request::begun(Kind::Server, 5, EndReason::Response)
        };
        Predicate::of(filter).map(|predicate| predicate.holds(&request, &Source::default()))
    }

    #[test]
    fn comparisons_with_constants_are_answered() {
        for (filter, answer) in [
            (col("status").eq(lit(404_i64)), true),
            (lit(404_i64).lt(col("status")), false),
            (col("status").between(lit(400_i64), lit(499_i64)), true),
            (col("duration_ms").gt_eq(lit(2.0)), true),
            (col("method").eq(lit("GET")).and(col("kind").eq(lit("client"))), false),
            (col("method").eq(lit("PUT")).or(col("kind").eq(lit("server"))), true),
            (col("method").in_list(vec![lit("PUT"), lit("GET")], false), true),
            (col("method").in_list(vec![lit("PUT"), lit("GET")], true), false),
            (col("error"), false),
            (!col("error"), true),
            (col("route").is_null(), true),
            (col("route").is_not_null(), false),
        ] {
            assert_eq!(holds(&filter), Some(answer), "{filter}");
        }
    }

    #[test]
    fn null_is_neither_equal_nor_different() {
        assert_eq!(holds(&col("route").eq(lit("/"))), Some(false));
        assert_eq!(holds(&col("route").not_eq(lit("/"))), Some(false));
        assert_eq!(holds(&col("route").in_list(vec![lit("/")], true)), Some(false));
    }

    #[test]
    fn what_would_need_a_conversion_is_left_to_the_plan() {
        for filter in [
            col("status").eq(lit("404")),
            col("status").eq(lit(404_i32)),
            col("trace_id").eq(lit("ab")),
            col("method").like(lit("G%")),
            !(col("status").eq(lit(404_i64))),
            col("status").eq(col("rpc_status")),
            col("status").eq(Expr::Literal(ScalarValue::Int64(None), None)),
        ] {
            assert_eq!(holds(&filter), None, "{filter}");
        }
    }
}
