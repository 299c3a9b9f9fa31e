//! Which documents of a collection somebody wants, and in which order: keys a page at a time,
//! counts, and some fields of each for counting in groups.

use rusqlite::{Connection, params_from_iter, types::ValueRef};
use serde_json::Value;

use crate::{
    model::{FieldPath, FieldProblem, Filter, Sort},
    store::{
        Result, RowPosition, StoreError,
        clause::Clause,
        filter::{self, Fields, Operand},
        functions, time,
    },
};

/// The fields of a document, as filters, orders and counts name them: `d` is its row. What is ours
/// is under `_internal`; everything else is its own.
struct DocumentFields {
    collection_id: String,
}

impl Fields for DocumentFields {
    fn operand(&self, field: &FieldPath) -> Operand {
        let parts: Vec<&str> = field.parts().iter().map(String::as_str).collect();
        let object = "(SELECT o.id FROM objects o WHERE o.object_key = d.object_key)";
        match parts.as_slice() {
            ["document_id"] => Operand::Exact("d.id"),
            ["collection_id"] | ["_internal", "collection_id"] => {
                Operand::Constant(self.collection_id.clone())
            }
            ["_internal", "object_id"]
            | ["root_object_id" | "source_object_id"]
            | ["_internal", "lineage", "root_object_id" | "source_object_id"] => {
                Operand::Exact(object)
            }
            ["_internal", "batch_id"] => {
                Operand::Exact("(SELECT b.id FROM batches b WHERE b.batch_key = d.batch_key)")
            }
            ["_internal", "part"] => Operand::Integer("d.part"),
            ["_internal", "content_hash"] => Operand::Exact("d.content_hash"),
            ["_internal", "created_at"] => Operand::Milliseconds("d.created_at_ms"),
            ["_internal", "updated_at"] => Operand::Milliseconds("d.updated_at_ms"),
            ["_internal", ..] => Operand::Nothing,
            _ => Operand::json("d.body", field.parts()),
        }
    }
}

/// What is wanted of a collection's documents.
#[derive(Clone, Debug)]
pub struct Query {
    collection_key: i64,
    conditions: Vec<Clause>,
    words: Option<String>,
    order: Option<Clause>,
    descending: bool,
    collection_id: String,
}

impl Query {
    /// Puts together what is wanted: all that pass the filter and have every word that is searched
    /// for; the newest first unless `sort` says otherwise.
    ///
    /// # Errors
    /// A condition that its field cannot be asked.
    pub fn new(
        collection_key: i64,
        collection_id: &str,
        filter: Option<&Filter>,
        search: Option<&str>,
        sort: Option<&Sort>,
    ) -> std::result::Result<Self, FieldProblem> {
        let fields = DocumentFields { collection_id: collection_id.to_owned() };
        let condition = filter.map(|filter| filter::compile(filter, &fields)).transpose()?;
        let order = sort.and_then(|sort| match fields.operand(&sort.field) {
            Operand::Milliseconds("d.created_at_ms") => None,
            operand => Some(operand.scalar()),
        });
        Ok(Self {
            collection_key,
            conditions: condition.into_iter().collect(),
            words: search.map(words_of),
            order,
            descending: sort.is_none_or(|sort| sort.descending),
            collection_id: collection_id.to_owned(),
        })
    }

    /// Only every `count`th document, beginning with number `index`: parts that together are all.
    #[must_use]
    pub fn part(mut self, index: u32, count: u32) -> Self {
        let clause = Clause::default().sql("d.document_key % ").bind(count).sql(" = ").bind(index);
        self.conditions.push(clause);
        self
    }

    /// Only the documents of one object.
    #[must_use]
    pub fn of_object(mut self, object_key: i64) -> Self {
        self.conditions.push(Clause::default().sql("d.object_key = ").bind(object_key));
        self
    }

