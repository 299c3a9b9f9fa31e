//! Filters and orders of lists: `{"AND": [{"field": …, "operator": …, "value": …}]}`, the
//! short form `{"field": value}`, and both nested. Each mistake is named in its place.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    buckets::{SortDirection, field_error},
    error::{ApiError, FieldError},
};
use crate::model::{Condition, FieldPath, Filter, Literal, Relation, Sort, Test};

/// Conditions joined: all of AND, one of OR, none of NOT, and every further key a field that equals
/// its value (or one of several).
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub(super) struct LogicalOperatorInput {
    /// All of these: conditions `{field, operator, value}`, or more of the same kind as this.
    #[serde(rename = "AND")]
    pub and: Option<Vec<Map<String, Value>>>,
    /// One of these.
    #[serde(rename = "OR")]
    pub or: Option<Vec<Map<String, Value>>>,
    /// None of these.
    #[serde(rename = "NOT")]
    pub not: Option<Vec<Map<String, Value>>>,
    /// Whether upper and lower case differ.
    pub case_sensitive: Option<bool>,
    /// Fields with the value that they are to have.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

/// In which order rows come.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SortOption {
    /// By this field; dots lead into it.
    pub field: String,
    /// The direction; `asc` by default.
    pub direction: Option<SortDirection>,
}

/// The operators, as the wire spells them.
const OPERATORS: [&str; 17] = [
    "eq",
    "ne",
    "gt",
    "lt",
    "gte",
    "lte",
    "in",
    "nin",
    "contains",
    "starts_with",
    "ends_with",
    "regex",
    "exists",
    "is_null",
    "text",
    "phrase",
    "words",
];
/// Filters within filters, conditions in all, and values of one `in` that a request may have.
const MAX_DEPTH: usize = 32;
const MAX_CONDITIONS: usize = 200;
const MAX_VALUES: usize = 1000;
/// Values of all its `in` together: SQLite binds 32,766 at most.
const MAX_VALUES_IN_ALL: usize = 5000;

/// What a list's filters mean.
///
/// # Errors
/// 422 with everything that is wrong with them.
pub(super) fn filter(input: LogicalOperatorInput) -> Result<Filter, ApiError> {
    let mut object: Map<String, Value> = input.fields.into_iter().collect();
    let lists = [("AND", input.and), ("OR", input.or), ("NOT", input.not)];
    for (name, list) in lists {
        if let Some(list) = list {
            object.insert(name.to_owned(), list.into_iter().map(Value::Object).collect());
        }
    }
    let mut reader = Reader::default();
    let case_sensitive = input.case_sensitive.unwrap_or(false);
    let filter = reader.operator(&object, "filters", case_sensitive, 0);
    if reader.wrong.is_empty() { Ok(filter) } else { Err(ApiError::invalid(reader.wrong)) }
}

/// [`filter`] for lists that accept any JSON object.
///
/// # Errors
/// 422 with everything that is wrong with it.
pub(super) fn filter_of(object: &Map<String, Value>) -> Result<Filter, ApiError> {
    let mut reader = Reader::default();
    let filter = reader.operator(object, "filters", false, 0);
    if reader.wrong.is_empty() { Ok(filter) } else { Err(ApiError::invalid(reader.wrong)) }
}

/// What a list's order means.
///
/// # Errors
/// 422 when its field is none.
pub(super) fn sort(option: &SortOption) -> Result<Sort, ApiError> {
    let field = FieldPath::parse(&option.field)
        .map_err(|problem| ApiError::invalid_field(field_error(problem.within("sort"))))?;
    Ok(Sort { field, descending: option.direction == Some(SortDirection::Desc) })
}

#[derive(Default)]
struct Reader {
    wrong: Vec<FieldError>,
    conditions: usize,
    values: usize,
}

impl Reader {
    fn operator(
        &mut self,
        object: &Map<String, Value>,
        place: &str,
        case_sensitive: bool,
        depth: usize,
    ) -> Filter {
        let case_sensitive =
            object.get("case_sensitive").and_then(Value::as_bool).unwrap_or(case_sensitive);
        if depth > MAX_DEPTH {
            self.refuse(place, &Value::Null, "is nested too deeply", MAX_DEPTH.to_string());
            return Filter::All(Vec::new());
        }
        let mut all = Vec::new();
        for (key, value) in object {
            let here = format!("{place}.{key}");
            match key.as_str() {
                "case_sensitive" => {}
                "AND" | "OR" | "NOT" if value.is_null() => {}
                "AND" => all.push(Filter::All(self.list(value, &here, case_sensitive, depth))),
                "OR" => all.push(Filter::Any(self.list(value, &here, case_sensitive, depth))),
                "NOT" => all.push(Filter::No(self.list(value, &here, case_sensitive, depth))),
                field => all.extend(self.short(field, value, &here, case_sensitive)),
            }
        }
        match <[Filter; 1]>::try_from(all) {
            Ok([only]) => only,
            Err(all) => Filter::All(all),
        }
    }

