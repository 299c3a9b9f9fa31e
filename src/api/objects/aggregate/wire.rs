//! Aggregations on the wire: requests and responses.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::buckets::SortDirection;

/// What to count.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct ObjectAggregationRequest {
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
    /// The direction; `desc` by default.
    pub sort_direction: Option<SortDirection>,
    /// The most groups to return.
    #[schema(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
}

/// What is to be counted of documents: without groups, all of them are one.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct DocumentAggregationRequest {
    /// What makes a group; nothing: all documents are one.
    #[schema(max_items = 16)]
    pub group_by: Option<Vec<GroupByField>>,
    /// What is counted in each.
    #[schema(min_items = 1, max_items = 32)]
    pub aggregations: Vec<AggregationOperation>,
    /// Only these documents.
    pub filters: Option<Map<String, Value>>,
    /// Only groups of which this holds.
    pub having: Option<Vec<HavingCondition>>,
    /// A list: each of its items counts as a document.
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

impl From<DocumentAggregationRequest> for ObjectAggregationRequest {
    fn from(body: DocumentAggregationRequest) -> Self {
        Self {
            group_by: body.group_by.unwrap_or_default(),
            aggregations: body.aggregations,
            filters: body.filters,
            having: body.having,
            unwind: body.unwind,
            range_buckets: body.range_buckets,
            sort_by: body.sort_by,
            sort_direction: body.sort_direction,
            limit: body.limit,
        }
    }
}

/// A field that makes a group.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct GroupByField {
    /// The field.
    pub field: String,
    /// Its name in the response.
    pub alias: Option<String>,
    /// A time cut down to this.
    pub date_trunc: Option<DateTruncUnit>,
    /// This part of a time.
    pub date_part: Option<DatePartUnit>,
}

/// What a time is cut down to, in UTC.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum DateTruncUnit {
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
pub(in crate::api) enum DatePartUnit {
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
pub(in crate::api) struct AggregationOperation {
    /// How.
    pub function: AggregationFunction,
    /// What; not needed to count objects.
    pub field: Option<String>,
    /// Its name in the response.
    #[schema(min_length = 1)]
    pub alias: String,
    /// What is counted once, if not `field`.
    pub distinct_field: Option<String>,
}

/// How to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum AggregationFunction {
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
pub(in crate::api) struct HavingCondition {
    /// The alias.
    pub field: String,
    /// The operator.
    pub operator: HavingOperator,
    /// To what.
    pub value: Value,
}

/// A relation.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum HavingOperator {
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
pub(in crate::api) struct RangeBucket {
    /// The field.
    pub field: String,
    /// Where one range ends and the next begins, ascending.
    #[schema(min_items = 1, max_items = 1000)]
    pub boundaries: Vec<f64>,
    /// The group of values that are not numbers; `other` by default.
    pub default_bucket: Option<String>,
}

/// What was counted.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ObjectAggregationResponse {
    /// The groups.
    pub results: Vec<AggregationResult>,
    /// How many there are, before `limit`.
    pub total_groups: u64,
    /// What was looked at.
    pub query_info: Map<String, Value>,
}

/// A group.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct AggregationResult {
    /// What makes it one.
    pub group: Map<String, Value>,
    /// What was counted in it.
    pub metrics: Map<String, Value>,
}