    /// Only documents behind a key and up to another.
    #[must_use]
    pub(super) fn between(mut self, after: i64, last: i64) -> Self {
        let clause = Clause::default().sql("d.document_key > ").bind(after);
        self.conditions.push(clause.sql(" AND d.document_key <= ").bind(last));
        self
    }

    /// Only documents whose field has exactly this value.
    #[must_use]
    pub fn with_value(
        mut self,
        collection_key: i64,
        collection_id: &str,
        field: &FieldPath,
        value: &Value,
    ) -> Self {
        let fields = DocumentFields { collection_id: collection_id.to_owned() };
        let column = match fields.operand(field) {
            Operand::Json(column, path) => Clause::default().sql(column).sql(" -> ").bind(path),
            other => other.scalar(),
        };
        let clause = match (fields.operand(field), value) {
            (_, Value::Null) => column.sql(" IS NULL"),
            (Operand::Json(..), value) => column.sql(" = ").bind(value.to_string()),
            (_, Value::Number(number)) => column.sql(" = ").bind(number.as_i64()),
            (_, value) => column.sql(" = ").bind(value.as_str().unwrap_or_default().to_owned()),
        };
        self.collection_key = collection_key;
        self.conditions.push(clause);
        self
    }

    /// By age, the oldest first.
    #[must_use]
    pub(super) fn oldest_first(mut self) -> Self {
        (self.order, self.descending) = (None, false);
        self
    }

    /// Only documents that extractors made.
    #[must_use]
    pub fn extracted(mut self) -> Self {
        self.conditions.push(Clause::default().sql("d.object_key IS NOT NULL"));
        self
    }

    /// Whether every document is wanted.
    #[must_use]
    pub const fn wants_all(&self) -> bool {
        self.conditions.is_empty() && self.words.is_none()
    }

    /// Up to `limit` places behind `after`, `skip` left out first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn keys(
        &self,
        connection: &Connection,
        after: Option<&RowPosition>,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<RowPosition>> {
        let direction = if self.descending { "DESC" } else { "ASC" };
        let column = self.order.clone().unwrap_or_else(|| Clause::default().sql("NULL"));
        let mut clause =
            Clause::default().sql("SELECT d.document_key, ").then(column).then(self.rows());
        if let Some(place) = after {
            clause = clause.sql(" AND ").then(match &self.order {
                Some(column) => place.behind(column, "d.document_key", self.descending),
                None => {
                    let sign = if self.descending { " < " } else { " > " };
                    Clause::default().sql("d.document_key").sql(sign).bind(place.key())
                }
            });
        }
        let order = match &self.order {
            Some(_) => format!(" ORDER BY 2 {direction}, 1 {direction} LIMIT "),
            None => format!(" ORDER BY 1 {direction} LIMIT "),
        };
        let skip = i64::try_from(skip).unwrap_or(i64::MAX);
        let clause = clause.sql(&order).bind(limit).sql(" OFFSET ").bind(skip);
        let mut statement = connection.prepare_cached(&clause.sql)?;
        let places = statement
            .query_map(params_from_iter(&clause.values), |row| {
                Ok(RowPosition::new(row.get(0)?, row.get(1)?))
            })?
            .collect::<std::result::Result<_, _>>()?;
        Ok(places)
    }

