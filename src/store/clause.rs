//! A piece of SQL with the values that it binds, put together where what is asked for is only known
//! at run time. The text is ours alone: what comes from outside is always bound.

use rusqlite::types::Value;

/// SQL with a `?` for each value.
#[derive(Clone, Debug, Default)]
pub(super) struct Clause {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// How many clauses are joined in one chain, each of which is one level of an expression's depth to
/// SQLite, which allows a thousand (<https://www.sqlite.org/limits.html>).
const TOGETHER: usize = 100;

impl Clause {
    /// Appends text of our own.
    pub(super) fn sql(mut self, sql: &str) -> Self {
        self.sql.push_str(sql);
        self
    }

    /// Appends a place for a value.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.sql.push('?');
        self.values.push(value.into());
        self
    }

    /// Appends another clause.
    pub(super) fn then(mut self, other: Self) -> Self {
        self.sql.push_str(&other.sql);
        self.values.extend(other.values);
        self
    }

    /// What always or never holds. A bound value: SQLite plans a constant away, and with it the use
    /// of the index that the query names.
    pub(super) fn constant(holds: bool) -> Self {
        Self::default().bind(i64::from(holds))
    }

    /// All of them, or any; where there is none, all hold and none does.
    pub(super) fn joined(clauses: Vec<Self>, all: bool) -> Self {
        if clauses.is_empty() {
            return Self::constant(all);
        }
        if clauses.len() > TOGETHER {
            let (mut groups, mut rest) = (Vec::new(), clauses.into_iter());
            loop {
                let group: Vec<Self> = rest.by_ref().take(TOGETHER).collect();
                if group.is_empty() {
                    return Self::joined(groups, all);
                }
                groups.push(Self::joined(group, all));
            }
        }
        let between = if all { " AND " } else { " OR " };
        let mut all = Self::default().sql("(");
        for (index, clause) in clauses.into_iter().enumerate() {
            if index > 0 {
                all = all.sql(between);
            }
            all = all.then(clause);
        }
        all.sql(")")
    }
}
