//! Counting objects in groups. The rows come one at a time from the store; what is kept here is a
//! group each, and there is a bound on these.

use std::{cmp::Ordering, collections::HashMap};

use axum::{Json, extract::State};
use jiff::{
    RoundMode, Timestamp, ToSpan as _, Unit,
    civil::{Date, DateTime, DateTimeRound, Time},
    tz::Offset,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};
use utoipa::ToSchema;

use crate::{
    api::{
        App,
        buckets::{self, SortDirection, told},
        error::{ApiError, FieldError},
        filters,
        json::{FromPath, Valid},
        scope::Scope,
    },
    model::FieldPath,
    store::objects::{query::Query, rows},
};

/// The most groups, and values collected in them, that one request may make.
const MAX_KEPT: usize = 100_000;

/// What is to be counted.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ObjectAggregationRequest {
    /// What makes a group.
    #[schema(min_items = 1, max_items = 16)]
    pub group_by: Vec<GroupByField>,
    /// What is counted in each.
    #[schema(min_items = 1, max_items = 32)]
    pub aggregations: Vec<AggregationOperation>,
    /// Only these objects.
    pub filters: Option<Map<String, Value>>,
    /// Only groups of which this holds.
    pub having: Option<Vec<HavingCondition>>,
    /// A list: each of its items counts as an object.
    pub unwind: Option<String>,
    /// Numbers put into ranges before they are grouped.
    pub range_buckets: Option<Vec<RangeBucket>>,
    /// In which order: a group's field, or an alias.
    pub sort_by: Option<String>,
    /// Which end first; `desc` if nobody says.
    pub sort_direction: Option<SortDirection>,
    /// The most groups to answer with.
    #[schema(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
}

/// A field that makes a group.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupByField {
    /// The field.
    pub field: String,
    /// What to call it in the answer.
    pub alias: Option<String>,
    /// A time cut down to this.
    pub date_trunc: Option<DateTruncUnit>,
    /// This part of a time.
    pub date_part: Option<DatePartUnit>,
}

/// What a time is cut down to, in UTC.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum DateTruncUnit {
    /// The year.
    Year,
    /// The month.
    Month,
    /// The week, from Monday.
    Week,
    /// The day.
    Day,
    /// The hour.
    Hour,
    /// The minute.
    Minute,
    /// The second.
    Second,
}

/// A part of a time, in UTC.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum DatePartUnit {
    /// The year.
    Year,
    /// 1 to 12.
    Month,
    /// The week by ISO 8601.
    Week,
    /// 1 to 31.
    Day,
    /// 1 (Sunday) to 7.
    DayOfWeek,
    /// 1 to 366.
    DayOfYear,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
    /// 0 to 59.
    Second,
}

/// Something to count.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AggregationOperation {
    /// How.
    pub function: AggregationFunction,
    /// What; not needed to count objects.
    pub field: Option<String>,
    /// What to call it in the answer.
    #[schema(min_length = 1)]
    pub alias: String,
    /// What is counted once, if not `field`.
    pub distinct_field: Option<String>,
}

/// How to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum AggregationFunction {
    /// How many objects; with a field, how many that have it.
    Count,
    /// How many different values.
    CountDistinct,
    /// The sum of numbers.
    Sum,
    /// Their average.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The oldest object's.
    First,
    /// The newest object's.
    Last,
    /// All of them.
    Push,
    /// Each once.
    AddToSet,
}

/// What must hold of a group.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HavingCondition {
    /// The alias.
    pub field: String,
    /// In which relation it stands.
    pub operator: HavingOperator,
    /// To what.
    pub value: Value,
}

/// A relation.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum HavingOperator {
    /// More.
    Gt,
    /// Not less.
    Gte,
    /// Less.
    Lt,
    /// Not more.
    Lte,
    /// The same.
    Eq,
    /// Not the same.
    Ne,
}

/// Ranges of a number. A value on a boundary is in the range below it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RangeBucket {
    /// The field.
    pub field: String,
    /// Where one range ends and the next begins, ascending.
    #[schema(min_items = 1, max_items = 1000)]
    pub boundaries: Vec<f64>,
    /// What values are called that are no numbers; `other` if nobody says.
    pub default_bucket: Option<String>,
}

