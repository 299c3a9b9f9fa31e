// What the interface knows of the API: each response by its method and path, from the document that
// the built program serves (`openapi.d.ts`, which `npm run types` writes), and by hand where that
// document leaves a type open. None of it is shipped.
import type { components, paths } from "./openapi.js";

type Schemas = components["schemas"];
type With<T, Known> = Omit<T, keyof Known> & Known;

/** A path of the document as a template: `/v1/buckets/{bucket}` is `/v1/buckets/${string}`. */
type Template<P extends string> = P extends `${infer Head}{${string}}${infer Rest}` ? `${Head}${string}${Template<Rest>}` : P;
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

type Body<Responses> = Responses extends Record<200 | 202, { content: { "application/json": infer Json } }> ? Json
  : Responses extends { 200: { content: { "application/json": infer Json } } } ? Json : Responses extends { 202: { content: { "application/json": infer Json } } } ? Json : null;

type InDocument<Method extends string, Path extends string> = {
  [P in keyof paths & string]: Same<Template<P>, Path> extends true
    ? Method extends keyof paths[P] ? paths[P][Method] extends { responses: infer R } ? Body<R> : never : never : never;
}[keyof paths & string];

type ByHand<Method extends string, Path extends string> = {
  [P in keyof Known & string]: P extends `${Method} ${infer Of}` ? Same<Template<Of>, Path> extends true ? Known[P] : never : never;
}[keyof Known & string];

/** Responses whose types the document leaves open. */
interface Known {
  "get /v1/overview": Api.Overview;
  "get /v1/buckets/{b}/syncs/{s}": Api.Sync;
  "post /v1/buckets/{b}/syncs": Api.Sync;
  "patch /v1/buckets/{b}/syncs/{s}": Api.Sync;
  "post /v1/buckets/{b}/syncs/list": { results: Api.Sync[] };
  "post /v1/buckets/{b}/syncs/{s}/jobs": { results: Api.Job[]; total: number };
  "get /v1/buckets/{b}/syncs/{s}/jobs/{j}": Api.Job;
  "post /v1/buckets/{b}/syncs/preview": Api.Preview;
  "post /v1/syncs/preview": Api.Preview;
  "post /v1/buckets/{b}/objects/trash/list": Api.Trash;
  "get /v1/events/log": { results: Api.LiveEvent[]; next_before: number | null };
  "get /v1/organizations/connections/{c}": Api.Connection;
  "post /v1/organizations/connections": Api.Connection;
  "post /v1/organizations/connections/list": { results: Api.Connection[] };
  "get /v1/collections": { results: Api.Pipeline[] };
  "get /v1/collections/{c}": Api.Pipeline;
  "post /v1/collections": Api.Pipeline;
  "patch /v1/collections/{c}": Api.Pipeline;
  "get /v1/collections/features/extractors": { results: Api.Extractor[] };
  "post /v1/collections/try": Api.Tried;
  "post /v1/collections/{c}/trigger": { message: string };
  "post /v1/collections/{c}/documents/list": { results: Api.Document[]; pagination: Schemas["PaginationResponse"] };
  "post /v1/buckets/{b}/batches/list": { results: Api.Batch[] };
  "get /v1/buckets/{b}/batches/{t}/logs": { tiers: { logs: string }[] };
}

