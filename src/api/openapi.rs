//! The API's own description: `/openapi.json`, generated from the routes and their types.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use utoipa::{
    PartialSchema as _, ToSchema as _,
    openapi::{
        Components, Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
        Required, ResponseBuilder, Schema, SecurityRequirement,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
        tag::TagBuilder,
    },
};

use super::error::{ErrorDetail, ErrorResponse, FieldError};
use crate::sources;

/// What the routes are added to.
pub(super) fn frame() -> OpenApi {
    let mut components = Components::new();
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("The token of this installation; `catchment token` shows it."))
                .build(),
        ),
    );
    let tags = [
        ("health", "Whether the server and what it depends on work."),
        ("namespaces", "Drawers that keep buckets apart."),
        ("organization_connections", "How providers are reached."),
        ("sign_ins", "People sign in to a provider, and a connection comes of it."),
        ("buckets", "Sets of objects."),
        ("bucket_objects", "Records in a bucket, and their bytes."),
        ("bucket_uploads", "Bytes that are uploaded before their object exists."),
        ("overview", "Everything at a glance."),
        ("settings", "This installation."),
        ("bucket_syncs", "Syncs from a source to a bucket."),
        ("events", "What happens, as it happens."),
    ];
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Catchment")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(env!("CARGO_PKG_DESCRIPTION")))
                .license(Some(LicenseBuilder::new().name("Apache-2.0").build()))
                .build(),
        )
        .components(Some(components))
        .security(Some([SecurityRequirement::new("bearer", Vec::<String>::new())]))
        .tags(Some(
            tags.map(|(name, words)| TagBuilder::new().name(name).description(Some(words)).build()),
        ))
        .build()
}

/// Completes what the routes say by what holds for all of them: errors have one shape, and the
/// namespace can be picked.
pub(super) fn finish(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_default();
    components.schemas.insert(ErrorResponse::name().into_owned(), ErrorResponse::schema());
    components.schemas.insert(ErrorDetail::name().into_owned(), ErrorDetail::schema());
    components.schemas.insert(FieldError::name().into_owned(), FieldError::schema());
    for (name, schema) in sources::schemas() {
        match serde_json::from_value::<RefOr<Schema>>(schema) {
            Ok(schema) => drop(components.schemas.insert(name.to_owned(), schema)),
            Err(error) => tracing::error!(name, %error, "a schema is not one"),
        }
    }
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
            &mut item.head,
        ];
        for operation in operations.into_iter().flatten() {
            if let Some(RefOr::T(body)) = &mut operation.request_body
                && body.content.values().any(|content| may_be_empty(content, &components.schemas))
            {
                body.required = Some(Required::False);
            }
            let fails = ResponseBuilder::new()
                .description("What is wrong")
                .content(
                    "application/json",
                    Content::new(Some(Ref::from_schema_name(ErrorResponse::name()))),
                )
                .build();
            operation.responses.responses.insert("default".to_owned(), fails.into());
        }
    }
    document
}

/// Whether no body at all does as well as an object without fields.
fn may_be_empty(content: &RefOr<Content>, schemas: &BTreeMap<String, RefOr<Schema>>) -> bool {
    let RefOr::T(Content { schema: Some(RefOr::Ref(to)), .. }) = content else { return false };
    let name = to.ref_location.rsplit('/').next().unwrap_or_default();
    matches!(schemas.get(name), Some(RefOr::T(Schema::Object(object))) if object.required.is_empty())
}

/// Answers with the document.
pub(super) fn answer(json: Bytes) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
}