/// What was counted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ObjectAggregationResponse {
    /// The groups.
    pub results: Vec<AggregationResult>,
    /// How many there are, before `limit`.
    pub total_groups: u64,
    /// What was looked at.
    pub query_info: Map<String, Value>,
}

/// A group.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AggregationResult {
    /// What makes it one.
    pub group: Map<String, Value>,
    /// What was counted in it.
    pub metrics: Map<String, Value>,
}

/// Count objects in groups
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/objects/aggregate", tag = "bucket_objects",
    operation_id = "aggregate_objects_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name")),
    request_body = ObjectAggregationRequest,
    responses((status = 200, body = ObjectAggregationResponse))
)]
pub(super) async fn aggregate(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    Valid(body): Valid<ObjectAggregationRequest>,
) -> Result<Json<ObjectAggregationResponse>, ApiError> {
    let bucket = buckets::found(&app, &scope, &bucket).await?;
    let plan = Plan::new(&body)?;
    let filter = body.filters.as_ref().map(filters::filter_of).transpose()?;
    let query = Query::new(&bucket, filter.as_ref(), None, None)
        .map_err(|problem| ApiError::invalid_field(told(problem.within("filters"))))?;
    let counted = app
        .engine
        .store
        .read(move |db| {
            let mut groups = Groups::default();
            let (columns, unwind) = (plan.columns.clone(), plan.unwind.clone());
            rows::each(db, &bucket, &query, &columns, unwind.as_ref(), |row| {
                groups.take(&plan, &row);
                Ok(())
            })?;
            Ok(groups)
        })
        .await?;
    if counted.kept > MAX_KEPT {
        return Err(ApiError::invalid_field(
            FieldError { value: None, ..FieldError::new("group_by", (), "makes too many groups") }
                .accepting(format!("at most {MAX_KEPT} groups and collected values")),
        ));
    }
    Ok(Json(counted.finish(&body)))
}

/// Which columns are read, and what is done with each.
struct Plan {
    columns: Vec<FieldPath>,
    unwind: Option<FieldPath>,
    groups: Vec<(usize, Grouping)>,
    metrics: Vec<(AggregationFunction, Option<usize>)>,
}

enum Grouping {
    Value,
    Trunc(DateTruncUnit),
    Part(DatePartUnit),
    Range(RangeBucket),
}

