//! Some fields of every object that a query wants, one row at a time: what is counted in groups.

use rusqlite::{Connection, params_from_iter, types::ValueRef};
use serde_json::Value;

use super::{
    fields::{BLOBS, ObjectFields},
    query::{Index, Query},
};
use crate::{
    model::FieldPath,
    store::{
        Result, StoreError,
        buckets::Bucket,
        clause::Clause,
        filter::{Fields as _, Operand},
        time,
    },
};

/// Hands the values of `columns` of each object to `visit`, oldest object first. With `unwind`, an
/// object has a row for each item of that field, which takes the place of the field; objects whose
/// field is empty have none. Times come as RFC 3339 text.
///
/// # Errors
/// SQLite's, or the visitor's.
pub fn each(
    connection: &Connection,
    bucket: &Bucket,
    query: &Query,
    columns: &[FieldPath],
    unwind: Option<&FieldPath>,
    mut visit: impl FnMut(Vec<Value>) -> Result<()>,
) -> Result<()> {
    let fields = ObjectFields { bucket_id: bucket.id.to_string() };
    let by_blob = unwind.is_some_and(|field| field.dotted() == "blobs");
    let operands: Vec<Operand> = columns
        .iter()
        .map(|column| match fields.operand(column) {
            Operand::Many(BLOBS, one) if by_blob => *one,
            operand => operand,
        })
        .collect();
    let mut clause = Clause::default().sql("SELECT 0");
    for operand in &operands {
        clause = clause.sql(", ").then(raw(operand));
    }
    let index = query.fewest(connection)?.unwrap_or(Index::Age);
    let joined = match by_blob {
        false => "",
        true => {
            " JOIN object_blobs ob ON ob.object_key = o.object_key
              JOIN blobs b ON b.blob_key = ob.blob_key"
        }
    };
    clause = clause.then(query.from(index, joined));
    let clause = clause.sql(" ORDER BY o.object_key");
    let unwound = unwind
        .filter(|_| !by_blob)
        .and_then(|field| columns.iter().position(|column| column == field));
    let mut statement = connection.prepare_cached(&clause.sql)?;
    let mut rows = statement.query(params_from_iter(&clause.values))?;
    while let Some(row) = rows.next()? {
        let values = operands
            .iter()
            .enumerate()
            .map(|(index, operand)| value(operand, row.get_ref(index + 1)?))
            .collect::<Result<Vec<_>>>()?;
        match unwound {
            None => visit(values)?,
            Some(place) => {
                for item in items(&values[place]) {
                    let mut values = values.clone();
                    values[place] = item;
                    visit(values)?;
                }
            }
        }
    }
    Ok(())
}

fn items(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

/// The field as it is read: JSON stays JSON, so that true is not 1.
fn raw(operand: &Operand) -> Clause {
    match operand {
        Operand::Json(column, path) => Clause::default().sql(column).sql(" -> ").bind(path.clone()),
        Operand::Many(from, one) => {
            let from = format!(" FROM {from} LIMIT 1)");
            Clause::default().sql("(SELECT ").then(raw(one)).sql(&from)
        }
        other => other.scalar(),
    }
}

fn value(operand: &Operand, column: ValueRef<'_>) -> Result<Value> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(match (innermost(operand), column) {
        (_, ValueRef::Null) => Value::Null,
        (Operand::Json(..), ValueRef::Text(bytes)) => {
            serde_json::from_slice(bytes).map_err(|error| StoreError::nonsense("object", error))?
        }
        (Operand::Milliseconds(_), ValueRef::Integer(ms)) => time::from_ms(ms).to_string().into(),
        (Operand::Nanoseconds(_), ValueRef::Integer(ns)) => time::from_ns(ns).to_string().into(),
        (Operand::Flag(_), ValueRef::Integer(flag)) => (flag != 0).into(),
        (_, ValueRef::Integer(number)) => number.into(),
        (_, ValueRef::Real(number)) => number.into(),
        (_, ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => text(bytes).into(),
    })
}

fn innermost(operand: &Operand) -> &Operand {
    match operand {
        Operand::Many(_, one) => innermost(one),
        one => one,
    }
}
