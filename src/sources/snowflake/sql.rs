//! The statements that are sent. All of them only read; names are quoted, values are bound with the
//! type of the column that they came from.
//!
//! Rows after a place are asked for by an expanded comparison (`a > ? OR a = ? AND b > ?`), because
//! Snowflake compares no tuples. NULL comes first in every order here, so that it has a place too.

use std::time::Duration;

use super::{
    columns::{Column, Kind},
    names::{Name, Table, literal},
    time, value,
};

/// How many rows one `SHOW` returns at most.
pub(super) const SHOW_LIMIT: usize = 10_000;

/// How many keys one statement looks up at most.
pub(super) const KEYS_AT_ONCE: usize = 500;

/// A statement and its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) binds: Vec<Bind>,
}

/// A value for a `?`. Not printed whole: it may be somebody's data.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Bind {
    pub(super) kind: &'static str,
    pub(super) value: String,
}

impl std::fmt::Debug for Bind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({} bytes)", self.kind, self.value.len())
    }
}

impl Statement {
    fn plain(text: String) -> Self {
        Self { text, binds: Vec::new() }
    }
}

/// A table with what orders its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) table: Table,
    pub(super) columns: Vec<Column>,
    /// Columns of the key, in its order; empty where there is none.
    pub(super) key: Vec<Column>,
    pub(super) watermark: Option<Column>,
}

/// The place of a row in an order: the cells of the columns that it is ordered by.
pub(super) type OrderKey = [Option<String>];

/// A cell that a statement cannot be continued from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row is at a place that no statement can name")]
pub(super) struct Unbindable;

/// The token of the last change, for tables and views; needs no warehouse.
pub(super) fn last_change(table: &Table) -> Statement {
    let name = literal(&table.to_string());
    Statement::plain(format!("SELECT SYSTEM$LAST_CHANGE_COMMIT_TIME({name})"))
}

/// The columns of a table or view; needs no warehouse.
pub(super) fn describe(table: &Table) -> Statement {
    Statement::plain(format!("DESCRIBE TABLE {table}"))
}

/// The declared primary key; needs no warehouse.
pub(super) fn primary_keys(table: &Table) -> Statement {
    Statement::plain(format!("SHOW PRIMARY KEYS IN TABLE {table}"))
}

/// A warehouse of that name, if the role may see it.
pub(super) fn warehouse(name: &Name) -> Statement {
    Statement::plain(format!("SHOW WAREHOUSES LIKE {}", name.literal()))
}

/// Databases behind `after`, by name.
pub(super) fn databases(limit: usize, after: Option<&str>) -> Statement {
    show("DATABASES", None, limit, after)
}

/// Schemas of a database behind `after`, by name.
pub(super) fn schemas(database: &Name, limit: usize, after: Option<&str>) -> Statement {
    show("SCHEMAS", Some(format!("DATABASE {database}")), limit, after)
}

/// Tables and views of a schema behind `after`, by name.
pub(super) fn objects(
    database: &Name,
    schema: &Name,
    limit: usize,
    after: Option<&str>,
) -> Statement {
    show("OBJECTS", Some(format!("SCHEMA {database}.{schema}")), limit, after)
}

fn show(what: &str, within: Option<String>, limit: usize, after: Option<&str>) -> Statement {
    let within = within.map(|within| format!(" IN {within}")).unwrap_or_default();
    let after = after.map(|name| format!(" FROM {}", literal(name))).unwrap_or_default();
    Statement::plain(format!("SHOW {what}{within} LIMIT {limit}{after}"))
}

/// The first rows, for people who look around; wakes a warehouse.
pub(super) fn first_rows(shape: &Shape, limit: usize) -> Statement {
    Statement::plain(format!("SELECT {} FROM {} LIMIT {limit}", list(shape), shape.table))
}

/// All rows in the order of the key, behind a row with these key cells; without a key in the order
/// of their hashes, from the first.
///
/// # Errors
/// When the place cannot be bound.
pub(super) fn all_rows(shape: &Shape, after: Option<&OrderKey>) -> Result<Statement, Unbindable> {
    let mut clause = Clause::default();
    if let Some(place) = after {
        clause.and_after(&shape.key.iter().collect::<Vec<_>>(), place)?;
    }
    let order = match shape.key.is_empty() {
        true => vec!["HASH(*)".to_owned()],
        false => shape.key.iter().map(ordered).collect(),
    };
    Ok(clause.select(&list(shape), &shape.table, &order))
}

