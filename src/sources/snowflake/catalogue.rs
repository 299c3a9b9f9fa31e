//! What the catalogue says: databases, schemas, tables, columns, declared keys. None of it wakes a
//! warehouse.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    columns::{self, Column},
    names::{Name, Table},
    protocol::ResultSet,
    rows::{RowRef, Rows},
    session::Session,
    sql::{self, SHOW_LIMIT, Shape, Statement},
};
use crate::sources::SourceError;

/// Something with a name in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CatalogueItem {
    pub(super) name: String,
    /// `TABLE`, `VIEW`, `DYNAMIC TABLE` and so on, where the catalogue says so.
    pub(super) kind: Option<String>,
}

/// Columns of `SHOW OBJECTS` that say `Y` of tables of a special kind, whose `kind` is TABLE.
const SPECIAL_TABLES: [(&str, &str); 3] = [
    ("is_dynamic", "DYNAMIC TABLE"),
    ("is_iceberg", "ICEBERG TABLE"),
    ("is_hybrid", "HYBRID TABLE"),
];

/// What a connection says of a table's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ConfiguredColumns {
    /// `primary_key_columns`.
    pub(super) key: Vec<String>,
    /// `incremental_column`.
    pub(super) watermark: Option<String>,
}

/// Columns that a person would probably choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) key: Vec<String>,
    pub(super) watermark: Option<String>,
}

/// Names of columns that tables keep the time of their last change in, the likeliest first.
const USUAL_WATERMARKS: [&str; 10] = [
    "updated_at",
    "modified_at",
    "last_modified",
    "last_updated",
    "updated",
    "last_modified_at",
    "last_updated_at",
    "modified",
    "_fivetran_synced",
    "created_at",
];

/// The columns of a table, in its order; those of an external table are virtual, and columns too.
pub(super) async fn describe(
    session: &Arc<Session>,
    table: &Table,
) -> Result<Vec<(Column, String)>, SourceError> {
    let (result, rows) = session.all(&sql::describe(table)).await?;
    let name = position(&result, "name")?;
    let kind = position(&result, "type")?;
    let column = |row: RowRef<'_>| {
        let (name, kind) = (row.cell(name)?, row.cell(kind)?);
        Some((Column::of_catalogue(name.to_owned(), kind), kind.to_owned()))
    };
    Ok(rows.iter().flat_map(Rows::iter).filter_map(column).collect())
}

/// The columns of the declared primary key, in its order; none where none is declared, as in views.
pub(super) async fn declared_key(
    session: &Arc<Session>,
    table: &Table,
) -> Result<Vec<String>, SourceError> {
    let (result, rows) = match session.all(&sql::primary_keys(table)).await {
        Ok(found) => found,
        Err(SourceError::Permanent { .. } | SourceError::RootMissing { .. }) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let name = position(&result, "column_name")?;
    let place = position(&result, "key_sequence")?;
    let mut key: Vec<(u64, String)> = rows
        .iter()
        .flat_map(Rows::iter)
        .filter_map(|row| Some((row.cell(place)?.parse().ok()?, row.cell(name)?.to_owned())))
        .collect();
    key.sort_unstable();
    Ok(key.into_iter().map(|(_, name)| name).collect())
}

/// A table with the columns that its rows are found and ordered by.
///
/// # Errors
/// When the table cannot be read, or a column that the connection names is not there or cannot be
/// used.
pub(super) async fn shape(
    session: &Arc<Session>,
    table: &Table,
    wanted: &ConfiguredColumns,
) -> Result<Shape, SourceError> {
    let columns: Vec<Column> =
        describe(session, table).await?.into_iter().map(|(column, _)| column).collect();
    let names = match wanted.key.is_empty() {
        true => declared_key(session, table).await?,
        false => wanted.key.clone(),
    };
    let key = names
        .iter()
        .map(|name| key_column(table, &columns, name))
        .collect::<Result<Vec<_>, _>>()?;
    let watermark = wanted.watermark.as_deref();
    let watermark = watermark.map(|name| watermark_column(table, &columns, name)).transpose()?;
    if watermark.is_some() && key.is_empty() {
        return Err(SourceError::Misconfigured {
            message: format!(
                "incremental_column needs a key to tell rows by: {table} declares none, so name its \
                 columns in primary_key_columns, or leave incremental_column out"
            ),
        });
    }
    Ok(Shape { table: table.clone(), columns, key, watermark })
}

fn key_column(table: &Table, columns: &[Column], name: &str) -> Result<Column, SourceError> {
    let column = named(table, columns, name, "primary_key_columns")?;
    match column.kind.bind_type() {
        Some(_) => Ok(column.clone()),
        None => Err(SourceError::Misconfigured {
            message: format!(
                "primary_key_columns: {name:?} in {table} is {}, which cannot be part of a key",
                column.kind.describe()
            ),
        }),
    }
}

fn watermark_column(table: &Table, columns: &[Column], name: &str) -> Result<Column, SourceError> {
    let column = named(table, columns, name, "incremental_column")?;
    match column.kind.is_watermark() {
        true => Ok(column.clone()),
        false => Err(SourceError::Misconfigured {
            message: format!(
                "incremental_column: {name:?} in {table} is {}, which does not grow: use a column \
                 with a time or a number",
                column.kind.describe()
            ),
        }),
    }
}

fn named<'a>(
    table: &Table,
    columns: &'a [Column],
    name: &str,
    setting: &str,
) -> Result<&'a Column, SourceError> {
    columns::find(columns, name).ok_or_else(|| {
        let names: Vec<&str> = columns.iter().take(50).map(|column| column.name.as_str()).collect();
        SourceError::Misconfigured {
            message: format!(
                "{setting}: {table} has no column {name:?}, or several that differ only by case; it \
                 has {}",
                names.join(", ")
            ),
        }
    })
}

