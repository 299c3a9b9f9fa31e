//! Settings of a hosted platform's namespaces: machines, callers and costs. Here they are
//! is stored and returned unchanged, in the public API's names; nothing acts on it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Machines of its own.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespaceInfrastructure {
    /// Which cluster.
    pub ray_cluster_id: Option<String>,
    /// Where that is watched.
    pub ray_dashboard_url: Option<String>,
    /// Where its vectors are.
    pub s3_vector_bucket: Option<String>,
    /// Jobs at once.
    #[schema(minimum = 1, maximum = 1000)]
    pub max_concurrent_jobs: Option<u32>,
    /// Whether machines come and go.
    pub autoscaling_enabled: Option<bool>,
    /// Machines at least.
    #[schema(minimum = 0, maximum = 100)]
    pub min_workers: Option<u32>,
    /// Machines at most.
    #[schema(minimum = 1, maximum = 100)]
    pub max_workers: Option<u32>,
    /// Graphics cards of this kind.
    pub gpu_type: Option<String>,
    /// Of them in a machine.
    #[schema(minimum = 0, maximum = 8)]
    pub gpus_per_worker: Option<u32>,
    /// Named kinds of machines.
    pub compute_profiles: Option<Map<String, Value>>,
    /// Where its plugins are.
    pub s3_plugin_bucket: Option<String>,
    /// Below which prefix.
    pub s3_plugin_prefix: Option<String>,
    /// Plugins at most.
    #[schema(minimum = 0, maximum = 100)]
    pub max_custom_plugins: Option<u32>,
    /// Models at most.
    #[schema(minimum = 0, maximum = 50)]
    pub max_custom_models: Option<u32>,
    /// Who may do what.
    pub authorization: Option<Map<String, Value>>,
}

/// Somebody whose tokens let callers in.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespaceTrustedIssuer {
    /// Who.
    #[schema(min_length = 1)]
    pub issuer: String,
    /// Where the keys are.
    #[schema(min_length = 1)]
    pub jwks_url: Option<String>,
    /// The keys.
    pub jwks: Option<Map<String, Value>>,
    /// For whom a token must be.
    pub audience: Option<Vec<String>>,
    /// How it may be signed.
    pub algorithms: Option<Vec<String>>,
    /// Which claim names the caller.
    #[schema(min_length = 1)]
    pub principal_claim: Option<String>,
    /// The prefix of that name.
    #[schema(max_length = 64)]
    pub principal_prefix: Option<String>,
    /// Claims that become filters.
    pub claim_filters: Option<Vec<Map<String, Value>>>,
    /// What may be searched by.
    pub retrievers: Option<Vec<String>>,
    /// What may be read.
    pub collections: Option<Vec<String>>,
    /// What may be written by its owner.
    pub owner_writable_collections: Option<Vec<String>>,
    /// From which pages.
    pub allowed_origins: Option<Vec<String>>,
    /// Claims that name groups.
    pub group_claims: Option<Vec<Map<String, Value>>>,
    /// The claim that makes an administrator.
    pub admin_claim: Option<Map<String, Value>>,
    /// Whether it counts.
    pub enabled: Option<bool>,
}

/// What a day may cost.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespaceCostCapOverride {
    /// US dollars; null: as much as it takes.
    #[schema(minimum = 0.0)]
    pub daily_usd: Option<f64>,
    /// Why.
    #[schema(min_length = 10, max_length = 500)]
    pub reason: String,
    /// Who is responsible for it.
    #[schema(min_length = 3, max_length = 200)]
    pub owner: String,
    /// Until when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Who said so.
    pub set_by: Option<String>,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub set_at: Option<Timestamp>,
}
