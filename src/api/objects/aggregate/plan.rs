//! What a request asks to count: which columns are read, and what is done with each.

use serde_json::json;

use super::wire::{
    AggregationFunction, DatePartUnit, DateTruncUnit, ObjectAggregationRequest, RangeBucket,
};
use crate::{
    api::{
        buckets::field_error,
        error::{ApiError, FieldError},
    },
    model::FieldPath,
};

/// Which columns are read, and what is done with each.
pub(super) struct Plan {
    pub(super) columns: Vec<FieldPath>,
    pub(super) unwind: Option<FieldPath>,
    pub(super) groups: Vec<(usize, Grouping)>,
    pub(super) metrics: Vec<(AggregationFunction, Option<usize>)>,
}

/// What makes a group of a value.
pub(super) enum Grouping {
    Value,
    Trunc(DateTruncUnit),
    Part(DatePartUnit),
    Range(RangeBucket),
}

impl Plan {
    /// Whether equal rows may be taken together: nothing is asked of them but what their groups
    /// are, and how many there are.
    pub(super) fn only_counts(&self) -> bool {
        let is_grouped = |column: usize| self.groups.iter().any(|(grouped, _)| *grouped == column);
        self.unwind.is_none()
            && self.metrics.iter().all(|(function, column)| {
                *function == AggregationFunction::Count && column.is_none_or(is_grouped)
            })
    }

    /// What a request asks for.
    ///
    /// # Errors
    /// 422 with everything in it that cannot be.
    pub(super) fn new(body: &ObjectAggregationRequest) -> Result<Self, ApiError> {
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
                wrong.push(FieldError { field: place, ..field_error(problem) });
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
                            "cannot be combined with date_trunc",
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
                        "is not an alias",
                    )
                    .accepting(aliases.clone()),
                );
            }
        }
        let unwind = body.unwind.as_deref().map(FieldPath::parse).transpose();
        let unwind = unwind.unwrap_or_else(|problem| {
            misplaced.push(FieldError { field: "unwind".to_owned(), ..field_error(problem) });
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