/// The keys of all rows, their watermarks and their hashes, in the order of [`all_rows`]: the rows
/// themselves stay where they are.
///
/// # Errors
/// When the place cannot be bound.
pub(super) fn keys_and_hashes(
    shape: &Shape,
    after: Option<&OrderKey>,
) -> Result<Statement, Unbindable> {
    let mut clause = Clause::default();
    if let Some(place) = after {
        clause.and_after(&shape.key.iter().collect::<Vec<_>>(), place)?;
    }
    let watermark = shape.watermark.iter().filter(|column| !shape.key.contains(column));
    let columns = shape.key.iter().chain(watermark).map(|column| column.quoted().to_string());
    let list: Vec<String> = columns.chain(["HASH(*)".to_owned()]).collect();
    let order: Vec<String> = shape.key.iter().map(ordered).collect();
    Ok(clause.select(&list.join(", "), &shape.table, &order))
}

/// Rows whose watermark is within these bounds, both included, or is NULL, in the order of
/// watermark and key, behind a row with these cells of both.
///
/// # Errors
/// When a place cannot be bound, or the table has no watermark.
pub(super) fn changed_rows(
    shape: &Shape,
    (from, until): (&str, Option<&str>),
    after: Option<&OrderKey>,
) -> Result<Statement, Unbindable> {
    let watermark = shape.watermark.as_ref().ok_or(Unbindable)?;
    let mut clause = Clause::default();
    let column = watermark.quoted();
    clause.binds.push(bind(watermark.kind, from)?);
    let mut within = format!("{column} >= ?");
    if let Some(until) = until {
        clause.binds.push(bind(watermark.kind, until)?);
        within.push_str(&format!(" AND {column} <= ?"));
    }
    clause.conditions.push(format!("({within} OR {column} IS NULL)"));
    let order: Vec<&Column> = std::iter::once(watermark).chain(&shape.key).collect();
    if let Some(place) = after {
        clause.and_after(&order, place)?;
    }
    let order: Vec<String> = order.into_iter().map(ordered).collect();
    Ok(clause.select(&list(shape), &shape.table, &order))
}

/// The rows with these keys.
///
/// # Errors
/// When a key cannot be bound.
pub(super) fn rows_by_key(
    shape: &Shape,
    keys: &[Vec<Option<String>>],
) -> Result<Statement, Unbindable> {
    let mut clause = Clause::default();
    let mut alternatives = Vec::with_capacity(keys.len());
    for key in keys {
        let mut parts = Vec::with_capacity(key.len());
        for (column, cell) in shape.key.iter().zip(key) {
            parts.push(clause.equal(column, cell.as_deref())?);
        }
        alternatives.push(parts.join(" AND "));
    }
    clause.conditions.push(alternatives.join(" OR "));
    let order: Vec<String> = shape.key.iter().map(ordered).collect();
    Ok(clause.select(&list(shape), &shape.table, &order))
}

/// Every column and the hash behind them. Shapes come as GeoJSON whatever the account's format is.
fn list(shape: &Shape) -> String {
    let geo = |column: &Column| {
        let name = column.quoted();
        (column.kind == Kind::Geo).then(|| format!("ST_ASGEOJSON({name}) AS {name}"))
    };
    let replaced: Vec<String> = shape.columns.iter().filter_map(geo).collect();
    match replaced.is_empty() {
        true => "*, HASH(*)".to_owned(),
        false => format!("* REPLACE ({}), HASH(*)", replaced.join(", ")),
    }
}

/// A column as it is ordered and compared: byte by byte, whatever its collation holds to be equal.
fn compared(column: &Column) -> String {
    match column.is_collated {
        true => format!("COLLATE({}, '')", column.quoted()),
        false => column.quoted().to_string(),
    }
}

fn ordered(column: &Column) -> String {
    format!("{} NULLS FIRST", compared(column))
}

fn bind(kind: Kind, cell: &str) -> Result<Bind, Unbindable> {
    let value = value::bind_value(kind, cell).ok_or(Unbindable)?;
    Ok(Bind { kind: kind.bind_type().ok_or(Unbindable)?, value })
}