    fn list(
        &mut self,
        value: &Value,
        place: &str,
        case_sensitive: bool,
        depth: usize,
    ) -> Vec<Filter> {
        let Value::Array(items) = value else {
            self.refuse(place, value, "is not a list", "a list of conditions");
            return Vec::new();
        };
        let mut filters = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let here = format!("{place}[{index}]");
            match item {
                Value::Object(object) if object.contains_key("field") => {
                    filters.extend(self.condition(object, &here, case_sensitive));
                }
                Value::Object(object) => {
                    filters.push(self.operator(object, &here, case_sensitive, depth + 1));
                }
                other => {
                    self.refuse(&here, other, "is not a condition", "{field, operator, value}")
                }
            }
        }
        filters
    }

    /// `{field, operator, value}`.
    fn condition(
        &mut self,
        object: &Map<String, Value>,
        place: &str,
        case_sensitive: bool,
    ) -> Option<Filter> {
        for key in object.keys() {
            if !["field", "operator", "value", "case_sensitive"].contains(&key.as_str()) {
                let error =
                    FieldError::new(format!("{place}.{key}"), object[key].clone(), "is not known")
                        .accepting(vec!["field", "operator", "value"])
                        .of_kind("extra_forbidden");
                self.wrong.push(error);
            }
        }
        let field = self.field(&object["field"], &format!("{place}.field"))?;
        let null = Value::Null;
        let value = object.get("value").unwrap_or(&null);
        let operator = match object.get("operator") {
            None | Some(Value::Null) => "eq",
            Some(Value::String(name)) => name,
            Some(other) => {
                self.refuse(
                    &format!("{place}.operator"),
                    other,
                    "is not an operator",
                    OPERATORS.to_vec(),
                );
                return None;
            }
        };
        let case_sensitive =
            object.get("case_sensitive").and_then(Value::as_bool).unwrap_or(case_sensitive);
        self.test(field, operator, value, place, case_sensitive)
    }

    /// `{"field": value}`, `{"field": [values]}`, `{"field": {"operator": value}}`.
    fn short(
        &mut self,
        field: &str,
        value: &Value,
        place: &str,
        case_sensitive: bool,
    ) -> Option<Filter> {
        let path = self.field(&field.into(), place)?;
        match value {
            Value::Array(_) => self.test(path, "in", value, place, case_sensitive),
            Value::Object(tests) => {
                let mut all = Vec::new();
                for (operator, value) in tests {
                    let operator = operator.trim_start_matches('$');
                    all.extend(self.test(path.clone(), operator, value, place, case_sensitive));
                }
                Some(Filter::All(all))
            }
            value => self.test(path, "eq", value, place, case_sensitive),
        }
    }

    fn field(&mut self, value: &Value, place: &str) -> Option<FieldPath> {
        let parsed = value.as_str().map(FieldPath::parse);
        if let Some(Ok(field)) = parsed {
            return Some(field);
        }
        self.refuse(place, value, "is not a path of a field", "names joined by dots");
        None
    }

    fn test(
        &mut self,
        field: FieldPath,
        operator: &str,
        value: &Value,
        place: &str,
        case_sensitive: bool,
    ) -> Option<Filter> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            if self.conditions == MAX_CONDITIONS + 1 {
                self.refuse(
                    "filters",
                    &Value::Null,
                    "has too many conditions",
                    MAX_CONDITIONS.to_string(),
                );
            }
            return None;
        }
        let here = format!("{place}.value");
        let mut case_sensitive = case_sensitive;
        let test = match operator {
            "eq" if value.is_null() => Test::IsNull(true),
            "ne" if value.is_null() => Test::IsNull(false),
            "eq" => Test::Is(Relation::Eq, self.literal(value, &here)?),
            "ne" => Test::Ne(self.literal(value, &here)?),
            "gt" => Test::Is(Relation::Gt, self.literal(value, &here)?),
            "lt" => Test::Is(Relation::Lt, self.literal(value, &here)?),
            "gte" => Test::Is(Relation::Gte, self.literal(value, &here)?),
            "lte" => Test::Is(Relation::Lte, self.literal(value, &here)?),
            "in" => Test::In(self.literals(value, &here)?),
            "nin" => Test::NotIn(self.literals(value, &here)?),
            "exists" => Test::IsNull(!self.flag(value, &here)?),
            "is_null" => Test::IsNull(self.flag(value, &here)?),
            "contains" => Test::Contains(self.text(value, &here)?),
            "starts_with" => Test::StartsWith(self.text(value, &here)?),
            "ends_with" => Test::EndsWith(self.text(value, &here)?),
            "regex" => Test::Regex(self.text(value, &here)?),
            "phrase" => Test::Phrase(self.text(value, &here)?),
            "words" => Test::Words(self.text(value, &here)?),
            "text" => {
                case_sensitive = false;
                Test::Contains(self.text(value, &here)?)
            }
            other => {
                let words = if other.starts_with("geo_") {
                    "needs an index of places, which there is not"
                } else {
                    "is not an operator"
                };
                let place = format!("{place}.operator");
                self.refuse(&place, &other.into(), words, OPERATORS.to_vec());
                return None;
            }
        };
        Some(Filter::Is(Condition { field, test, case_sensitive }))
    }

    fn literal(&mut self, value: &Value, place: &str) -> Option<Literal> {
        match value {
            Value::Bool(is) => Some(Literal::Bool(*is)),
            Value::String(text) => Some(Literal::Text(text.clone())),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Some(Literal::Integer(whole)),
                None => number.as_f64().map(Literal::Real),
            },
            other => {
                self.refuse(
                    place,
                    other,
                    "cannot be compared with",
                    "text, a number, true or false",
                );
                None
            }
        }
    }

    fn literals(&mut self, value: &Value, place: &str) -> Option<Vec<Literal>> {
        let Value::Array(items) = value else {
            self.refuse(place, value, "is not a list", "a list of values");
            return None;
        };
        self.values += items.len();
        if items.len() > MAX_VALUES || self.values > MAX_VALUES_IN_ALL {
            let words = format!("has {} values, which is too many", items.len());
            let accepted =
                format!("at most {MAX_VALUES} values, and {MAX_VALUES_IN_ALL} in one request");
            self.refuse(place, &Value::Null, &words, accepted);
            return None;
        }
        items.iter().map(|item| self.literal(item, place)).collect()
    }

    fn flag(&mut self, value: &Value, place: &str) -> Option<bool> {
        match value {
            Value::Bool(is) => Some(*is),
            Value::Null => Some(true),
            other => {
                self.refuse(place, other, "is neither true nor false", "true or false");
                None
            }
        }
    }

    fn text(&mut self, value: &Value, place: &str) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            other => {
                self.refuse(place, other, "is not text", "text");
                None
            }
        }
    }

    fn refuse(&mut self, place: &str, value: &Value, words: &str, accepted: impl Into<Value>) {
        let place = place.trim_start_matches('.');
        self.wrong.push(FieldError::new(place, value.clone(), words).accepting(accepted));
    }
}