/// A key and a watermark that suit a table.
pub(super) fn propose(columns: &[Column], declared: Vec<String>) -> Proposal {
    let usable = |name: &str| {
        columns::find(columns, name).filter(|column| column.kind.bind_type().is_some())
    };
    let key = match declared.is_empty() {
        true => usable("id").map(|column| vec![column.name.clone()]).unwrap_or_default(),
        false => declared,
    };
    let watermark = USUAL_WATERMARKS
        .iter()
        .filter_map(|name| columns::find(columns, name))
        .find(|column| column.kind.is_watermark())
        .map(|column| column.name.clone());
    Proposal { key, watermark }
}

/// Databases that the role sees, the first `limit` by name, and whether there are more.
pub(super) async fn databases(
    session: &Arc<Session>,
    limit: usize,
) -> Result<(Vec<CatalogueItem>, bool), SourceError> {
    paged(session, limit, sql::databases).await
}

/// Schemas of a database, likewise.
pub(super) async fn schemas(
    session: &Arc<Session>,
    database: &Name,
    limit: usize,
) -> Result<(Vec<CatalogueItem>, bool), SourceError> {
    paged(session, limit, |count, after| sql::schemas(database, count, after)).await
}

/// Tables and views of a schema, likewise.
pub(super) async fn objects(
    session: &Arc<Session>,
    (database, schema): (&Name, &Name),
    limit: usize,
) -> Result<(Vec<CatalogueItem>, bool), SourceError> {
    paged(session, limit, |count, after| sql::objects(database, schema, count, after)).await
}

/// Whether there is a warehouse of that name which the role may see.
pub(super) async fn has_warehouse(
    session: &Arc<Session>,
    name: &Name,
) -> Result<bool, SourceError> {
    let (result, rows) = session.all(&sql::warehouse(name)).await?;
    let at = position(&result, "name")?;
    // LIKE takes underscores for any letter, and no notice of case.
    Ok(rows.iter().flat_map(Rows::iter).any(|row| row.cell(at) == Some(name.as_str())))
}

/// The first `limit` by name of what a `SHOW` lists, as many at a time as it returns.
async fn paged(
    session: &Arc<Session>,
    limit: usize,
    statement: impl Fn(usize, Option<&str>) -> Statement,
) -> Result<(Vec<CatalogueItem>, bool), SourceError> {
    let mut listed: Vec<CatalogueItem> = Vec::new();
    loop {
        let count = (limit + 1 - listed.len()).min(SHOW_LIMIT);
        let after = listed.last().map(|last| last.name.clone());
        let (result, rows) = session.all(&statement(count, after.as_deref())).await?;
        let name = position(&result, "name")?;
        let found = rows.iter().flat_map(Rows::iter).filter_map(|row| {
            let kind = kind_of(&result, row);
            Some(CatalogueItem { name: row.cell(name)?.to_owned(), kind })
        });
        let before = listed.len();
        // `FROM` takes names that begin with the text: the last one comes again.
        listed.extend(found.filter(|item| after.as_deref() != Some(item.name.as_str())));
        let is_last = listed.len() - before < count.saturating_sub(1) || listed.len() == before;
        if listed.len() > limit || is_last {
            let has_more = listed.len() > limit;
            listed.truncate(limit);
            return Ok((listed, has_more));
        }
    }
}

/// What kind of thing a row of a `SHOW` is about, as people call it.
fn kind_of(result: &ResultSet, row: RowRef<'_>) -> Option<String> {
    let cell = |name: &str| {
        let at = result.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))?;
        row.cell(at)
    };
    let special = SPECIAL_TABLES.iter().find(|(column, _)| cell(column) == Some("Y"));
    match special {
        Some((_, kind)) => Some((*kind).to_owned()),
        // Dynamic tables were DYNAMIC_TABLE once, and may be in some accounts.
        None => cell("kind").map(|kind| kind.replace('_', " ")),
    }
}

fn position(result: &ResultSet, name: &str) -> Result<usize, SourceError> {
    result.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        SourceError::Garbled { message: format!("Snowflake's answer has no column {name:?}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::snowflake::columns::Kind;

    fn column(name: &str, kind: Kind) -> Column {
        Column { name: name.into(), kind, is_collated: false, scale: 0 }
    }

    #[test]
    fn the_declared_key_is_proposed_else_a_column_named_id_and_the_likeliest_watermark() {
        let columns = [
            column("ID", Kind::Integer),
            column("CREATED_AT", Kind::TimestampNtz),
            column("Updated_At", Kind::TimestampTz),
            column("MODIFIED", Kind::Json),
        ];
        let proposal = propose(&columns, Vec::new());
        assert_eq!(proposal.key, ["ID"]);
        assert_eq!(proposal.watermark.as_deref(), Some("Updated_At"));
        assert_eq!(propose(&columns, vec!["A".into(), "B".into()]).key, ["A", "B"]);
        assert_eq!(propose(&columns[3..], Vec::new()), Proposal::default());
    }

    #[test]
    fn a_column_that_cannot_be_used_is_refused_by_the_setting_that_names_it() {
        let table = Table::parse("d.s.t", None, None).unwrap();
        let columns = [column("ID", Kind::Integer), column("DOC", Kind::Json)];
        let told = |outcome: Result<Column, SourceError>| outcome.unwrap_err().to_string();
        assert!(told(key_column(&table, &columns, "doc")).starts_with("primary_key_columns: "));
        assert!(told(key_column(&table, &columns, "nope")).contains("it has ID, DOC"));
        assert!(
            told(watermark_column(&table, &columns, "DOC")).starts_with("incremental_column: ")
        );
        assert_eq!(watermark_column(&table, &columns, "id").unwrap().name, "ID");
    }
}