/// A watermark so much earlier that rows that were committed late are seen too: by `overlap`, or
/// the days that it begins where the column has days. Numbers and texts stay as they are: what lies
/// before them is unknown. `None` where the cell cannot be read.
pub(super) fn before(kind: Kind, cell: &str, overlap: Duration) -> Option<String> {
    let nanos = i128::try_from(overlap.as_nanos()).ok()?;
    let days = i64::try_from(overlap.as_secs().div_ceil(86_400)).ok()?;
    let seconds = |cell: &str| Some(time::seconds(time::nanos(cell)?.checked_sub(nanos)?));
    match kind {
        Kind::Date => Some(cell.parse::<i64>().ok()?.checked_sub(days)?.to_string()),
        Kind::TimestampNtz | Kind::TimestampLtz => seconds(cell),
        Kind::TimestampTz => {
            let (instant, offset) = cell.split_once(' ')?;
            Some(format!("{} {offset}", seconds(instant)?))
        }
        _ => Some(cell.to_owned()),
    }
}

/// The conditions of a statement and their values, in the order of their `?`.
#[derive(Default)]
struct Clause {
    conditions: Vec<String>,
    binds: Vec<Bind>,
}

impl Clause {
    /// Only rows behind `place` in the order of `columns`.
    fn and_after(&mut self, columns: &[&Column], place: &OrderKey) -> Result<(), Unbindable> {
        if columns.len() != place.len() || columns.is_empty() {
            return Err(Unbindable);
        }
        let mut alternatives = Vec::new();
        for (at, (column, cell)) in columns.iter().zip(place).enumerate() {
            let mut parts = Vec::new();
            for (column, cell) in columns[..at].iter().zip(place) {
                parts.push(self.equal(column, cell.as_deref())?);
            }
            let name = compared(column);
            match cell {
                Some(cell) => {
                    self.binds.push(bind(column.kind, cell)?);
                    parts.push(format!("{name} > ?"));
                }
                None => parts.push(format!("{name} IS NOT NULL")),
            }
            alternatives.push(parts.join(" AND "));
        }
        self.conditions.push(format!("({})", alternatives.join(" OR ")));
        Ok(())
    }

    fn equal(&mut self, column: &Column, cell: Option<&str>) -> Result<String, Unbindable> {
        let name = compared(column);
        match cell {
            Some(cell) => {
                self.binds.push(bind(column.kind, cell)?);
                Ok(format!("{name} = ?"))
            }
            None => Ok(format!("{name} IS NULL")),
        }
    }

    fn select(self, list: &str, table: &Table, order: &[String]) -> Statement {
        let conditions = match self.conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", self.conditions.join(" AND ")),
        };
        let text = format!("SELECT {list} FROM {table}{conditions} ORDER BY {}", order.join(", "));
        Statement { text, binds: self.binds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: Kind) -> Column {
        Column { name: name.into(), kind, is_collated: false, scale: 0 }
    }

    fn shape() -> Shape {
        let columns = vec![
            column("ID", Kind::Integer),
            column("Line \"x\"", Kind::Text),
            column("UPDATED", Kind::TimestampNtz),
        ];
        Shape {
            table: Table {
                database: Name::exact("DB"),
                schema: Name::exact("S"),
                name: Name::exact("a\"b"),
            },
            key: vec![columns[0].clone(), columns[1].clone()],
            watermark: Some(columns[2].clone()),
            columns,
        }
    }

    fn binds(statement: &Statement) -> Vec<(&str, &str)> {
        statement.binds.iter().map(|bind| (bind.kind, bind.value.as_str())).collect()
    }

    #[test]
    fn a_full_pass_is_one_statement_in_the_order_of_the_key() {
        let statement = all_rows(&shape(), None).unwrap();
        assert_eq!(
            statement.text,
            r#"SELECT *, HASH(*) FROM "DB"."S"."a""b" ORDER BY "ID" NULLS FIRST, "Line ""x""" NULLS FIRST"#
        );
        assert!(statement.binds.is_empty());
    }

    #[test]
    fn a_pass_goes_on_behind_the_last_row_of_its_key() {
        let place = [Some("7".to_owned()), Some("it's".to_owned())];
        let statement = all_rows(&shape(), Some(&place)).unwrap();
        assert_eq!(
            statement.text,
            r#"SELECT *, HASH(*) FROM "DB"."S"."a""b" WHERE ("ID" > ? OR "ID" = ? AND "Line ""x""" > ?) ORDER BY "ID" NULLS FIRST, "Line ""x""" NULLS FIRST"#
        );
        assert_eq!(binds(&statement), [("FIXED", "7"), ("FIXED", "7"), ("TEXT", "it's")]);
    }

