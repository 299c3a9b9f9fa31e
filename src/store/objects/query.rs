//! Which objects of a bucket somebody wants, and in which order: keys, a page at a time.
//!
//! An index is named in every statement. SQLite would guess from statistics that it does not have;
//! here a look at the index first tells how many entries a condition leaves.

use rusqlite::{Connection, params_from_iter, types::Value};

use super::{end_of, fields::ObjectFields};
use crate::{
    model::{FieldProblem, Filter, Literal, Relation, Sort, Test},
    store::{
        Result,
        buckets::Bucket,
        clause::Clause,
        filter::{self, Fields as _, Operand},
        place::Place,
    },
};

/// What is wanted of a bucket's objects. The hidden ones are never found.
#[derive(Clone, Debug)]
pub struct Query {
    bucket_key: i64,
    condition: Option<Clause>,
    narrow: Vec<Narrow>,
    order: Order,
    descending: bool,
}

/// A condition that an index can find the objects of.
#[derive(Clone, Debug)]
struct Narrow {
    index: &'static str,
    condition: Clause,
}

/// A page of keys.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Of what was found, in order.
    pub places: Vec<Place>,
    /// The last place that was looked at, where there may be more behind it.
    pub ends_at: Option<Place>,
}

/// By what objects are ordered; the key tells equals apart.
#[derive(Clone, Debug)]
enum Order {
    Age,
    Path,
    Size,
    Value(Clause),
}

/// Entries of an index that are worth sorting; beyond, going through the bucket in the order that is
/// wanted meets enough of them soon.
const FEW: u32 = 20_000;

const BY_AGE: &str = "objects_by_age";
const BY_PATH: &str = "objects_by_path";
const BY_SIZE: &str = "objects_by_size";

impl Query {
    /// Puts together what is wanted of a bucket: all that passes the filter and has the text that is
    /// searched for in its path or in a value of its metadata or fields; the newest first unless
    /// `sort` says otherwise.
    ///
    /// # Errors
    /// A condition that its field cannot be asked.
    pub fn new(
        bucket: &Bucket,
        filter: Option<&Filter>,
        search: Option<&str>,
        sort: Option<&Sort>,
    ) -> std::result::Result<Self, FieldProblem> {
        let fields = ObjectFields { bucket_id: bucket.id.to_string() };
        let mut conditions = Vec::new();
        if let Some(filter) = filter {
            conditions.push(filter::compile(filter, &fields)?);
        }
        conditions.extend(search.filter(|text| !text.is_empty()).map(has_text));
        let order = match sort {
            None => Order::Age,
            Some(sort) => match fields.operand(&sort.field) {
                Operand::Milliseconds("o.created_at_ms") => Order::Age,
                Operand::Path(_) => Order::Path,
                Operand::Integer("o.size") => Order::Size,
                operand => Order::Value(operand.scalar()),
            },
        };
        Ok(Self {
            bucket_key: bucket.key,
            condition: (!conditions.is_empty()).then(|| Clause::joined(conditions, true)),
            narrow: filter.map(|filter| narrow(filter, &fields)).unwrap_or_default(),
            order,
            descending: sort.is_none_or(|sort| sort.descending),
        })
    }

    /// Whether every object of the bucket is wanted.
    #[must_use]
    pub const fn wants_all(&self) -> bool {
        self.condition.is_none()
    }

