//! The namespace of a request: `X-Namespace` or `?namespace=`, id or name; else the default one.

use axum::{extract::FromRequestParts, http::request::Parts};

use super::{App, error::ApiError, query};
use crate::{model::NamespaceId, store::namespaces};

/// The header that picks the namespace.
pub(super) const HEADER: &str = "x-namespace";

/// The namespace that a request is about.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Internal key.
    pub namespace_key: i64,
    /// Public id.
    pub id: NamespaceId,
    /// What it is called.
    pub name: String,
}

impl FromRequestParts<App> for Scope {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let header = parts.headers.get(HEADER);
        let wanted = match header {
            Some(value) => Some(String::from_utf8_lossy(value.as_bytes()).into_owned()),
            None => query::query_value(parts.uri.query().unwrap_or_default(), query::NAMESPACE),
        }
        .filter(|wanted| !wanted.is_empty());
        let name = wanted.clone();
        let found = app
            .engine
            .store
            .read(move |db| match name {
                Some(name) => namespaces::named(db, &name),
                None => namespaces::default(db).map(Some),
            })
            .await?;
        let namespace =
            found.ok_or_else(|| ApiError::not_found("namespace", wanted.unwrap_or_default()))?;
        Ok(Self { namespace_key: namespace.key, id: namespace.id, name: namespace.name })
    }
}
