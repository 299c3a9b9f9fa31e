//! Which documents of a collection somebody wants, and in which order: keys a page at a time,
//! counts, the values of a field, and some fields of each for counting in groups.
//!
//! What is wanted becomes SQL when it is read, with the indexes that are complete by then.

use rusqlite::{Connection, params_from_iter, types::ValueRef};
use serde_json::Value;

use super::indexes::{self, Indexes};
use crate::{
    model::{FieldPath, FieldProblem, Filter, Sort, Test},
    store::{
        Result, RowPosition, StoreError,
        clause::Clause,
        filter::{self, Fields, Indexed, Operand},
        functions, time,
    },
};

/// The fields of a document, as filters, orders and counts name them: `d` is its row. What is ours
/// is under `_internal`; everything else is its own.
struct DocumentFields<'a> {
    collection_key: i64,
    collection_id: &'a str,
    indexes: Indexes,
}

impl Fields for DocumentFields<'_> {
    fn operand(&self, field: &FieldPath) -> Operand {
        let parts: Vec<&str> = field.parts().iter().map(String::as_str).collect();
        let object = "(SELECT o.id FROM objects o WHERE o.object_key = d.object_key)";
        match parts.as_slice() {
            ["document_id"] => Operand::Exact("d.id"),
            ["collection_id"] | ["_internal", "collection_id"] => {
                Operand::Constant(self.collection_id.to_owned())
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
            _ => self.own(field),
        }
    }
}

impl DocumentFields<'_> {
    fn own(&self, field: &FieldPath) -> Operand {
        let (column, path) = ("d.body", filter::json_path(field.parts()));
        match self.indexes.of(field) {
            Some(field_key) => {
                let collection_key = self.collection_key;
                Operand::Indexed(Indexed { collection_key, field_key, column, path })
            }
            None => Operand::Json(column, path),
        }
    }

    /// Whether an index finds the few documents that a filter can want.
    fn narrows(&self, filter: &Filter) -> bool {
        match filter {
            Filter::All(filters) => filters.iter().any(|filter| self.narrows(filter)),
            Filter::Is(condition) => {
                let is_positive = !matches!(condition.test, Test::Ne(_) | Test::NotIn(_));
                let is_indexed = matches!(self.operand(&condition.field), Operand::Indexed(_));
                is_indexed
                    && is_positive
                    && (matches!(condition.test, Test::In(_))
                        || filter::looked_up(condition).is_some())
            }
            Filter::Any(_) | Filter::No(_) => false,
        }
    }
}

/// What is wanted of a collection's documents.
#[derive(Clone, Debug)]
pub struct Query {
    collection_key: i64,
    collection_id: String,
    filter: Option<Filter>,
    further: Vec<Clause>,
    value: Option<(FieldPath, Value)>,
    words: Option<String>,
    sort: Option<FieldPath>,
    descending: bool,
    of_object: bool,
}

