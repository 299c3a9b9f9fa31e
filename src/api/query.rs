//! Query strings: parsed, and described for the API's document.
//!
//! What does not live here: checking them against their schema (`json`).

use percent_encoding::percent_decode_str;
use utoipa::{
    ToSchema,
    openapi::{
        RefOr, Required, Schema,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::AdditionalProperties,
    },
};

/// The query parameter that picks the namespace of any request.
pub(super) const NAMESPACE: &str = "namespace";

/// The parameters of a query string, decoded, in their order.
pub(super) fn parse(query: &str) -> impl Iterator<Item = (String, String)> {
    let decode =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// The last value of a query parameter.
pub(super) fn query_value(query: &str, wanted: &str) -> Option<String> {
    parse(query).filter(|(name, _)| name == wanted).last().map(|(_, value)| value)
}

/// The names of a query's parameters.
pub(super) fn query_names(query: &str) -> impl Iterator<Item = String> {
    parse(query).map(|(name, _)| name)
}

/// The parameters of a query type as the API's document lists them, made of its schema.
pub(super) fn parameters_of<T: ToSchema>() -> Vec<Parameter> {
    let RefOr::T(Schema::Object(object)) = T::schema() else { return Vec::new() };
    let parameter = |(name, schema): (String, RefOr<Schema>)| {
        let description = match &schema {
            RefOr::T(Schema::Object(object)) => object.description.clone(),
            _ => None,
        };
        let required =
            if object.required.contains(&name) { Required::True } else { Required::False };
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(required)
            .description(description)
            .schema(Some(schema))
            .build()
    };
    debug_assert!(
        matches!(
            object.additional_properties.as_deref(),
            Some(AdditionalProperties::FreeForm(false))
        ),
        "a query type must deny unknown fields"
    );
    object.properties.clone().into_iter().map(parameter).collect()
}

/// Lets a type that derives `ToSchema` be used in `params(…)` of `#[utoipa::path]`.
macro_rules! query_parameters {
    ($type:ty) => {
        impl utoipa::IntoParams for $type {
            fn into_params(
                _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                $crate::api::query::parameters_of::<Self>()
            }
        }
    };
}
pub(super) use query_parameters;