    #[test]
    fn null_has_a_place_before_every_value() {
        let place = [None, Some("a".to_owned())];
        let statement = all_rows(&shape(), Some(&place)).unwrap();
        assert_eq!(
            statement.text,
            r#"SELECT *, HASH(*) FROM "DB"."S"."a""b" WHERE ("ID" IS NOT NULL OR "ID" IS NULL AND "Line ""x""" > ?) ORDER BY "ID" NULLS FIRST, "Line ""x""" NULLS FIRST"#
        );
        assert_eq!(binds(&statement), [("TEXT", "a")]);
    }

    #[test]
    fn changes_begin_five_minutes_before_the_watermark_to_the_nanosecond() {
        let overlap = Duration::from_secs(300);
        let from = before(Kind::TimestampNtz, "1641008096.123456789", overlap).unwrap();
        let statement = changed_rows(&shape(), (&from, None), None).unwrap();
        assert_eq!(
            statement.text,
            r#"SELECT *, HASH(*) FROM "DB"."S"."a""b" WHERE ("UPDATED" >= ? OR "UPDATED" IS NULL) ORDER BY "UPDATED" NULLS FIRST, "ID" NULLS FIRST, "Line ""x""" NULLS FIRST"#
        );
        assert_eq!(binds(&statement), [("TIMESTAMP_NTZ", "1641007796123456789")]);
    }

    #[test]
    fn the_watermark_is_bound_with_the_type_of_its_column() {
        for (kind, cell, expected) in [
            (Kind::TimestampLtz, "300.000000001", ("TIMESTAMP_LTZ", "1")),
            (Kind::TimestampLtz, "1.000000000", ("TIMESTAMP_LTZ", "-299000000000")),
            (Kind::TimestampTz, "300.000000001 960", ("TIMESTAMP_TZ", "1 960")),
            (Kind::Date, "1", ("DATE", "0")),
            (
                Kind::Integer,
                "99999999999999999999999999999999999999",
                ("FIXED", "99999999999999999999999999999999999999"),
            ),
            (Kind::Text, "2024-01-01", ("TEXT", "2024-01-01")),
        ] {
            let mut shape = shape();
            shape.watermark = Some(column("W", kind));
            let from = before(kind, cell, Duration::from_secs(300)).unwrap();
            let statement = changed_rows(&shape, (&from, None), None).unwrap();
            assert_eq!(binds(&statement), [expected], "{kind:?}");
        }
    }

    #[test]
    fn changes_go_on_behind_the_last_row_by_watermark_and_key() {
        let place = [Some("600.000000001".to_owned()), Some("1".to_owned()), Some("a".to_owned())];
        let statement = changed_rows(&shape(), ("0.0", None), Some(&place)).unwrap();
        assert!(statement.text.contains(
            r#"("UPDATED" > ? OR "UPDATED" = ? AND "ID" > ? OR "UPDATED" = ? AND "ID" = ? AND "Line ""x""" > ?)"#
        ));
        let tie = ("TIMESTAMP_NTZ", "600000000001");
        assert_eq!(
            binds(&statement),
            [("TIMESTAMP_NTZ", "0"), tie, tie, ("FIXED", "1"), tie, ("FIXED", "1"), ("TEXT", "a")]
        );
    }

    #[test]
    fn an_upper_bound_is_included_and_keeps_rows_without_a_watermark() {
        let bounds = ("0.0", Some("1641008096.123456789"));
        let statement = changed_rows(&shape(), bounds, None).unwrap();
        let within = r#"WHERE ("UPDATED" >= ? AND "UPDATED" <= ? OR "UPDATED" IS NULL) ORDER BY"#;
        assert!(statement.text.contains(within), "{}", statement.text);
        assert_eq!(
            binds(&statement),
            [("TIMESTAMP_NTZ", "0"), ("TIMESTAMP_NTZ", "1641008096123456789")]
        );
    }

    #[test]
    fn the_overlap_is_exact_and_counts_whole_days_where_the_column_has_days() {
        let day = Duration::from_secs(86_401);
        for (kind, cell, overlap, expected) in [
            (Kind::TimestampNtz, "86401.000000001", day, "0.000000001"),
            (Kind::TimestampTz, "86401.5 960", day, "0.500000000 960"),
            (Kind::TimestampLtz, "1.0", Duration::ZERO, "1.000000000"),
            (Kind::Date, "10", day, "8"),
            (Kind::Date, "10", Duration::ZERO, "10"),
            (Kind::Integer, "10", day, "10"),
        ] {
            assert_eq!(before(kind, cell, overlap).as_deref(), Some(expected), "{kind:?}");
        }
    }