declare global {
  namespace Api {
    /** The body of a response; unknown of a path that no route has. */
    type Answer<Method extends string, Path extends string> =
      [ByHand<Method, Path>] extends [never] ? ([InDocument<Method, Path>] extends [never] ? unknown : InDocument<Method, Path>) : ByHand<Method, Path>;

    type Counts = { [name: string]: number | undefined };
    type Held = { count: number; of: number; sample: string[]; held_at: string; reason: string };
    type Notice = { code: string; message: string; until?: string | null };
    /** What a job has asked of its provider. */
    type Asked = { requests?: number; throttled_seconds?: number; warehouse_seconds?: number };
    type Job = With<Schemas["SyncJobModel"], { progress?: { counts?: Counts } | null; metadata?: { counts?: Counts } | null; details?: Asked | null }>;
    type Run = With<Schemas["RunSummary"], { counts: Counts }>;
    type Sync = With<Schemas["SyncConfigurationModel"], { held_removals?: Held | null; notices?: Notice[]; sync_checkpoints?: Record<string, Record<string, unknown>> | null }>;
    type SyncRow = With<Schemas["SyncSummary"], { held_removals?: Held | null; notices?: Notice[]; runs: Run[] }>;
    /** What a sync is by both. */
    type AnySync = Pick<SyncRow, "bucket_id" | "sync_config_id" | "source_path" | "status" | "paused" | "held_removals" | "notices" | "next_sync_at" | "dead_letters"> & { paused_by_failures?: boolean; paused_by_user_id?: string | null };
    type HeldSync = AnySync & { held_removals: Held };
    type Overview = With<Schemas["OverviewResponse"], { syncs: SyncRow[] }>;
    type Preview = With<Schemas["SyncPreviewResponse"], { counts: Counts }>;
    type Connection = With<Schemas["StorageConnectionModel"], { provider_config: Record<string, unknown> & { credentials?: { type?: string } } }>;
    type Bucket = Schemas["BucketResponse"];
    type Object_ = Schemas["ObjectResponse"];
    type Letter = Schemas["SyncDeadLetterObjectModel"];
    type Settings = Schemas["SettingsResponse"];
    type Trash = { results: (Object_ & { deleted_at: string; purge_at: string })[]; trash_count: number; trash_bytes: number };
    type Twin = Schemas["TwinModel"];
    type Leaf = Schemas["TreeObject"];
    type SignIn = Schemas["SignInModel"];
    type SignInStarted = Schemas["SignInStarted"];
    type Filters = Schemas["FileFilters"];
 
    /** What an event says, by its type. */
    type Detail = {
      count?: number; change?: string; status?: string; was?: string; paused?: boolean; reason?: string | null;
      is_active?: boolean; phase?: string; counts?: Counts; error?: string | null; run_ms?: number;
      resumed?: boolean; connection_id?: string; collection_id?: string; batch_id?: string; name?: string;
      objects?: number; extractor?: string; message?: string;
    };
    /** An event of the stream or the log, or the progress of a job. */
    type LiveEvent = {
      type: string; event_id?: number; created_at?: string; bucket_id?: string | null;
      sync_config_id?: string | null; sync_job_id?: string | null; detail?: Detail; phase?: string;
      counts?: Counts; entries_found?: number | null; bytes_found?: number | null;
      bytes_received?: number | null; bytes_per_second?: number | null; eta_seconds?: number | null;
      in_flight?: { path: string }[] | null; attempt?: number; next_try_at?: string | null; reason?: string | null;
    };

    type Conditions = { AND: { field: string; operator: string; value: unknown }[] };
    type ExtractorSettings = {
      feature_extractor_name: string; version: string; parameters?: Record<string, unknown> | null;
      include_all_source_fields?: boolean; field_passthrough?: { source_path: string; target_path?: string | null }[];
    };
    type Pipeline = {
      collection_id: string; collection_name: string; description: string | null; enabled: boolean;
      disabled_reason: { message?: string } | null; document_count: number; waiting: number; failed: number;
      outdated: number; paused_reason: string | null; feature_extractor: ExtractorSettings; warnings: string[];
      updated_at: string;
      source: {
        type: string; bucket_ids: string[] | null; collection_ids: string[] | null;
        inherited_bucket_ids: string[] | null; source_filters: { filters: Conditions } | null;
      };
    };
    /** JSON Schema, as far as parameters of extractors use it. */
    type Schema = {
      type?: string | string[]; enum?: unknown[]; const?: unknown; description?: string; default?: unknown;
      minimum?: number; maximum?: number; items?: Schema; properties?: Record<string, Schema>;
    };
    type Extractor = {
      feature_extractor_name: string; version: string; description: string; source: string; accepts: string[];
      parameter_schema: Schema; not_confined: string[]; network: boolean;
    };
    type Batch = {
      batch_id: string; bucket_id: string; status: string; object_count: number; failed_object_count: number;
      documents_written: number; created_at: string; completed_at: string | null; status_message: string | null;
      error: string | null; lifecycle_reason: string | null;
      progress: { percent: number; eta_seconds: number | null; queue_position: number | null };
    };
    type FailedInPipeline = Schemas["FailedObjectOfCollection"];
    type Tried = {
      results: {
        object_id: string; key_prefix: string; error: string | null; documents: Record<string, unknown>[];
        duration_ms: number; memory_bytes: number | null; log: string | null;
      }[];
    };
    type Document = {
      document_id: string; root_object?: { object_id: string; bucket_id: string; key_prefix: string; mime_type: string | null } | null;
      document_blobs: { field: string; url: string; type: string }[]; _internal: { part: number | null };
      [field: string]: unknown;
    };
  }
}