    /// Up to `limit` keys behind `after`, `skip` left out first, each with its place. Where no index
    /// finds them, only the next `most` objects are looked at, if so many are the most.
    ///
    /// # Errors
    /// SQLite's.
    pub fn keys(
        &self,
        connection: &Connection,
        after: Option<&Place>,
        skip: u64,
        limit: u32,
        most: Option<u32>,
    ) -> Result<Found> {
        let (column, index) = match &self.order {
            Order::Age => (Clause::default().sql("NULL"), BY_AGE),
            Order::Path => (Clause::default().sql("o.path"), BY_PATH),
            Order::Size => (Clause::default().sql("o.size"), BY_SIZE),
            Order::Value(value) => (value.clone(), BY_AGE),
        };
        let behind = |place: &Place| self.behind(place, &column);
        let fewest = self.fewest(connection)?;
        let last = match (most, fewest) {
            (Some(most), None) if self.is_scan() => {
                let all = every(self.bucket_key, index);
                let rest = after.map_or(all.clone(), |place| all.sql(" AND ").then(behind(place)));
                self.page(connection, &column, rest, u64::from(most) - 1, 1)?.pop()
            }
            _ => None,
        };
        let mut rows = self.from(fewest.unwrap_or(index));
        if let Some(place) = after {
            rows = rows.sql(" AND ").then(behind(place));
        }
        if let Some(last) = &last {
            rows = rows.sql(" AND NOT (").then(behind(last)).sql(")");
        }
        let places = self.page(connection, &column, rows, skip, limit)?;
        let ends_at = last.filter(|_| places.len() < limit as usize);
        Ok(Found { places, ends_at })
    }

    /// Whether it goes through the bucket in the order of an index, looking at each object.
    const fn is_scan(&self) -> bool {
        self.condition.is_some() && !matches!(self.order, Order::Value(_))
    }

    /// Places among rows, in the order that is wanted.
    fn page(
        &self,
        connection: &Connection,
        column: &Clause,
        rows: Clause,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<Place>> {
        let select = Clause::default().sql("SELECT o.object_key, ").then(column.clone());
        let direction = if self.descending { "DESC" } else { "ASC" };
        let clause = match &self.order {
            Order::Age => select.then(rows).sql(&format!(" ORDER BY o.object_key {direction}")),
            _ => {
                select.then(rows).sql(&format!(" ORDER BY 2 {direction}, o.object_key {direction}"))
            }
        };
        let clause = clause.sql(" LIMIT ").bind(limit).sql(" OFFSET ").bind(signed(skip));
        let mut statement = connection.prepare_cached(&clause.sql)?;
        let places = statement
            .query_map(params_from_iter(&clause.values), |row| {
                Ok(Place::new(row.get(0)?, row.get(1)?))
            })?
            .collect::<std::result::Result<_, _>>()?;
        Ok(places)
    }

    /// How many objects are wanted, counted one by one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count(&self, connection: &Connection) -> Result<u64> {
        let index = self.fewest(connection)?.unwrap_or(BY_AGE);
        let clause = Clause::default().sql("SELECT count(*)").then(self.from(index));
        Ok(connection
            .prepare_cached(&clause.sql)?
            .query_row(params_from_iter(&clause.values), |row| row.get(0))?)
    }

    /// The rows that are wanted, of the table or of it joined to others.
    pub(super) fn from(&self, index: &'static str) -> Clause {
        let mut clause = every(self.bucket_key, index);
        // Once more without the brackets that keep SQLite from seeing what the index is for.
        for narrow in self.narrow.iter().filter(|narrow| narrow.index == index) {
            clause = clause.sql(" AND ").then(narrow.condition.clone());
        }
        match &self.condition {
            Some(condition) => clause.sql(" AND ").then(condition.clone()),
            None => clause,
        }
    }

