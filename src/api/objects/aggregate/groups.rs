//! The groups, filled row by row, and the response that they become at the end.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    MAX_KEPT,
    keys::grouped,
    metric::{Metric, order, rank},
    plan::Plan,
    wire::{
        AggregationResult, HavingCondition, HavingOperator, ObjectAggregationRequest,
        ObjectAggregationResponse,
    },
};
use crate::api::buckets::SortDirection;

/// The groups, by the text of what makes them.
#[derive(Default)]
pub(super) struct Groups {
    places: HashMap<String, usize>,
    groups: Vec<(Vec<Value>, Vec<Metric>)>,
    /// Groups, and values collected in them.
    pub(super) kept: usize,
    rows: u64,
}

impl Groups {
    /// Counts a row that is there so many times; more than once only where [`Plan::only_counts`].
    pub(super) fn take(&mut self, plan: &Plan, row: &[Value], times: u64) {
        self.rows += times;
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
            self.kept += metric.take(column.map_or(&one, |column| &row[column]), times);
        }
    }

    /// The response.
    pub(super) fn finish(self, body: &ObjectAggregationRequest) -> ObjectAggregationResponse {
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