impl Plan {
    fn new(body: &ObjectAggregationRequest) -> Result<Self, ApiError> {
        let mut columns = Vec::new();
        let mut wrong = Vec::new();
        let mut column = |text: &str, place: String| match FieldPath::parse(text) {
            Ok(path) => match columns.iter().position(|column| *column == path) {
                Some(known) => known,
                None => {
                    columns.push(path);
                    columns.len() - 1
                }
            },
            Err(problem) => {
                wrong.push(FieldError { field: place, ..told(problem) });
                0
            }
        };
        let mut groups = Vec::new();
        let mut misplaced = Vec::new();
        let ranges = body.range_buckets.as_deref().unwrap_or_default();
        for (index, group) in body.group_by.iter().enumerate() {
            let place = format!("group_by[{index}].field");
            let range = ranges.iter().find(|range| range.field == group.field);
            let grouping = match (group.date_trunc, group.date_part, range) {
                (Some(_), Some(_), _) => {
                    misplaced.push(
                        FieldError::new(
                            format!("group_by[{index}].date_part"),
                            (),
                            "stands beside date_trunc",
                        )
                        .accepting("one of them"),
                    );
                    Grouping::Value
                }
                (Some(unit), None, _) => Grouping::Trunc(unit),
                (None, Some(unit), _) => Grouping::Part(unit),
                (None, None, Some(range)) => Grouping::Range(range.clone()),
                (None, None, None) => Grouping::Value,
            };
            groups.push((column(&group.field, place), grouping));
        }
        for (index, range) in ranges.iter().enumerate() {
            if !range.boundaries.is_sorted() {
                let place = format!("range_buckets[{index}].boundaries");
                misplaced.push(
                    FieldError::new(place, json!(range.boundaries), "do not ascend")
                        .accepting("ascending numbers"),
                );
            }
            // A range of a field that nobody groups by makes a group of its own.
            if !body.group_by.iter().any(|group| group.field == range.field) {
                let place = format!("range_buckets[{index}].field");
                groups.push((column(&range.field, place), Grouping::Range(range.clone())));
            }
        }
        let mut metrics = Vec::new();
        for (index, operation) in body.aggregations.iter().enumerate() {
            let field = match operation.function {
                AggregationFunction::CountDistinct => {
                    operation.distinct_field.as_ref().or(operation.field.as_ref())
                }
                _ => operation.field.as_ref(),
            };
            let place = format!("aggregations[{index}].field");
            if field.is_none() && operation.function != AggregationFunction::Count {
                misplaced.push(
                    FieldError { value: None, ..FieldError::new(place.clone(), (), "is missing") }
                        .accepting("a field")
                        .of_kind("missing"),
                );
            }
            metrics.push((operation.function, field.map(|field| column(field, place))));
        }
        let aliases: Vec<&str> =
            body.aggregations.iter().map(|operation| operation.alias.as_str()).collect();
        for (index, having) in body.having.iter().flatten().enumerate() {
            if !aliases.contains(&having.field.as_str()) {
                misplaced.push(
                    FieldError::new(
                        format!("having[{index}].field"),
                        having.field.as_str(),
                        "is no alias",
                    )
                    .accepting(aliases.clone()),
                );
            }
        }
        let unwind = body.unwind.as_deref().map(FieldPath::parse).transpose();
        let unwind = unwind.unwrap_or_else(|problem| {
            misplaced.push(FieldError { field: "unwind".to_owned(), ..told(problem) });
            None
        });
        wrong.extend(misplaced);
        if !wrong.is_empty() {
            return Err(ApiError::invalid(wrong));
        }
        if let Some(unwind) = &unwind
            && !columns.contains(unwind)
        {
            columns.push(unwind.clone());
        }
        Ok(Self { columns, unwind, groups, metrics })
    }
}

/// The groups, by the text of what makes them.
#[derive(Default)]
struct Groups {
    places: HashMap<String, usize>,
    groups: Vec<(Vec<Value>, Vec<Metric>)>,
    kept: usize,
    rows: u64,
}