    /// The index that leaves few objects, if one does.
    pub(super) fn fewest(&self, connection: &Connection) -> Result<Option<&'static str>> {
        let mut fewest = None;
        let mut least = FEW;
        for index in [BY_PATH, BY_SIZE] {
            let mut clause = Clause::default()
                .sql("SELECT count(*) FROM (SELECT 1 FROM objects o INDEXED BY ")
                .sql(index)
                .sql(" WHERE o.state IS NULL AND o.bucket_key = ")
                .bind(self.bucket_key);
            let mut conditions =
                self.narrow.iter().filter(|narrow| narrow.index == index).peekable();
            if conditions.peek().is_none() {
                continue;
            }
            for narrow in conditions {
                clause = clause.sql(" AND ").then(narrow.condition.clone());
            }
            clause = clause.sql(" LIMIT ").bind(least).sql(")");
            let count: u32 = connection
                .prepare_cached(&clause.sql)?
                .query_row(params_from_iter(&clause.values), |row| row.get(0))?;
            if count < least {
                (least, fewest) = (count, Some(index));
            }
        }
        Ok(fewest)
    }

    /// The rows behind a place.
    fn behind(&self, place: &Place, column: &Clause) -> Clause {
        let sign = if self.descending { " < " } else { " > " };
        let key = Clause::default().sql("o.object_key").sql(sign).bind(place.key());
        let value = place.value(matches!(self.order, Order::Path));
        match (&self.order, value) {
            (Order::Age, _) => key,
            (Order::Path | Order::Size, value) => Clause::default()
                .sql("(")
                .then(column.clone())
                .sql(", o.object_key)")
                .sql(sign)
                .sql("(")
                .bind(value)
                .sql(", ")
                .bind(place.key())
                .sql(")"),
            (Order::Value(column), _) => place.behind(column, "o.object_key", self.descending),
        }
    }
}

/// All objects of a bucket that are not hidden, by an index.
fn every(bucket_key: i64, index: &'static str) -> Clause {
    let from =
        format!(" FROM objects o INDEXED BY {index} WHERE o.state IS NULL AND o.bucket_key = ");
    Clause::default().sql(&from).bind(bucket_key)
}

/// Conditions of the outermost conjunction that an index serves.
fn narrow(filter: &Filter, fields: &ObjectFields) -> Vec<Narrow> {
    let condition = match filter {
        Filter::All(filters) => {
            return filters.iter().flat_map(|filter| narrow(filter, fields)).collect();
        }
        Filter::Is(condition) => condition,
        Filter::Any(_) | Filter::No(_) => return Vec::new(),
    };
    let (operand, test) = (fields.operand(&condition.field), &condition.test);
    let found = match (operand, test) {
        (Operand::Integer("o.size"), Test::Is(relation, Literal::Integer(number))) => {
            Some((BY_SIZE, compared("o.size", *relation, *number)))
        }
        (Operand::Path(_), Test::Is(relation, Literal::Text(text))) => {
            Some((BY_PATH, compared("o.path", *relation, text.as_bytes().to_vec())))
        }
        (Operand::Path(_), Test::StartsWith(text)) => {
            let from = compared("o.path", Relation::Gte, text.as_bytes().to_vec());
            let end = end_of(text.as_bytes());
            let to = end.map(|end| compared("o.path", Relation::Lt, end));
            Some((BY_PATH, Clause::joined(std::iter::once(from).chain(to).collect(), true)))
        }
        _ => None,
    };
    found.map(|(index, condition)| Narrow { index, condition }).into_iter().collect()
}

fn compared(column: &str, relation: Relation, value: impl Into<Value>) -> Clause {
    Clause::default().sql(column).sql(filter::symbol(relation)).bind(value)
}

/// The text in the path, or in a value of what the source or somebody says of the object.
fn has_text(text: &str) -> Clause {
    let wanted = crate::store::functions::fold(text);
    let within = |column: &str| {
        Clause::default()
            .sql(&format!(
                "({column} IS NOT NULL AND EXISTS (SELECT 1 FROM json_tree({column}) j
                  WHERE j.atom IS NOT NULL AND instr(folded(j.atom), "
            ))
            .bind(wanted.clone())
            .sql(") > 0))")
    };
    let path = Clause::default().sql("instr(folded(o.path), ").bind(wanted.clone()).sql(") > 0");
    let id = Clause::default().sql("o.id = ").bind(text.to_owned());
    Clause::joined(vec![path, within("o.metadata"), within("o.fields"), id], false)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