/// A [`Query`] as SQL.
struct Compiled<'a> {
    query: &'a Query,
    fields: DocumentFields<'a>,
    conditions: Vec<Clause>,
    order: Option<Operand>,
    is_narrow: bool,
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
        let fields = DocumentFields { collection_key, collection_id, indexes: Indexes::default() };
        filter.map(|filter| filter::compile(filter, &fields)).transpose()?;
        let sorted = sort.filter(|sort| {
            !matches!(fields.operand(&sort.field), Operand::Milliseconds("d.created_at_ms"))
        });
        Ok(Self {
            collection_key,
            collection_id: collection_id.to_owned(),
            filter: filter.cloned(),
            further: Vec::new(),
            value: None,
            words: search.map(words_of),
            sort: sorted.map(|sort| sort.field.clone()),
            descending: sort.is_none_or(|sort| sort.descending),
            of_object: false,
        })
    }

    /// Only every `count`th document, beginning with number `index`: parts that together are all.
    #[must_use]
    pub fn part(mut self, index: u32, count: u32) -> Self {
        let clause = Clause::default().sql("d.document_key % ").bind(count).sql(" = ").bind(index);
        self.further.push(clause);
        self
    }

    /// Only the documents of one object.
    #[must_use]
    pub fn of_object(mut self, object_key: i64) -> Self {
        self.further.push(Clause::default().sql("d.object_key = ").bind(object_key));
        self.of_object = true;
        self
    }

    /// Only documents behind a key and up to another.
    #[must_use]
    pub(super) fn between(mut self, after: i64, last: i64) -> Self {
        let clause = Clause::default().sql("d.document_key > ").bind(after);
        self.further.push(clause.sql(" AND d.document_key <= ").bind(last));
        self
    }

    /// Only documents whose field, or an item of it, is exactly this value.
    #[must_use]
    pub fn with_value(mut self, field: &FieldPath, value: &Value) -> Self {
        self.value = Some((field.clone(), value.clone()));
        self
    }

    /// By age, the oldest first.
    #[must_use]
    pub(super) fn oldest_first(mut self) -> Self {
        (self.sort, self.descending) = (None, false);
        self
    }

    /// Whether every document is wanted.
    #[must_use]
    pub const fn wants_all(&self) -> bool {
        self.filter.is_none()
            && self.further.is_empty()
            && self.value.is_none()
            && self.words.is_none()
    }

    fn compiled(&self, connection: &Connection) -> Result<Compiled<'_>> {
        // The documents of one object are few: they are read.
        let indexes = match self.of_object {
            true => Indexes::default(),
            false => indexes::of_collection(connection, self.collection_key)?,
        };
        let fields = DocumentFields {
            collection_key: self.collection_key,
            collection_id: &self.collection_id,
            indexes,
        };
        let mut conditions = self.further.clone();
        if let Some(filter) = &self.filter {
            let condition = filter::compile(filter, &fields)
                .map_err(|problem| StoreError::nonsense("filter", problem.message))?;
            conditions.push(condition);
        }
        if let Some((field, value)) = &self.value {
            conditions.push(has_value(&fields.operand(field), value));
        }
        let is_narrow = self.filter.as_ref().is_some_and(|filter| fields.narrows(filter));
        let order = self.sort.as_ref().map(|field| fields.operand(field));
        Ok(Compiled { query: self, fields, conditions, order, is_narrow })
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
        let clause = self.compiled(connection)?.places(after, skip, limit);
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
        let compiled = self.compiled(connection)?;
        let clause =
            Clause::default().sql("SELECT count(*)").then(compiled.rows(Clause::default()));
        Ok(connection
            .prepare_cached(&clause.sql)?
            .query_row(params_from_iter(&clause.values), |row| row.get(0))?)
    }

    /// Hands the values of `columns` of each document to `visit`, with how many documents have
    /// them: oldest first and one by one, unless they may be `merged`. With `unwind`, a document
    /// has a row for each item of that field; those whose field is empty have none.
    ///
    /// # Errors
    /// SQLite's, or the visitor's.
    pub fn each(
        &self,
        connection: &Connection,
        columns: &[FieldPath],
        unwind: Option<&FieldPath>,
        merged: bool,
        mut visit: impl FnMut(Vec<Value>, u64) -> Result<()>,
    ) -> Result<()> {
        let compiled = self.compiled(connection)?;
        let operands: Vec<Operand> =
            columns.iter().map(|column| compiled.fields.operand(column)).collect();
        let clause = match operands.as_slice() {
            [Operand::Indexed(index)] if merged && self.wants_all() => counted_in(index),
            _ => compiled.columns(&operands, merged),
        };
        let unwound = unwind.and_then(|field| columns.iter().position(|column| column == field));
        let mut statement = connection.prepare_cached(&clause.sql)?;
        let mut rows = statement.query(params_from_iter(&clause.values))?;
        while let Some(row) = rows.next()? {
            let count: u64 = row.get(0)?;
            if count == 0 {
                continue;
            }
            let values = operands
                .iter()
                .enumerate()
                .map(|(index, operand)| value(operand, row.get_ref(index + 1)?))
                .collect::<Result<Vec<_>>>()?;
            let Some(place) = unwound else {
                visit(values, count)?;
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
                visit(values, count)?;
            }
        }
        Ok(())
    }

    /// The values that a field has in the documents, the items of lists one by one, with how many
    /// documents have each: the `limit` most frequent ones.
    ///
    /// # Errors
    /// SQLite's.
    pub fn distinct(
        &self,
        connection: &Connection,
        field: &FieldPath,
        limit: u32,
    ) -> Result<Distinct> {
        let compiled = self.compiled(connection)?;
        let operand = compiled.fields.operand(field);
        let groups = match &operand {
            Operand::Indexed(index) if self.wants_all() => values_in(index),
            Operand::Indexed(Indexed { column, path, .. }) | Operand::Json(column, path) => {
                compiled.values_of(column, path)
            }
            other => Clause::default()
                .sql("SELECT NULL AS type, ")
                .then(other.scalar())
                .sql(" AS value, count(*) AS n")
                .then(compiled.rows(Clause::default()))
                .sql(" GROUP BY value HAVING value IS NOT NULL"),
        };
        let clause = Clause::default()
            .sql("SELECT type, value, n, count(*) OVER (), sum(n) OVER () FROM (")
            .then(groups)
            .sql(") ORDER BY n DESC, value, type LIMIT ")
            .bind(limit);
        let mut statement = connection.prepare_cached(&clause.sql)?;
        let mut rows = statement.query(params_from_iter(&clause.values))?;
        let mut distinct = Distinct::default();
        while let Some(row) = rows.next()? {
            let kind: Option<String> = row.get(0)?;
            let value = match kind {
                Some(kind) => of_type(&kind, row.get_ref(1)?)?,
                None => value(&operand, row.get_ref(1)?)?,
            };
            distinct.values.push((value, row.get(2)?));
            (distinct.count, distinct.total) = (row.get(3)?, row.get(4)?);
        }
        Ok(distinct)
    }
}