    #[test]
    fn keys_and_hashes_leave_the_rows_where_they_are() {
        let statement = keys_and_hashes(&shape(), None).unwrap();
        assert_eq!(
            statement.text,
            r#"SELECT "ID", "Line ""x""", "UPDATED", HASH(*) FROM "DB"."S"."a""b" ORDER BY "ID" NULLS FIRST, "Line ""x""" NULLS FIRST"#
        );
        let mut of_key = shape();
        of_key.key.truncate(1);
        of_key.watermark = Some(of_key.key[0].clone());
        let statement = keys_and_hashes(&of_key, Some(&[Some("7".to_owned())])).unwrap();
        assert_eq!(
            statement.text,
            r#"SELECT "ID", HASH(*) FROM "DB"."S"."a""b" WHERE ("ID" > ?) ORDER BY "ID" NULLS FIRST"#
        );
        assert_eq!(binds(&statement), [("FIXED", "7")]);
    }

    #[test]
    fn rows_are_fetched_by_key() {
        let key = |id: &str, line: &str| vec![Some(id.to_owned()), Some(line.to_owned())];
        let statement = rows_by_key(&shape(), &[key("1", "a"), key("2", "b")]).unwrap();
        assert!(statement.text.contains(
            r#"WHERE "ID" = ? AND "Line ""x""" = ? OR "ID" = ? AND "Line ""x""" = ? ORDER BY"#
        ));
        assert_eq!(statement.binds.len(), 4);
    }

    #[test]
    fn a_collation_decides_neither_the_order_nor_what_is_equal() {
        let mut shape = shape();
        shape.key = vec![Column { is_collated: true, ..column("K", Kind::Text) }];
        let statement = all_rows(&shape, Some(&[Some("a".to_owned())])).unwrap();
        assert!(
            statement
                .text
                .ends_with(r#"WHERE (COLLATE("K", '') > ?) ORDER BY COLLATE("K", '') NULLS FIRST"#)
        );
    }

    #[test]
    fn shapes_are_asked_for_as_geojson_and_rows_without_a_key_by_their_hash() {
        let mut shape = shape();
        shape.columns.push(column("G", Kind::Geo));
        shape.key.clear();
        assert_eq!(
            all_rows(&shape, None).unwrap().text,
            r#"SELECT * REPLACE (ST_ASGEOJSON("G") AS "G"), HASH(*) FROM "DB"."S"."a""b" ORDER BY HASH(*)"#
        );
    }

    #[test]
    fn what_cannot_be_bound_is_no_place() {
        assert_eq!(all_rows(&shape(), Some(&[])), Err(Unbindable));
        let place = [Some("1".to_owned())];
        assert_eq!(all_rows(&shape(), Some(&place)), Err(Unbindable));
        assert_eq!(changed_rows(&shape(), ("soon", None), None), Err(Unbindable));
        assert_eq!(before(Kind::TimestampLtz, "soon", Duration::ZERO), None);
    }

    #[test]
    fn looking_around_quotes_names_and_goes_on_behind_the_last() {
        let shape = shape();
        assert_eq!(databases(10_000, None).text, "SHOW DATABASES LIMIT 10000");
        assert_eq!(
            schemas(&shape.table.database, 5, Some("it's")).text,
            r#"SHOW SCHEMAS IN DATABASE "DB" LIMIT 5 FROM 'it''s'"#
        );
        assert_eq!(
            objects(&shape.table.database, &shape.table.schema, 5, None).text,
            r#"SHOW OBJECTS IN SCHEMA "DB"."S" LIMIT 5"#
        );
        assert_eq!(describe(&shape.table).text, r#"DESCRIBE TABLE "DB"."S"."a""b""#);
        assert_eq!(
            last_change(&shape.table).text,
            r#"SELECT SYSTEM$LAST_CHANGE_COMMIT_TIME('"DB"."S"."a""b"')"#
        );
        assert_eq!(warehouse(&Name::exact("W'H")).text, "SHOW WAREHOUSES LIKE 'W''H'");
    }
}