/// Whether a filter holds of a record that is at hand as JSON.
pub(super) fn holds(filter: &Filter, record: &Value) -> bool {
    match filter {
        Filter::All(filters) => filters.iter().all(|filter| holds(filter, record)),
        Filter::Any(filters) => filters.iter().any(|filter| holds(filter, record)),
        Filter::No(filters) => !filters.iter().any(|filter| holds(filter, record)),
        Filter::Is(condition) => {
            let value = condition
                .field
                .parts()
                .iter()
                .try_fold(record, |value, part| value.get(part))
                .unwrap_or(&Value::Null);
            condition_holds(condition, value)
        }
    }
}

fn condition_holds(condition: &Condition, value: &Value) -> bool {
    let some = |test: &dyn Fn(&Value) -> bool| match value {
        Value::Array(items) => items.iter().any(test),
        Value::Null | Value::Object(_) => false,
        one => test(one),
    };
    let fold = |text: &str| match condition.case_sensitive {
        true => text.to_owned(),
        false => text.to_lowercase(),
    };
    let equals = |literal: &Literal| {
        some(&|value| match (literal, value) {
            (Literal::Text(wanted), Value::String(text)) => fold(wanted) == fold(text),
            (Literal::Bool(wanted), Value::Bool(is)) => wanted == is,
            (Literal::Integer(wanted), value) => value.as_i64() == Some(*wanted),
            (Literal::Real(wanted), value) => value.as_f64() == Some(*wanted),
            _ => false,
        })
    };
    let text = |test: &dyn Fn(&str) -> bool| {
        some(&|value| value.as_str().is_some_and(|text| test(&fold(text))))
    };
    match &condition.test {
        Test::Is(Relation::Eq, literal) => equals(literal),
        Test::Ne(literal) => !equals(literal),
        Test::In(literals) => literals.iter().any(equals),
        Test::NotIn(literals) => !literals.iter().any(equals),
        Test::IsNull(is_null) => value.is_null() == *is_null,
        Test::Contains(part) => text(&|text| text.contains(&fold(part))),
        Test::StartsWith(part) => text(&|text| text.starts_with(&fold(part))),
        Test::EndsWith(part) => text(&|text| text.ends_with(&fold(part))),
        Test::Words(words) | Test::Phrase(words) => {
            words.split_whitespace().all(|word| text(&|text| text.contains(&fold(word))))
        }
        Test::Regex(pattern) => regex::Regex::new(pattern).is_ok_and(|regex| {
            some(&|value| value.as_str().is_some_and(|text| regex.is_match(text)))
        }),
        Test::Is(relation, literal) => some(&|value| {
            let order = match (literal, value) {
                (Literal::Text(wanted), Value::String(text)) => Some(fold(text).cmp(&fold(wanted))),
                (Literal::Integer(wanted), value) => {
                    value.as_i64().map(|number| number.cmp(wanted))
                }
                (Literal::Real(wanted), value) => {
                    value.as_f64().and_then(|number| number.partial_cmp(wanted))
                }
                _ => None,
            };
            order.is_some_and(|order| match relation {
                Relation::Eq => order.is_eq(),
                Relation::Gt => order.is_gt(),
                Relation::Lt => order.is_lt(),
                Relation::Gte => order.is_ge(),
                Relation::Lte => order.is_le(),
            })
        }),
    }
}