/// The values of a field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distinct {
    /// The most frequent ones, each with how often it is there.
    pub values: Vec<(Value, u64)>,
    /// How many values there are.
    pub count: u64,
    /// How often all of them are there.
    pub total: u64,
}

impl Compiled<'_> {
    /// The documents, as `d`, with a further table that each of them is joined to.
    fn rows(&self, joined: Clause) -> Clause {
        let from = match &self.query.words {
            None => Clause::default().sql(" FROM documents d"),
            // From the words to the documents: few have them all.
            Some(_) => Clause::default()
                .sql(" FROM document_text t CROSS JOIN documents d ON d.document_key = t.rowid"),
        };
        from.then(joined).sql(" WHERE ").then(self.wanted())
    }

    fn wanted(&self) -> Clause {
        let mut clause =
            Clause::default().sql("d.collection_key = ").bind(self.query.collection_key);
        if let Some(words) = &self.query.words {
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

    /// Keys and what they are ordered by, a page of them.
    fn places(&self, after: Option<&RowPosition>, skip: u64, limit: u32) -> Clause {
        let direction = if self.query.descending { "DESC" } else { "ASC" };
        let (column, from, order) = match &self.order {
            None => (Clause::default().sql("NULL"), self.rows(Clause::default()), "d.document_key"),
            Some(Operand::Indexed(index)) if self.query.words.is_none() && !self.is_narrow => {
                let from = " FROM document_index x
                     CROSS JOIN documents d ON d.document_key = x.document_key WHERE ";
                let from = Clause::default().sql(from).then(index.rows());
                let from = from.sql(" AND x.item = 0 AND ").then(self.wanted());
                (Clause::default().sql("x.value"), from, "x.value, x.document_key")
            }
            Some(order) => (order.scalar(), self.rows(Clause::default()), "2, d.document_key"),
        };
        let mut clause =
            Clause::default().sql("SELECT d.document_key, ").then(column.clone()).then(from);
        if let Some(place) = after {
            clause = clause.sql(" AND ").then(match &self.order {
                Some(_) => place.behind(&column, "d.document_key", self.query.descending),
                None => {
                    let sign = if self.query.descending { " < " } else { " > " };
                    Clause::default().sql("d.document_key").sql(sign).bind(place.key())
                }
            });
        }
        let order = order.replace(',', &format!(" {direction},"));
        let skip = i64::try_from(skip).unwrap_or(i64::MAX);
        clause
            .sql(&format!(" ORDER BY {order} {direction} LIMIT "))
            .bind(limit)
            .sql(" OFFSET ")
            .bind(skip)
    }

    /// How many documents have which values in these columns.
    fn columns(&self, operands: &[Operand], merged: bool) -> Clause {
        let count = if merged { "SELECT count(*)" } else { "SELECT 1" };
        let mut clause = Clause::default().sql(count);
        for operand in operands {
            clause = clause.sql(", ").then(match operand {
                Operand::Json(column, path) | Operand::Indexed(Indexed { column, path, .. }) => {
                    Clause::default().sql(column).sql(" -> ").bind(path.clone())
                }
                other => other.scalar(),
            });
        }
        let clause = clause.then(self.rows(Clause::default()));
        let places: Vec<String> = (2..operands.len() + 2).map(|place| place.to_string()).collect();
        match merged && !places.is_empty() {
            true => clause.sql(" GROUP BY ").sql(&places.join(", ")),
            false if merged => clause,
            false => clause.sql(" ORDER BY d.document_key"),
        }
    }

    /// The values of a JSON field, with how many documents have each.
    fn values_of(&self, column: &str, path: &str) -> Clause {
        let joined = Clause::default().sql(", ").then(items(column, path)).sql(" j");
        Clause::default()
            .sql("SELECT j.type AS type, j.value AS value, count(*) AS n")
            .then(self.rows(joined))
            .sql(" AND j.type <> 'null' GROUP BY j.value, j.type")
    }
}

/// The values of an indexed field, with how many documents have each.
fn values_in(index: &Indexed) -> Clause {
    Clause::default()
        .sql("SELECT x.type AS type, x.value AS value, count(*) AS n FROM document_index x WHERE ")
        .then(index.rows())
        .sql(" AND x.type <> 'null' AND NOT (x.item = 0 AND x.type = 'array')")
        .sql(" GROUP BY x.value, x.type")
}

/// How many documents have which value in an indexed field: lists as a whole, and nothing.
fn counted_in(index: &Indexed) -> Clause {
    Clause::default()
        .sql(
            "SELECT count(*), CASE x.type WHEN 'text' THEN json_quote(x.value)
                 WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE x.value END
             FROM document_index x WHERE ",
        )
        .then(index.rows())
        .sql(" AND x.item = 0 GROUP BY x.value, x.type")
}

/// The items of a JSON field as rows of `json_each`: of a list its own, else the field as one.
fn items(column: &str, path: &str) -> Clause {
    let field =
        |sql: &str| Clause::default().sql(sql).sql(column).sql(" -> ").bind(path.to_owned());
    Clause::default()
        .sql("json_each(CASE json_type(")
        .sql(column)
        .sql(", ")
        .bind(path.to_owned())
        .then(field(") WHEN 'array' THEN "))
        .then(field(" ELSE json_array("))
        .sql(") END)")
}

/// That a field, or an item of it, is exactly a value.
fn has_value(operand: &Operand, value: &Value) -> Clause {
    let (kind, wanted) = typed(value);
    match operand {
        Operand::Indexed(index) => {
            let test = Clause::default().sql("x.value IS ").bind(wanted).sql(" AND x.type = ");
            let test = test.bind(kind.to_owned());
            index.has(test.sql(" AND NOT (x.item = 0 AND x.type = 'array')"))
        }
        Operand::Json(column, path) => Clause::default()
            .sql("EXISTS (SELECT 1 FROM ")
            .then(items(column, path))
            .sql(" j WHERE j.value IS ")
            .bind(wanted)
            .sql(" AND j.type = ")
            .bind(kind.to_owned())
            .sql(")"),
        Operand::Milliseconds(column) => {
            let at = value.as_str().and_then(filter::instant);
            let ms = at.map(jiff::Timestamp::as_millisecond);
            Clause::default().sql(column).sql(" IS ").bind(ms)
        }
        other => other.scalar().sql(" IS ").bind(wanted),
    }
}

/// A value as SQLite's JSON functions return it: its type, and what it is.
fn typed(value: &Value) -> (&'static str, rusqlite::types::Value) {
    match value {
        Value::Null => ("null", rusqlite::types::Value::Null),
        Value::Bool(true) => ("true", 1.into()),
        Value::Bool(false) => ("false", 0.into()),
        Value::Number(number) => match number.as_i64() {
            Some(number) => ("integer", number.into()),
            None => ("real", number.as_f64().unwrap_or_default().into()),
        },
        Value::String(text) => ("text", text.clone().into()),
        Value::Array(_) => ("array", value.to_string().into()),
        Value::Object(_) => ("object", value.to_string().into()),
    }
}

/// The value that they return so.
fn of_type(kind: &str, column: ValueRef<'_>) -> Result<Value> {
    Ok(match (kind, column) {
        ("true", _) => true.into(),
        ("false", _) => false.into(),
        (_, ValueRef::Null) => Value::Null,
        (_, ValueRef::Integer(number)) => number.into(),
        (_, ValueRef::Real(number)) => number.into(),
        ("array" | "object", ValueRef::Text(bytes)) => serde_json::from_slice(bytes)
            .map_err(|error| StoreError::nonsense("document", error))?,
        (_, ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => {
            String::from_utf8_lossy(bytes).into_owned().into()
        }
    })
}

fn value(operand: &Operand, column: ValueRef<'_>) -> Result<Value> {
    Ok(match (operand, column) {
        (_, ValueRef::Null) => Value::Null,
        (Operand::Json(..) | Operand::Indexed(_), ValueRef::Text(bytes)) => {
            serde_json::from_slice(bytes)
                .map_err(|error| StoreError::nonsense("document", error))?
        }
        (Operand::Milliseconds(_), ValueRef::Integer(ms)) => time::from_ms(ms).to_string().into(),
        (_, column) => of_type("", column)?,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{
        model::{Condition, Literal, Relation},
        store::{migrate, namespaces, processing::documents},
    };

    /// A database with one collection, without any index.
    fn database() -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        functions::register(&db).unwrap();
        migrate::bring_up_to_date(&mut db, std::path::Path::new("test")).unwrap();
        db.execute_batch(
            "INSERT INTO collections (collection_key, id, namespace_key, name, settings,
                                      created_at_ms, updated_at_ms)
             SELECT 1, 'col_1', namespace_key, 'one', '{}', 0, 0 FROM namespaces",
        )
        .unwrap();
        db
    }

    fn add(db: &mut Connection, body: Value) {
        let Value::Object(body) = body else { panic!("no object") };
        let tx = db.transaction().unwrap();
        let new = documents::ByHand { body, vectors: vec![], origin: None, content_hash: None };
        documents::create(&tx, 1, &new, Timestamp::UNIX_EPOCH).unwrap();
        tx.commit().unwrap();
    }

    fn declare(db: &mut Connection, fields: &[&str]) {
        let indexes: Vec<Value> =
            fields.iter().map(|field| json!({"field_name": field, "type": "keyword"})).collect();
        let tx = db.transaction().unwrap();
        let mut namespace = namespaces::default(&tx).unwrap();
        namespace.settings.insert("payload_indexes".to_owned(), indexes.into());
        let now = Timestamp::UNIX_EPOCH;
        assert!(
            namespaces::update(&tx, namespace.key, "default", &namespace.settings, now).unwrap()
        );
        tx.commit().unwrap();
    }

    fn steps(db: &mut Connection) -> usize {
        let mut taken = 0;
        loop {
            let tx = db.transaction().unwrap();
            let is_more = indexes::step(&tx).unwrap();
            tx.commit().unwrap();
            match is_more {
                true => taken += 1,
                false => return taken,
            }
        }
    }

    fn rows(db: &Connection) -> u64 {
        db.query_row("SELECT count(*) FROM document_index", [], |row| row.get(0)).unwrap()
    }

    fn path(field: &str) -> FieldPath {
        FieldPath::parse(field).unwrap()
    }

    fn is(field: &str, value: &str) -> Filter {
        let test = Test::Is(Relation::Eq, Literal::Text(value.to_owned()));
        Filter::Is(Condition { field: path(field), test, case_sensitive: false })
    }

    /// What SQLite reads for a statement.
    fn reads(db: &Connection, clause: &Clause) -> String {
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {}", clause.sql)).unwrap();
        let steps: Vec<String> = plan
            .query_map(params_from_iter(&clause.values), |row| row.get(3))
            .unwrap()
            .collect::<std::result::Result<_, _>>()
            .unwrap();
        steps.join("; ")
    }

    #[test]
    fn filters_orders_and_groups_of_an_indexed_field_read_its_index_instead_of_all_documents() {
        let mut db = database();
        declare(&mut db, &["colour"]);
        add(&mut db, json!({"colour": "red"}));
        let sort = Sort { field: path("colour"), descending: true };

        let filtered = Query::new(1, "col_1", Some(&is("colour", "red")), None, None).unwrap();
        let plan = reads(&db, &filtered.compiled(&db).unwrap().places(None, 0, 10));
        assert!(plan.contains("document_index_by_folded") && !plan.contains("SCAN d"), "{plan}");

        let sorted = Query::new(1, "col_1", None, None, Some(&sort)).unwrap();
        let plan = reads(&db, &sorted.compiled(&db).unwrap().places(None, 0, 10));
        assert!(plan.contains("document_index_by_value"), "{plan}");

        let all = Query::new(1, "col_1", None, None, None).unwrap();
        let compiled = all.compiled(&db).unwrap();
        let Operand::Indexed(index) = compiled.fields.operand(&path("colour")) else {
            panic!("colour is indexed")
        };
        for groups in [values_in(&index), counted_in(&index)] {
            let plan = reads(&db, &groups);
            assert!(plan.contains("COVERING INDEX document_index_by_value"), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "the index is in the order of groups: {plan}");
        }
    }

    #[test]
    fn an_index_of_documents_that_are_there_is_built_in_steps_and_used_once_it_is_complete() {
        let mut db = database();
        for number in 0..2500 {
            add(&mut db, json!({"colour": ["red", "Blue"], "number": number}));
        }
        declare(&mut db, &["colour", "number"]);
        assert_eq!(rows(&db), 0);
        let by_colour = Query::new(1, "col_1", Some(&is("colour", "blue")), None, None).unwrap();
        let is_used = |db: &Connection| {
            let clause = by_colour.compiled(db).unwrap().places(None, 0, 10);
            clause.sql.contains("document_index")
        };
        let tx = db.transaction().unwrap();
        indexes::step(&tx).unwrap();
        tx.commit().unwrap();
        assert!(!is_used(&db), "half an index finds half of the documents");
        // Written while the index is being built: it is in there once.
        add(&mut db, json!({"colour": "blue", "number": -1}));
        assert!(steps(&mut db) > 3, "a step reads a thousand documents");
        assert!(is_used(&db));
        assert_eq!(by_colour.count(&db).unwrap(), 2501);
        // Of each list: it, and its two items; the number of each.
        assert_eq!(rows(&db), 2500 * 4 + 2);

        declare(&mut db, &["number"]);
        assert!(!is_used(&db));
        assert_eq!(by_colour.count(&db).unwrap(), 2501);
        steps(&mut db);
        assert_eq!(rows(&db), 2501, "what is not declared any more goes");
    }

    #[test]
    fn what_namespaces_had_declared_before_indexes_were_real_is_indexed_after_the_upgrade() {
        let mut db = database();
        add(&mut db, json!({"a": {"b": "red"}}));
        db.execute_batch(
            r#"DROP TABLE document_index; DROP TABLE indexed_fields;
               UPDATE namespaces SET settings = json('{"payload_indexes": [
                   {"field_name": "a.b", "type": "keyword"}, {"field_name": "c", "type": "text"},
                   {"field_name": "x\"y", "type": "keyword"}, {"field_name": "..", "type": "uuid"},
                   {"type": "keyword"}, "colour", null]}');"#,
        )
        .unwrap();
        db.execute_batch(include_str!("../../migrations/22_document_index.sql")).unwrap();
        steps(&mut db);
        let fields: Vec<(String, String)> = db
            .prepare("SELECT field, path FROM indexed_fields")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<std::result::Result<_, _>>()
            .unwrap();
        assert_eq!(fields, [("a.b".to_owned(), filter::json_path(path("a.b").parts()))]);
        assert_eq!(rows(&db), 1);
    }
}