impl Groups {
    fn take(&mut self, plan: &Plan, row: &[Value]) {
        self.rows += 1;
        if self.kept > MAX_KEPT {
            return;
        }
        let key: Vec<Value> =
            plan.groups.iter().map(|(column, how)| grouped(&row[*column], how)).collect();
        let name = Value::Array(key.clone()).to_string();
        let place = match self.places.get(&name) {
            Some(place) => *place,
            None => {
                self.kept += 1;
                let metrics = plan.metrics.iter().map(|(function, _)| Metric::new(*function));
                self.groups.push((key, metrics.collect()));
                self.places.insert(name, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        let one = Value::Bool(true);
        for (metric, (_, column)) in self.groups[place].1.iter_mut().zip(&plan.metrics) {
            self.kept += metric.take(column.map_or(&one, |column| &row[column]));
        }
    }

    fn finish(self, body: &ObjectAggregationRequest) -> ObjectAggregationResponse {
        let ranges = body.range_buckets.iter().flatten();
        let more = ranges
            .filter(|range| !body.group_by.iter().any(|group| group.field == range.field))
            .map(|range| range.field.as_str());
        let names: Vec<&str> = body
            .group_by
            .iter()
            .map(|group| group.alias.as_deref().unwrap_or(&group.field))
            .chain(more)
            .collect();
        let mut results: Vec<AggregationResult> = self
            .groups
            .into_iter()
            .map(|(key, metrics)| AggregationResult {
                group: names.iter().map(|name| (*name).to_owned()).zip(key).collect(),
                metrics: body
                    .aggregations
                    .iter()
                    .map(|operation| operation.alias.clone())
                    .zip(metrics.into_iter().map(Metric::finish))
                    .collect(),
            })
            .collect();
        results.retain(|result| body.having.iter().flatten().all(|having| holds(having, result)));
        if let Some(by) = &body.sort_by {
            let value = |result: &AggregationResult| {
                result.metrics.get(by).or_else(|| result.group.get(by)).cloned().unwrap_or_default()
            };
            let ascending = body.sort_direction == Some(SortDirection::Asc);
            results.sort_by(|a, b| {
                let order = order(&value(a), &value(b));
                if ascending { order } else { order.reverse() }
            });
        }
        let total_groups = results.len() as u64;
        results.truncate(body.limit.map_or(usize::MAX, |limit| limit as usize));
        let query_info = [("rows".to_owned(), self.rows.into())].into_iter().collect();
        ObjectAggregationResponse { results, total_groups, query_info }
    }
}

fn holds(having: &HavingCondition, result: &AggregationResult) -> bool {
    let Some(value) = result.metrics.get(&having.field) else { return false };
    let order = order(value, &having.value);
    let is_comparable = rank(value) == rank(&having.value);
    match having.operator {
        HavingOperator::Eq => order.is_eq(),
        HavingOperator::Ne => order.is_ne(),
        HavingOperator::Gt => is_comparable && order.is_gt(),
        HavingOperator::Gte => is_comparable && order.is_ge(),
        HavingOperator::Lt => is_comparable && order.is_lt(),
        HavingOperator::Lte => is_comparable && order.is_le(),
    }
}

/// Values of different kinds in one order: nothing, false, true, numbers, text, the rest.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0)),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ if rank(a) != rank(b) => rank(a).cmp(&rank(b)),
        _ => a.to_string().cmp(&b.to_string()),
    }
}

const fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

fn grouped(value: &Value, how: &Grouping) -> Value {
    match how {
        Grouping::Value => value.clone(),
        Grouping::Trunc(unit) => instant(value)
            .and_then(|at| truncated(&at, *unit))
            .and_then(|at| Offset::UTC.to_timestamp(at).ok())
            .map_or(Value::Null, |at| at.to_string().into()),
        Grouping::Part(unit) => instant(value).map_or(Value::Null, |at| part(&at, *unit).into()),
        Grouping::Range(range) => in_range(value, range).into(),
    }
}

/// A time in UTC; a day is its beginning.
fn instant(value: &Value) -> Option<DateTime> {
    let text = value.as_str()?;
    let day = || text.parse::<Date>().ok().map(|day| day.to_datetime(Time::midnight()));
    text.parse::<Timestamp>().ok().map(|at| Offset::UTC.to_datetime(at)).or_else(day)
}

fn truncated(at: &DateTime, unit: DateTruncUnit) -> Option<DateTime> {
    let down = |unit| at.round(DateTimeRound::new().smallest(unit).mode(RoundMode::Trunc)).ok();
    let day = at.start_of_day();
    match unit {
        DateTruncUnit::Year => Some(day.first_of_year()),
        DateTruncUnit::Month => Some(day.first_of_month()),
        DateTruncUnit::Week => {
            day.checked_sub(i64::from(at.weekday().to_monday_zero_offset()).days()).ok()
        }
        DateTruncUnit::Day => Some(day),
        DateTruncUnit::Hour => down(Unit::Hour),
        DateTruncUnit::Minute => down(Unit::Minute),
        DateTruncUnit::Second => down(Unit::Second),
    }
}

fn part(at: &DateTime, unit: DatePartUnit) -> i64 {
    match unit {
        DatePartUnit::Year => at.year().into(),
        DatePartUnit::Month => at.month().into(),
        DatePartUnit::Week => at.date().iso_week_date().week().into(),
        DatePartUnit::Day => at.day().into(),
        DatePartUnit::DayOfWeek => at.weekday().to_sunday_one_offset().into(),
        DatePartUnit::DayOfYear => at.day_of_year().into(),
        DatePartUnit::Hour => at.hour().into(),
        DatePartUnit::Minute => at.minute().into(),
        DatePartUnit::Second => at.second().into(),
    }
}

/// The name of the range that a number is in: `<0`, `0-10`, `>10`.
fn in_range(value: &Value, range: &RangeBucket) -> String {
    let Some(number) = value.as_f64() else {
        return range.default_bucket.clone().unwrap_or_else(|| "other".to_owned());
    };
    let bounds = &range.boundaries;
    match bounds.iter().position(|bound| number <= *bound) {
        // The first boundary is the least value of the first range, where there is one.
        Some(0) if bounds.len() > 1 && number >= bounds[0] => {
            format!("{}-{}", bounds[0], bounds[1])
        }
        Some(0) => format!("<{}", bounds[0]),
        Some(at) => format!("{}-{}", bounds[at - 1], bounds[at]),
        None => format!(">{}", bounds[bounds.len() - 1]),
    }
}

/// Something that is being counted.
enum Metric {
    Count(u64),
    Distinct(HashMap<String, ()>),
    Sum { whole: i128, real: f64, is_whole: bool, count: u64, average: bool },
    Least(Option<Value>),
    Greatest(Option<Value>),
    First(Option<Value>),
    Last(Option<Value>),
    All(Vec<Value>),
    Each(Vec<Value>, HashMap<String, ()>),
}

impl Metric {
    fn new(function: AggregationFunction) -> Self {
        let sum = |average| Self::Sum { whole: 0, real: 0.0, is_whole: true, count: 0, average };
        match function {
            AggregationFunction::Count => Self::Count(0),
            AggregationFunction::CountDistinct => Self::Distinct(HashMap::new()),
            AggregationFunction::Sum => sum(false),
            AggregationFunction::Avg => sum(true),
            AggregationFunction::Min => Self::Least(None),
            AggregationFunction::Max => Self::Greatest(None),
            AggregationFunction::First => Self::First(None),
            AggregationFunction::Last => Self::Last(None),
            AggregationFunction::Push => Self::All(Vec::new()),
            AggregationFunction::AddToSet => Self::Each(Vec::new(), HashMap::new()),
        }
    }

