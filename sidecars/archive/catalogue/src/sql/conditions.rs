//! The conditions of a query: only those that are asked for are in its text, so that the database sees which of its indexes
//! serve it.

use sqlx::Any;
use sqlx::any::AnyArguments;
use sqlx::query::Query;

/// A value in the place of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    Number(i64),
    Text(String),
}

/// Conditions that must all hold, with the values of their parameters.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    terms: Vec<String>,
    values: Vec<Bound>,
}

/// The longest span of reception of a segment, halved so that no difference is too large for the database. The index
/// `segments_by_length` answers it at once.
const LONGEST_HALF: &str = "COALESCE((SELECT CASE WHEN h.half > 2000000000000000000 THEN 2000000000000000000 ELSE \
     h.half END FROM (SELECT (last_rx / 2 - first_rx / 2) AS half FROM segments WHERE (last_rx / 2 - first_rx / 2) \
     IS NOT NULL ORDER BY (last_rx / 2 - first_rx / 2) DESC LIMIT 1) h), 0)";

/// Times of reception are nowhere near; the database can subtract a span from what is within.
const EARLIEST: i64 = -4_000_000_000_000_000_000;

impl Conditions {
    /// Adds a condition; each `{}` in it is the place of a value.
    pub(super) fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Bound>) {
        let mut term = String::new();
        let mut values = values.into_iter();
        for (number, part) in condition.split("{}").enumerate() {
            if number > 0 {
                self.values.extend(values.next());
                term.push_str(&format!("${}", self.values.len()));
            }
            term.push_str(part);
        }
        self.terms.push(term);
    }

    /// A column has this value, where one is given.
    pub(super) fn equal(&mut self, column: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.and(&format!("{column} = {{}}"), [Bound::Number(value)]);
        }
    }

    /// There is a row of `table` (`TABLE ALIAS WHERE JOIN`) with these values.
    pub(super) fn exists(&mut self, table: &str, columns: &[(&str, Option<i64>)]) {
        let mut condition = format!("EXISTS (SELECT 1 FROM {table}");
        let mut values = Vec::new();
        for (column, value) in columns.iter().filter_map(|(column, value)| Some((column, (*value)?))) {
            condition.push_str(&format!(" AND {column} = {{}}"));
            values.push(Bound::Number(value));
        }
        condition.push(')');
        self.and(&condition, values);
    }

    /// `first_rx` and `last_rx` of `table` (of segments, or of what lies within one) overlap a span of time. No segment is
    /// longer than the longest: so one that reaches into the span cannot begin much before it, and an index on `first_rx`
    /// finds it without passing over everything older.
    pub(super) fn within(&mut self, table: &str, from: Option<i64>, to: Option<i64>) {
        if let Some(from) = from.map(|from| from.max(EARLIEST)) {
            self.and(&format!("{table}.last_rx >= {{}}"), [Bound::Number(from)]);
            self.and(
                &format!("{table}.first_rx >= {{}} - 2 * {LONGEST_HALF}"),
                [Bound::Number(from.saturating_sub(2))],
            );
        }
        if let Some(to) = to {
            self.and(&format!("{table}.first_rx < {{}}"), [Bound::Number(to)]);
        }
    }

    /// The text for at most so many rows, to stand last.
    pub(super) fn limit(&mut self, limit: Option<u32>) -> String {
        let Some(limit) = limit else { return String::new() };
        self.values.push(Bound::Number(i64::from(limit)));
        format!("LIMIT ${}", self.values.len())
    }

    /// The conditions as they stand after `WHERE`.
    pub(super) fn sql(&self) -> String {
        if self.terms.is_empty() { "1 = 1".to_owned() } else { self.terms.join(" AND ") }
    }

    /// The query with every value in its place.
    pub(super) fn bound_to<'q>(&self, sql: &str) -> Query<'q, Any, AnyArguments> {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()));
        for value in &self.values {
            query = match value {
                Bound::Number(number) => query.bind(*number),
                Bound::Text(text) => query.bind(text.clone()),
            };
        }
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_is_in_the_text_and_every_value_has_its_place() {
        let mut conditions = Conditions::default();
        assert_eq!(conditions.sql(), "1 = 1");
        conditions.equal("a", None);
        conditions.equal("b", Some(3));
        conditions.exists("t x WHERE x.id = s.id", &[("x.c", None), ("x.d", Some(4))]);
        conditions.and("e = 'f'", []);
        let limit = conditions.limit(Some(5));
        assert_eq!(
            conditions.sql(),
            "b = $1 AND EXISTS (SELECT 1 FROM t x WHERE x.id = s.id AND x.d = $2) AND e = 'f'"
        );
        assert_eq!(limit, "LIMIT $3");
        assert_eq!(conditions.values, [3, 4, 5].map(Bound::Number));
    }
}