    /// How many there are.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count(&self, connection: &Connection) -> Result<u64> {
        let clause = Clause::default().sql("SELECT count(*)").then(self.rows());
        Ok(connection
            .prepare_cached(&clause.sql)?
            .query_row(params_from_iter(&clause.values), |row| row.get(0))?)
    }

    fn rows(&self) -> Clause {
        let mut clause = match &self.words {
            None => Clause::default().sql(" FROM documents d WHERE d.collection_key = "),
            // From the words to the documents: few have them all.
            Some(_) => Clause::default().sql(
                " FROM document_text t CROSS JOIN documents d ON d.document_key = t.rowid
                  WHERE d.collection_key = ",
            ),
        }
        .bind(self.collection_key);
        if let Some(words) = &self.words {
            clause = match words.is_empty() {
                true => clause.sql(" AND ").then(Clause::constant(false)),
                false => clause.sql(" AND document_text MATCH ").bind(words.clone()),
            };
        }
        for condition in &self.conditions {
            clause = clause.sql(" AND ").then(condition.clone());
        }
        clause
    }

    /// Hands the values of `columns` of each document to `visit`, oldest first. With `unwind`, a
    /// document has a row for each item of that field; those whose field is empty have none.
    ///
    /// # Errors
    /// SQLite's, or the visitor's.
    pub fn each(
        &self,
        connection: &Connection,
        columns: &[FieldPath],
        unwind: Option<&FieldPath>,
        mut visit: impl FnMut(Vec<Value>) -> Result<()>,
    ) -> Result<()> {
        let fields = DocumentFields { collection_id: self.collection_id.clone() };
        let operands: Vec<Operand> = columns.iter().map(|column| fields.operand(column)).collect();
        let mut clause = Clause::default().sql("SELECT 0");
        for operand in &operands {
            clause = clause.sql(", ").then(match operand {
                Operand::Json(column, path) => {
                    Clause::default().sql(column).sql(" -> ").bind(path.clone())
                }
                other => other.scalar(),
            });
        }
        let clause = clause.then(self.rows()).sql(" ORDER BY d.document_key");
        let unwound = unwind.and_then(|field| columns.iter().position(|column| column == field));
        let mut statement = connection.prepare_cached(&clause.sql)?;
        let mut rows = statement.query(params_from_iter(&clause.values))?;
        while let Some(row) = rows.next()? {
            let values = operands
                .iter()
                .enumerate()
                .map(|(index, operand)| value(operand, row.get_ref(index + 1)?))
                .collect::<Result<Vec<_>>>()?;
            let Some(place) = unwound else {
                visit(values)?;
                continue;
            };
            let items = match &values[place] {
                Value::Array(items) => items.clone(),
                Value::Null => Vec::new(),
                one => vec![one.clone()],
            };
            for item in items {
                let mut values = values.clone();
                values[place] = item;
                visit(values)?;
            }
        }
        Ok(())
    }
}

fn value(operand: &Operand, column: ValueRef<'_>) -> Result<Value> {
    Ok(match (operand, column) {
        (_, ValueRef::Null) => Value::Null,
        (Operand::Json(..), ValueRef::Text(bytes)) => serde_json::from_slice(bytes)
            .map_err(|error| StoreError::nonsense("document", error))?,
        (Operand::Milliseconds(_), ValueRef::Integer(ms)) => time::from_ms(ms).to_string().into(),
        (_, ValueRef::Integer(number)) => number.into(),
        (_, ValueRef::Real(number)) => number.into(),
        (_, ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => {
            String::from_utf8_lossy(bytes).into_owned().into()
        }
    })
}

/// Words as FTS5 wants them: each in quotation marks, so that none is an operator; the last may be
/// the beginning of one.
fn words_of(search: &str) -> String {
    let words: Vec<String> = functions::words(search).map(|word| format!("\"{word}\"")).collect();
    match words.is_empty() {
        true => String::new(),
        false => words.join(" ") + " *",
    }
}

/// Each distinct value of a field with how often it is there, the most frequent first.
///
/// # Errors
/// SQLite's.
pub fn distinct(
    query: &Query,
    connection: &Connection,
    field: &FieldPath,
) -> Result<Vec<(Value, u64)>> {
    let mut counts: std::collections::HashMap<String, (Value, u64)> =
        std::collections::HashMap::new();
    query.each(connection, std::slice::from_ref(field), Some(field), |mut row| {
        let value = row.pop().unwrap_or_default();
        counts.entry(value.to_string()).or_insert((value, 0)).1 += 1;
        Ok(())
    })?;
    let mut counts: Vec<(Value, u64)> = counts.into_values().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.to_string().cmp(&b.0.to_string())));
    Ok(counts)
}