    /// Takes a row's value; answers how many values more are kept for it.
    fn take(&mut self, value: &Value) -> usize {
        if value.is_null() {
            return 0;
        }
        match self {
            Self::Count(count) => *count += 1,
            Self::Distinct(seen) => {
                return usize::from(seen.insert(value.to_string(), ()).is_none());
            }
            Self::Sum { whole, real, is_whole, count, .. } => {
                let Value::Number(number) = value else { return 0 };
                *count += 1;
                *real += number.as_f64().unwrap_or(0.0);
                match number.as_i128() {
                    Some(number) => *whole = whole.saturating_add(number),
                    None => *is_whole = false,
                }
            }
            Self::Least(least) => {
                if least.as_ref().is_none_or(|least| order(value, least).is_lt()) {
                    *least = Some(value.clone());
                }
            }
            Self::Greatest(greatest) => {
                if greatest.as_ref().is_none_or(|greatest| order(value, greatest).is_gt()) {
                    *greatest = Some(value.clone());
                }
            }
            Self::First(first) => {
                first.get_or_insert_with(|| value.clone());
            }
            Self::Last(last) => *last = Some(value.clone()),
            Self::All(all) => {
                all.push(value.clone());
                return 1;
            }
            Self::Each(all, seen) => {
                if seen.insert(value.to_string(), ()).is_none() {
                    all.push(value.clone());
                    return 1;
                }
            }
        }
        0
    }

    fn finish(self) -> Value {
        let number = |real: f64| Number::from_f64(real).map_or(Value::Null, Value::Number);
        match self {
            Self::Count(count) => count.into(),
            Self::Distinct(seen) => seen.len().into(),
            Self::Sum { count: 0, average: true, .. } => Value::Null,
            Self::Sum { real, count, average: true, .. } => number(real / count as f64),
            Self::Sum { whole, real, is_whole, .. } => match i64::try_from(whole) {
                Ok(whole) if is_whole => whole.into(),
                _ => number(real),
            },
            Self::Least(value) | Self::Greatest(value) | Self::First(value) | Self::Last(value) => {
                value.unwrap_or_default()
            }
            Self::All(all) | Self::Each(all, _) => all.into(),
        }
    }
}
