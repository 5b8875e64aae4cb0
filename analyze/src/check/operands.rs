//! What an assertion compares: a query of the same rows that has both sides of the comparisons as columns, so that a failure
//! says by how much.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, Query, SelectItem, SetExpr, UnaryOperator,
};

/// More columns help nobody.
const MOST: usize = 8;

/// The query, and how many columns stand before those of the assertion itself. None when there is nothing to add, or the query
/// is not a plain SELECT.
pub(super) fn of(assertion: &Query) -> Option<(Query, usize)> {
    let mut query = assertion.clone();
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    if select.distinct.is_some() {
        return None;
    }
    let mut added: Vec<Expr> = Vec::new();
    if let GroupByExpr::Expressions(keys, _) = &select.group_by {
        // A number is the place of a column, which will be another.
        if keys.iter().any(|key| matches!(key, Expr::Value(_))) {
            return None;
        }
        added.extend(keys.iter().cloned());
    }
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                compared(expr, &mut added);
            }
            _ => return None,
        }
    }
    let mut distinct: Vec<Expr> = Vec::new();
    for expr in added {
        if !distinct.contains(&expr) {
            distinct.push(expr);
        }
    }
    distinct.truncate(MOST);
    if distinct.is_empty() {
        return None;
    }
    let count = distinct.len();
    let assertions = select.projection.iter().cloned().enumerate().map(|(at, item)| match item {
        // A name of its own: columns of a result have to differ.
        SelectItem::UnnamedExpr(expr) => {
            let alias = format!("holds{}", if at == 0 { String::new() } else { (at + 1).to_string() });
            SelectItem::ExprWithAlias { expr, alias: alias.as_str().into() }
        }
        named => named,
    });
    let added = distinct.into_iter().map(|expr| {
        let alias = Ident::with_quote('"', expr.to_string());
        SelectItem::ExprWithAlias { expr, alias }
    });
    select.projection = added.chain(assertions).collect();
    Some((query, count))
}

/// The columns of a plain SELECT as they are written; none of another query, or when a column may be several.
pub(super) fn names(assertion: &Query) -> Vec<String> {
    let SetExpr::Select(select) = assertion.body.as_ref() else { return Vec::new() };
    let name = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => Some(expr.to_string()),
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        _ => None,
    };
    select.projection.iter().map(name).collect::<Option<_>>().unwrap_or_default()
}

/// Collects the sides of comparisons that are not constants.
fn compared(expr: &Expr, found: &mut Vec<Expr>) {
    let mut take = |expr: &Expr| {
        if !is_constant(expr) {
            found.push(expr.clone());
        }
    };
    match expr {
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } => compared(inner, found),
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            compared(left, found);
            compared(right, found);
        }
        Expr::BinaryOp {
            left,
            op:
                BinaryOperator::Lt
                | BinaryOperator::LtEq
                | BinaryOperator::Gt
                | BinaryOperator::GtEq
                | BinaryOperator::Eq
                | BinaryOperator::NotEq,
            right,
        } => {
            take(left);
            take(right);
        }
        Expr::Between { expr, low, high, .. } => [expr, low, high].into_iter().for_each(|expr| take(expr)),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => take(inner),
        _ => {}
    }
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) => true,
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } => is_constant(inner),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::rows::queries;

    fn shown(sql: &str) -> Option<(String, usize)> {
        of(&queries(sql).unwrap()[0]).map(|(query, added)| (query.to_string(), added))
    }

    #[test]
    fn both_sides_of_comparisons_are_shown_with_the_groups() {
        let (query, added) =
            shown("select max(a) < 5 and (not min(b) > c) from requests group by route").unwrap();
        let expected = "SELECT route AS \"route\", max(a) AS \"max(a)\", min(b) AS \"min(b)\", c AS \"c\", \
             max(a) < 5 AND (NOT min(b) > c) AS holds FROM requests GROUP BY route";
        assert_eq!((query.as_str(), added), (expected, 4));
    }

    #[test]
    fn what_compares_nothing_adds_nothing() {
        for sql in ["select true", "select error from requests", "select 1 < 2", "values (true)"] {
            assert_eq!(shown(sql), None, "{sql}");
        }
    }
}
