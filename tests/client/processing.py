"""Processing, walked by the public client as it comes from PyPI, unmodified: every operation on
collections, batches, tasks, documents, analytics and webhooks.

Reads one JSON line from standard input: {"server": URL, "token": S, "folder": PATH, "requests":
PATH}. The folder has `a.txt`, `b.txt` and `rows.jsonl`; the last is the list of all that the client
can send. Every answer is parsed by the client's own models; an assertion says what must be in them.
It fails if anything of that list was never sent. The word `done` is the end.
"""

import json
import pathlib
import sys
import time

import mixpeek
from mixpeek.api.analytics_buckets_api import AnalyticsBucketsApi
from mixpeek.api.bucket_batches_api import BucketBatchesApi
from mixpeek.api.bucket_objects_api import BucketObjectsApi
from mixpeek.api.bucket_syncs_api import BucketSyncsApi
from mixpeek.api.buckets_api import BucketsApi
from mixpeek.api.collection_documents_api import CollectionDocumentsApi
from mixpeek.api.collections_api import CollectionsApi
from mixpeek.api.tasks_api import TasksApi
from mixpeek.api.webhooks_api import WebhooksApi
from mixpeek.exceptions import ApiException

from recorder import Recorder

DEADLINE = 90.0

#: What there is none of here, by operation and field, with what an error says of it.
OF_COLLECTIONS = {
    field: field for field in (
        "taxonomy_applications", "cluster_applications", "alert_applications", "retriever_enrichments")}
OF_WEBHOOKS = {
    **{f"channels[].configs.{field}": field for field in ("payload_template", "blocks_template")},
    **{f"channels[].configs.{field}": "channels[0].channel" for field in (
        "to_addresses", "subject_template", "body_template", "content_type", "cc_addresses", "bcc_addresses")}}
REFUSED = {
    "POST /v1/collections": {
        **OF_COLLECTIONS, "retriever_transform": "retriever_transform", "embedding_task": "embedding_task"},
    "PATCH /v1/collections/{collection_identifier}": OF_COLLECTIONS,
    "POST /v1/collections/{collection_identifier}/trigger": {"reembed": "reembed"},
    "GET /v1/collections/{collection_identifier}/documents/{document_id}/download": {"": "has no clip"},
    "POST /v1/organizations/webhooks": OF_WEBHOOKS,
    "PUT /v1/organizations/webhooks/{identifier}": OF_WEBHOOKS,
}

given = json.loads(sys.stdin.readline())
config = mixpeek.Configuration(host=given["server"], access_token=given["token"])
config.api_key["NamespaceHeader"] = "default"
client = mixpeek.ApiClient(config)
recorder = Recorder(client)
buckets = BucketsApi(client)
objects = BucketObjectsApi(client)
syncs = BucketSyncsApi(client)
collections = CollectionsApi(client)
batches = BucketBatchesApi(client)
tasks = TasksApi(client)
documents = CollectionDocumentsApi(client)
analytics = AnalyticsBucketsApi(client)
webhooks = WebhooksApi(client)

Extractor = mixpeek.SharedCollectionFeaturesExtractorsModelsFeatureExtractorConfigInput


def only(field: str, value):
    """A filter, as the client's models can be made to hold one."""
    return mixpeek.LogicalOperatorInput.from_dict(
        {"AND": [{"field": field, "operator": "eq", "value": value}]})


def until(what: str, ask):
    deadline = time.monotonic() + DEADLINE
    while True:
        if answer := ask():
            return answer
        assert time.monotonic() < deadline, f"waited {DEADLINE} s for {what}"
        time.sleep(0.05)


def refused(status: int, call) -> str:
    try:
        call()
    except ApiException as error:
        assert error.status == status, error
        return error.body
    raise AssertionError(f"was not refused with {status}")


def every_way_of_paging(pages, identity):
    """Each parameter of paging leads to the same two rows, one after the other."""
    both = [identity(row) for row in pages(limit=2).results]
    assert len(both) == 2, both
    first = pages(page_size=1, include_total=True)
    assert [identity(row) for row in first.results] == both[:1], first
    pagination = first.pagination
    assert pagination.total >= 2 and pagination.next_cursor, first
    behind = [{name: pagination.next_cursor} for name in ("cursor", "next_cursor", "after")]
    for way in ({"offset": 1}, {"page": 2}, *behind):
        assert [identity(row) for row in pages(limit=1, **way).results] == both[1:], way


def finished(bucket: str, batch: str):
    over = ("COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "CANCELED")

    def ask():
        found = batches.get_batch_buckets_batches(bucket, batch)
        return found if found.status in over else None

    return until("the end of a batch", ask)


def balanced(batch) -> None:
    for tier in batch.tier_tasks:
        audit = tier.audit
        assert audit.submitted == audit.processed + audit.failed + audit.skipped, audit
        assert audit.balanced and audit.lost == 0, audit


def collection(name: str, bucket: str, extractor: str, **more):
    passthrough = more.pop("passthrough", None)
    parameters = more.pop("parameters", None)
    source = more.pop("source", None) or {"type": "bucket", "bucket_ids": [bucket]}
    request = {
        "collection_name": name,
        "source": source,
        "feature_extractor": {
            "feature_extractor_name": extractor,
            "version": "v1",
            "parameters": parameters,
            "field_passthrough": passthrough,
        },
        **more,
    }
    made = collections.create_collection(mixpeek.CreateCollectionRequest.from_dict(request))
    assert made.feature_extractor.feature_extractor_id == f"{extractor}_v1", made
    return made


def collecting(bucket: str) -> str:
    facts = collection(
        "facts", bucket, "file_facts",
        passthrough=[{"source_path": "key_prefix", "target_path": "path"}],
        description="what files say", metadata={"made": "by the client"}, enabled=True,
        source={"type": "bucket", "bucket_ids": [bucket], "source_filters": {"filters": {
            "AND": [{"field": "key_prefix", "operator": "ends_with", "value": ".txt"}]}}},
        schedule={
            "trigger_type": "interval", "schedule_config": {"interval_seconds": 3600},
            "description": "every hour"},
    ).collection_id
    answer = refused(422, lambda: collection("cloud", bucket, "multimodal_extractor"))
    assert "file_facts" in answer, answer
    refused(409, lambda: collection("facts", bucket, "file_facts"))
    found = collections.get_collection("facts")
    assert found.collection_id == facts and found.document_count == 0, found
    assert found.source.source_filters.filters.var_and, found.source
    assert found.output_schema.properties["mime_type"], found.output_schema
    changed = collections.update_collection(facts, {"description": "changed", "schedule": None})
    assert changed.description == "changed" and changed.schedule is None, changed
    listed = collections.list_collections(
        list_collections_request=mixpeek.ListCollectionsRequest(
            search="FACT", sort=mixpeek.SortOption(field="collection_name"), limit=10)
    )
    assert [row.collection_id for row in listed.results] == [facts], listed
    assert listed.total_count == 1 and listed.stats.total_documents == 0, listed
    assert collections.list_collections_get(search="nothing", limit=5).results == []
    return facts


def syncing(bucket: str, facts: str):
    sync = syncs.create_sync_configuration_buckets(
        bucket,
        mixpeek.SyncCreateRequest(
            connection_id="conn_local", source_path=given["folder"], sync_mode="initial_only"),
    ).sync_config_id

    def made():
        found = syncs.get_sync_configuration_buckets_id_config(bucket, sync)
        return found if found.batches_created else None

    found = until("a batch of a sync", made)
    assert len(found.batch_ids) == found.batches_created == 1, found
    assert found.task_ids[0].startswith("task_"), found
    batch = finished(bucket, found.batch_ids[0])
    assert batch.status == "COMPLETED" and batch.documents_resolvable, batch
    assert len(batch.object_ids) == 3 and batch.documents_written == 2, batch
    assert batch.progress.objects_skipped == 1, batch.progress
    balanced(batch)
    task = tasks.get_task(found.task_ids[0])
    assert task.status == "COMPLETED", task
    assert task.task_type == "api_buckets_batches_process", task
    assert collections.get_collection(facts).document_count == 2
    listed = batches.list_batches_buckets(bucket, mixpeek.ListBatchesRequest(collection_id=facts))
    assert [row.batch_id for row in listed.results] == [batch.batch_id], listed


def reading(facts: str):
    listed = documents.list_documents(
        facts,
        list_documents_request=mixpeek.ListDocumentsRequest(
            filters=only("path", "a.txt"),
            include_total=True, return_presigned_urls=True, limit=10),
    )
    (one,) = listed.results
    assert listed.total_documents == 1, listed
    assert one.collection_id == facts, one
    assert one.additional_properties["mime_type"] == "text/plain", one
    found = documents.get_document(facts, one.document_id, expand="root_object")
    assert found.additional_properties["size_bytes"] == 5, found
    by_word = documents.list_documents(
        facts, list_documents_request=mixpeek.ListDocumentsRequest(search="b txt"))
    assert [row.additional_properties["path"] for row in by_word.results] == ["b.txt"], by_word
    first = documents.list_documents(
        facts, limit=1, list_documents_request=mixpeek.ListDocumentsRequest(
            sort=mixpeek.SortOption(field="path"), limit=1, select=["path"]))
    second = documents.list_documents(
        facts, list_documents_request=mixpeek.ListDocumentsRequest(
            sort=mixpeek.SortOption(field="path"), limit=1,
            cursor=first.pagination.next_cursor))
    paths = [page.results[0].additional_properties["path"] for page in (first, second)]
    assert paths == ["a.txt", "b.txt"], paths
    parts = [
        documents.list_documents(facts, list_documents_request=mixpeek.ListDocumentsRequest(
            partition=mixpeek.ListPartition(index=index, count=2))).results
        for index in range(2)
    ]
    assert sum(len(part) for part in parts) == 2, parts
    groups = documents.list_documents(
        facts, list_documents_request=mixpeek.ListDocumentsRequest(group_by="mime_type")).groups
    assert groups[0].group_key == "text/plain" and groups[0].count == 2, groups
    assert documents.count_documents(facts).count == 2
    distinct = documents.distinct_document_values(
        facts, mixpeek.DistinctValuesRequest(field="mime_type"))
    assert distinct.total_distinct == 1 and distinct.values[0].count == 2, distinct
    counted = documents.aggregate_documents(
        facts,
        mixpeek.DocumentAggregationRequest(
            group_by=[mixpeek.GroupByField(field="mime_type")],
            aggregations=[mixpeek.AggregationOperation(
                function="sum", field="size_bytes", alias="bytes")],
        ),
    )
    assert counted.results[0].metrics["bytes"] == 11, counted
    return one.document_id


def writing(facts: str, document: str):
    changed = documents.patch_document(facts, document, {"metadata": {"rated": 5, "note": "x"}})
    assert changed.additional_properties["rated"] == 5, changed
    changed = documents.update_document(facts, document, {"metadata": {"note": None}})
    assert changed.additional_properties["rated"] == 5, changed
    assert "note" not in changed.additional_properties, changed
    made = documents.create_document(
        facts,
        mixpeek.DocumentCreateRequest(
            metadata={"by": "hand", "colour": "red"}, vectors={"v": [1.0, 0.5]}),
    )
    read = documents.list_documents(
        facts, list_documents_request=mixpeek.ListDocumentsRequest(
            filters=only("by", "hand"),
            return_vectors=True))
    assert len(read.results) == 1, read
    many = documents.batch_update(facts, mixpeek.BatchUpdateDocumentsRequest(updates=[
        {"document_id": made.document_id, "update_data": {"colour": "blue"}},
        {"document_id": "doc_none", "update_data": {"colour": "blue"}},
    ]))
    assert (many.updated_count, many.failed_count) == (1, 1), many
    bulk = documents.bulk_update(facts, mixpeek.BulkUpdateDocumentsRequest(
        update_data={"seen": True}))
    assert bulk.updated_count == 3, bulk
    refused(422, lambda: documents.download_document_media(facts, made.document_id))
    gone = documents.batch_delete(facts, mixpeek.BatchDeleteDocumentsRequest(
        document_ids=[made.document_id, "doc_none"]))
    assert (gone.deleted_count, gone.failed_count) == (1, 1), gone
    refused(404, lambda: documents.get_document(facts, made.document_id))


def ordering(bucket: str, facts: str, document: str):
    rows = objects.list_objects_buckets(bucket, limit=10).results
    ids = {row.key_prefix: row.object_id for row in rows}
    draft = batches.create_batch_buckets_batches(bucket, mixpeek.CreateBatchRequest(
        object_ids=[ids["a.txt"]], collection_ids=[facts], batch_name="by hand",
        dedup_strategy="replace", metadata={"source": "a test"}))
    assert draft.status == "DRAFT" and draft.batch_name == "by hand", draft
    more = batches.add_objects_to_batch_buckets_batches(
        bucket, draft.batch_id, mixpeek.AddObjectsToBatchRequest(object_ids=[ids["b.txt"]]))
    assert len(more.object_ids) == 2, more
    refused(422, lambda: batches.add_objects_to_batch_buckets_batches(
        bucket, draft.batch_id, mixpeek.AddObjectsToBatchRequest(object_ids=["obj_none"])))
    patched = batches.patch_batch_buckets_batches(
        bucket, draft.batch_id, mixpeek.PatchBatchRequest(metadata={"notes": "kept"}))
    assert patched.metadata.notes == "kept", patched
    assert batches.submit_batch_buckets_batches(bucket, draft.batch_id).task_id
    batch = finished(bucket, draft.batch_id)
    assert batch.status == "COMPLETED" and batch.documents_replaced == 2, batch
    balanced(batch)
    kept = documents.get_document(facts, document)
    assert kept.additional_properties["rated"] == 5, "an edit is lost"
    refused(409, lambda: batches.cancel_batch_buckets_batches(bucket, draft.batch_id))
    assert batches.get_failed_documents_buckets_batches_batch(bucket, draft.batch_id)["total"] == 0
    assert batches.get_batch_logs_buckets_batches(bucket, draft.batch_id)["tiers"]
    assert batches.diagnose_batch_buckets_batches(bucket, draft.batch_id)["counts"]["processed"] == 2
    retried = batches.retry_batch_buckets_batches(
        bucket, draft.batch_id, mixpeek.RetryBatchRequest(retry_mode="all"))
    assert retried["retried_count"] == 0, retried
    rerun = batches.resubmit_batch_buckets_batches(bucket, draft.batch_id)
    assert rerun["auto_submitted"] is True, rerun
    assert finished(bucket, draft.batch_id).status == "COMPLETED"
    dropped = batches.delete_batch_documents_buckets_batches(bucket, draft.batch_id)
    assert dropped["deleted_count"] == 2, dropped
    assert documents.count_documents(facts).count == 0
    triggered = collections.trigger_collection(facts, mixpeek.TriggerCollectionRequest())
    assert triggered.object_count == 3 and triggered.batch_id, triggered
    assert finished(bucket, triggered.batch_id).status == "COMPLETED"
    assert documents.count_documents(facts).count == 2
    until("the end of a trigger", lambda: tasks.get_task(triggered.task_id).status == "COMPLETED")
    listed = tasks.list_tasks(list_tasks_request=mixpeek.ListTasksRequest(task_type="api_collections_trigger"))
    assert triggered.task_id in [row.task_id for row in listed.results], listed
    bulk = batches.bulk_submit_batches_buckets(
        bucket, mixpeek.BulkSubmitBatchesRequest(chunk_size=2))
    assert (bulk.total_objects, bulk.total_batches) == (3, 2), bulk
    for row in bulk.batches:
        assert finished(bucket, row.batch_id).status == "COMPLETED"
    other = batches.create_batch_buckets_batches(
        bucket, mixpeek.CreateBatchRequest(filters=only("key_prefix", "a.txt")))
    assert batches.submit_all_drafts_buckets_batches(bucket)["submitted"] == 1
    assert finished(bucket, other.batch_id).status == "COMPLETED"
    stopped = batches.create_batch_buckets_batches(
        bucket, mixpeek.CreateBatchRequest(object_ids=[ids["a.txt"]]))
    assert batches.cancel_batch_buckets_batches(bucket, stopped.batch_id, reason="a test").status \
        == "CANCELED"
    assert batches.delete_batch_buckets_batches(bucket, stopped.batch_id).success
    refused(404, lambda: batches.get_batch_buckets_batches(bucket, stopped.batch_id))
    assert tasks.kill_task("task_none").success


def rows_and_tiers(bucket: str, facts: str):
    rows = collection(
        "rows", bucket, "passthrough_extractor",
        parameters={"extractor_type": "passthrough_extractor", "vector_fields": [
            {"field": "v", "name": "mine", "dimensions": 2}]},
        source={"type": "bucket", "bucket_ids": [bucket], "source_filters": {"filters": {
            "AND": [{"field": "key_prefix", "operator": "eq", "value": "rows.jsonl"}]}}},
    ).collection_id
    below = collection(
        "below", bucket, "passthrough_extractor",
        source={"type": "collection", "collection_ids": [rows]}).collection_id
    lowest = collection(
        "lowest", bucket, "passthrough_extractor",
        source={"type": "collection", "collection_id": rows}).collection_id
    collections.delete_collection(lowest)
    triggered = collections.trigger_collection(rows, mixpeek.TriggerCollectionRequest())
    assert triggered.total_tiers == 2, triggered
    batch = finished(bucket, triggered.batch_id)
    assert batch.status == "COMPLETED" and len(batch.tier_tasks) == 2, batch
    balanced(batch)
    assert documents.count_documents(rows).count == 2
    assert documents.count_documents(below).count == 2
    (row,) = (it for it in objects.list_objects_buckets(bucket).results if it.key_prefix == "rows.jsonl")
    again = collections.trigger_collection(below, mixpeek.TriggerCollectionRequest(
        include_collections=[rows], object_ids=[row.object_id], dedup_strategy="replace"))
    assert again.object_count == 1, again
    assert finished(bucket, again.batch_id).documents_replaced == 2
    colours = documents.distinct_document_values(below, mixpeek.DistinctValuesRequest(
        field="colour", filters={"colour": ["red", "blue"]}, limit=10))
    assert sorted(row.value for row in colours.values) == ["blue", "red"], colours
    collections.delete_collection(rows)
    found = collections.get_collection(below)
    assert not found.enabled, found
    assert found.disabled_reason.code == "source_collection_deleted", found


def fields_of_sources(bucket: str):
    other = buckets.create_bucket(mixpeek.BucketCreateRequest(
        bucket_name="other", bucket_schema=mixpeek.BucketSchemaInput(properties={}))).bucket_id
    merged = collection(
        "merged", bucket, "passthrough_extractor",
        source={"type": "bucket", "bucket_ids": [bucket, other], "field_map": {
            other: [{"source_path": "title", "target_path": "name", "required": True}]}})
    assert merged.source.field_map[other][0].target_path == "name", merged.source
    made = objects.create_object_buckets(
        other, mixpeek.CreateObjectRequest.from_dict(
            {"key_prefix": "one", "blobs": [], "title": "Emma", "year": 1815}), auto_process=True)
    assert made.object_id, made
    several = objects.create_objects_batch_buckets(
        other, mixpeek.CreateObjectsBatchRequest.from_dict(
            {"objects": [{"key_prefix": "two", "blobs": [], "title": "Persuasion"}]}),
        auto_process=True)
    assert several.succeeded_count == 1, several
    until("documents of new objects",
          lambda: documents.count_documents(merged.collection_id).count == 2)
    rows = documents.list_documents(
        merged.collection_id,
        list_documents_request=mixpeek.ListDocumentsRequest(limit=10)).results
    names = sorted(row.additional_properties["name"] for row in rows)
    assert names == ["Emma", "Persuasion"], rows
    assert all("year" not in row.additional_properties for row in rows), rows


def looking_back(bucket: str):
    health = analytics.get_bucket_health_analytics(bucket, hours=24)
    assert health.overall_health == "healthy" and health.sync_health, health
    assert analytics.get_namespace_buckets_health_analytics(hours=1).buckets == []
    (sync,) = syncs.list_sync_configurations_buckets(bucket).results
    runs = analytics.get_sync_performance_analytics_buckets(
        bucket, hours=24, limit=10, sync_config_id=sync.sync_config_id)
    assert runs.runs[0].files_synced == 3, runs
    compared = analytics.get_sync_comparison_analytics_buckets(bucket, hours=24)
    assert compared.configs[0].total_files_synced == 3, compared
    storage = until("an hour of history", lambda: (
        found := analytics.get_bucket_storage_analytics(bucket, group_by="hour")
    ).metrics and found)
    assert storage.summary["object_count"] == 3, storage
    assert analytics.get_bucket_usage_analytics(bucket).total_credits == 0
    assert analytics.get_upload_performance_analytics_buckets(bucket, hours=1).metrics == []


def nested(**filters):
    return mixpeek.LogicalOperatorInput.from_dict({
        "AND": [{"field": "key_prefix", "operator": "ends_with", "value": ".TXT"}],
        "OR": [{"field": "key_prefix", "operator": "eq", "value": "a.txt"}],
        "NOT": [{"field": "key_prefix", "operator": "eq", "value": "b.txt"}],
        "case_sensitive": False, **filters})


def every_field_of_batches(bucket: str, facts: str):
    rows = objects.list_objects_buckets(bucket, limit=10).results
    ids = {row.key_prefix: row.object_id for row in rows}
    made = batches.create_batch_buckets_batches(
        bucket,
        mixpeek.CreateBatchRequest(
            filters=nested(), collection_ids=[facts], limit=1, auto_submit=False,
            trigger_processing=False,
            metadata={"campaign_id": "c", "tags": ["x"], "source": "s", "notes": "n"}),
        skip_validation=True, auto_submit=False, trigger_processing=False)
    assert (len(made.object_ids), made.status) == (1, "DRAFT"), made
    assert (made.metadata.campaign_id, made.metadata.tags) == ("c", ["x"]), made.metadata
    more = batches.add_objects_to_batch_buckets_batches(
        bucket, made.batch_id, mixpeek.AddObjectsToBatchRequest(object_ids=["obj_none"]),
        skip_validation=True)
    assert more.batch_id == made.batch_id, more
    patched = batches.patch_batch_buckets_batches(
        bucket, made.batch_id,
        mixpeek.PatchBatchRequest(metadata={"campaign_id": "d", "tags": ["y"], "source": "t"}))
    assert patched.metadata.source == "t", patched.metadata
    assert (patched.metadata.campaign_id, patched.metadata.tags) == ("d", ["y"]), patched
    submitted = batches.submit_batch_buckets_batches(
        bucket, made.batch_id, force=True,
        submit_batch_request=mixpeek.SubmitBatchRequest(
            collection_ids=[facts], include_processing_history=True,
            webhook_url="http://127.0.0.1:9/ended"))
    assert submitted.task_id, submitted
    assert finished(bucket, made.batch_id).status == "COMPLETED"
    logs = batches.get_batch_logs_buckets_batches(bucket, made.batch_id, tier_num=0)
    assert [tier["tier_num"] for tier in logs["tiers"]] == [0], logs
    assert batches.get_batch_logs_buckets_batches(bucket, made.batch_id, tier_num=7)["tiers"] == []
    failed = batches.get_failed_documents_buckets_batches_batch(
        bucket, made.batch_id, tier_num=0, collection_id=facts, limit=5, offset=5)
    assert (failed["limit"], failed["offset"], failed["results"]) == (5, 5, []), failed
    retried = batches.retry_batch_buckets_batches(
        bucket, made.batch_id,
        mixpeek.RetryBatchRequest(retry_mode="all", tier_nums=[0], max_retry_count=5))
    assert retried["tier_nums"] == [0] and retried["retried_count"] == 0, retried
    again = batches.resubmit_batch_buckets_batches(
        bucket, made.batch_id, from_tier=0, auto_submit=False,
        request_body={
            "collection_ids": [facts], "dedup_strategy": "replace", "from_tier": 0,
            "auto_submit": False, "include_processing_history": True,
            "webhook_url": "http://127.0.0.1:9/ended"})
    assert again["status"] == "DRAFT" and not again["auto_submitted"], again
    assert batches.submit_batch_buckets_batches(bucket, made.batch_id).task_id
    assert finished(bucket, made.batch_id).documents_replaced == 1
    again = batches.resubmit_batch_buckets_batches(bucket, made.batch_id, trigger_processing=True)
    assert again["auto_submitted"], again
    assert finished(bucket, made.batch_id).status == "COMPLETED"
    refused(422, lambda: batches.resubmit_batch_buckets_batches(bucket, made.batch_id, from_tier=9))
    bulk = batches.bulk_submit_batches_buckets(bucket, mixpeek.BulkSubmitBatchesRequest(
        filters=nested(), max_objects=1, collection_ids=[facts], dedup_strategy="skip"))
    assert (bulk.total_objects, bulk.total_batches) == (1, 1), bulk
    assert finished(bucket, bulk.batches[0].batch_id).status == "COMPLETED"
    at_once = batches.create_batch_buckets_batches(
        bucket, mixpeek.CreateBatchRequest(object_ids=[ids["a.txt"]]), auto_submit=True)
    assert finished(bucket, at_once.batch_id).status == "COMPLETED"
    some = batches.list_batches_buckets(bucket, mixpeek.ListBatchesRequest(
        status="COMPLETED", collection_id=facts, limit=1, offset=1))
    assert len(some.results) == 1, some
    of_bucket = {"bucket_id": bucket, "namespace_id": "default", "limit": 1}
    first = batches.list_batches_buckets(bucket, mixpeek.ListBatchesRequest(**of_bucket))
    second = batches.list_batches_buckets(bucket, mixpeek.ListBatchesRequest(
        **of_bucket, cursor=first.pagination["next_cursor"]))
    assert first.results[0].batch_id != second.results[0].batch_id, second
    every_way_of_paging(tasks.list_tasks, lambda row: row.task_id)
    searched = tasks.list_tasks(list_tasks_request=mixpeek.ListTasksRequest(
        search=made.batch_id, status="COMPLETED"))
    assert searched.results, "the tasks of that batch"
    listed = tasks.list_tasks(
        page_size=5, list_tasks_request=mixpeek.ListTasksRequest(
            filters=mixpeek.LogicalOperatorInput.from_dict({
                "AND": [{"field": "status", "operator": "eq", "value": "COMPLETED"}],
                "OR": [{"field": "task_type", "operator": "starts_with", "value": "api_"}],
                "NOT": [{"field": "status", "operator": "eq", "value": "FAILED"}],
                "case_sensitive": True}),
            sort=mixpeek.SortOption(field="created_at", direction="desc")))
    assert listed.results and all(row.status == "COMPLETED" for row in listed.results), listed
    assert tasks.list_tasks(limit=5, offset=10_000).results == []


CONDITIONS = {
    "AND": [{"field": "a", "operator": "eq", "value": 1}], "case_sensitive": True,
    "OR": [{"field": "b", "operator": "eq", "value": 1}],
    "NOT": [{"field": "c", "operator": "eq", "value": 1}]}
FED = [{"input_key": "q", "source": {"source_type": "constant", "value": "x", "path": "p"}}]
WRITTEN = [{"source_field": "a", "target_field": "b", "mode": "first"}]
#: What a collection can be told to do with models and retrievers of a cloud.
FROM_ABROAD = {
    "taxonomy_applications": [{
        "taxonomy_id": "tax_1", "execution_mode": "materialize", "target_collection_id": "col_1",
        "scroll_filters": CONDITIONS, "execution_phase": 1, "priority": 1,
        "hierarchical_enrichment_style": "full_chain"}],
    "cluster_applications": [{
        "cluster_id": "clus_1", "auto_execute_on_batch": True, "min_document_threshold": 1,
        "cooldown_seconds": 1, "execution_phase": 2, "priority": 1}],
    "alert_applications": [{
        "alert_id": "alt_1", "execution_mode": "on_ingest", "input_mappings": FED,
        "execution_phase": 4, "priority": 1}],
    "retriever_enrichments": [{
        "retriever_id": "ret_1", "input_mappings": FED, "write_back_fields": WRITTEN,
        "execution_phase": 2, "priority": 1, "scroll_filters": CONDITIONS, "enabled": True}],
    "retriever_transform": {
        "retriever_id": "ret_1", "retriever_version": 1, "input_mappings": FED,
        "write_back_fields": WRITTEN, "unique_id_field": "id", "stages": [{
            "stage_name": "one", "stage_type": "filter", "config": {"a": 1}, "batch_size": "1",
            "description": "d", "on_error": "skip", "output_alias": "o"}]},
    "embedding_task": "search",
}


def every_field_of_collections(bucket: str, facts: str):
    made = collection(
        "everything", bucket, "passthrough_extractor",
        source={"type": "bucket", "bucket_ids": [bucket], "source_namespace_id": "default",
                "inherited_bucket_ids": [], "source_filters": {"filters": nested().to_dict()}},
        passthrough=[{"source_path": "nothing", "target_path": "n", "default": "none",
                      "required": False}],
        input_schema={"properties": {"title": {"type": "string"}}}, enabled=True,
        document_schema={"type": "object"}, schema_validation="warn",
        taxonomy_applications=[], cluster_applications=[], alert_applications=[],
        retriever_enrichments=[], retriever_transform=None, embedding_task=None)
    assert made.input_schema.properties["title"], made.input_schema
    request = {
        "collection_name": "by one word",
        "source": {"type": "bucket", "bucket_ids": [bucket]},
        "features": ["custom:passthrough_extractor"]}
    one = collections.create_collection(mixpeek.CreateCollectionRequest.from_dict(request))
    assert one.feature_extractor.feature_extractor_name == "passthrough_extractor", one
    mapped = dict(request, collection_name="mapped", features=None, feature_extractor={
        "feature_extractor_name": "file_facts", "version": "v1", "params": {"kept": 1},
        "include_all_source_fields": True,
        "input_mappings": [{"input_key": "file", "source_type": "blob", "path": "content"}]})
    many = collections.create_collection(mixpeek.CreateCollectionRequest.from_dict(mapped))
    assert many.feature_extractor.include_all_source_fields, many
    for field, value in FROM_ABROAD.items():
        wanted = dict(request, collection_name=f"with {field}", **{field: value})
        wanted = mixpeek.CreateCollectionRequest.from_dict(wanted)
        answer = refused(422, lambda: collections.create_collection(wanted))
        assert field in answer, answer
        if field.endswith(("applications", "enrichments")):
            answer = refused(422, lambda: collections.update_collection(one.collection_id, {field: value}))
            assert field in answer, answer
    changed = collections.update_collection(one.collection_id, {
        "collection_name": "another word", "description": "d", "metadata": {"a": 1}, "enabled": True,
        "schedule": {"trigger_type": "interval", "schedule_config": {"interval_seconds": 60}},
        "document_schema": {"type": "object"}, "schema_validation": "strict",
        "feature_extractor": {"feature_extractor_name": "passthrough_extractor", "version": "v1"},
        "source_filters": {"AND": [{"field": "key_prefix", "operator": "eq", "value": "a.txt"}]}})
    assert changed.collection_name == "another word" and changed.metadata == {"a": 1}, changed
    assert changed.source.source_filters.filters.var_and, changed.source
    every_way_of_paging(collections.list_collections, lambda row: row.collection_id)
    every_way_of_paging(collections.list_collections_get, lambda row: row.collection_id)
    named = {"filters": {"collection_name": "everything"}, "sort": {"field": "created_at", "direction": "desc"}}
    for more, found in (({"page_size": 1}, 1), ({"limit": 1, "page": 2}, 0), ({"limit": 1, "offset": 1}, 0)):
        listed = collections.list_collections(
            list_collections_request=mixpeek.ListCollectionsRequest.from_dict({**named, **more}))
        assert len(listed.results) == found, (more, listed)
    for call in (
        lambda **more: collections.list_collections(
            page_size=1, list_collections_request=mixpeek.ListCollectionsRequest.from_dict({
                "sorts": [{"field": "collection_name", "direction": "desc"}],
                "case_sensitive": True, "include_system": True, "search": "everything"}), **more),
        lambda **more: collections.list_collections_get(
            namespace_id="default", include_system=False, page_size=1, search="everything", **more),
    ):
        assert [row.collection_id for row in call().results] == [made.collection_id]
        assert call(offset=1).results == []
    triggered = collections.trigger_collection(
        made.collection_id, mixpeek.TriggerCollectionRequest.from_dict({
            "include_buckets": [bucket], "dedup_strategy": "replace",
            "source_filters": nested().to_dict()}))
    assert triggered.object_count == 1, triggered
    assert finished(bucket, triggered.batch_id).status == "COMPLETED"
    refused(422, lambda: collections.trigger_collection(
        made.collection_id, mixpeek.TriggerCollectionRequest(include_collections=[facts])))
    answer = refused(422, lambda: collections.trigger_collection(
        made.collection_id, {"reembed": {
            "outputs": ["transcription_embedding"], "target_feature_uri": "u",
            "document_ids": ["doc_1"], "only_missing": True, "dry_run": True}}))
    assert "reembed" in answer, answer
    for name in (made.collection_id, one.collection_id, many.collection_id):
        collections.delete_collection(name)


def every_field_of_documents(bucket: str, facts: str):
    made = [documents.create_document(facts, mixpeek.DocumentCreateRequest.from_dict({
        "collection_id": facts, "root_object_id": "obj_1", "root_bucket_id": bucket,
        "source_type": "bucket", "source_collection_id": "col_0", "source_document_id": "doc_0",
        "source_object_id": "obj_1", "lineage_path": "a/b", "lineage_chain": [{
            "collection_id": "col_0", "feature_extractor_id": "mine_v1", "document_id": "doc_0",
            "timestamp": "2026-01-02T03:04:05Z"}],
        "content_hash": "h", "document_schema_version": "1",
        "metadata": {"rank": rank, "when": f"2026-0{rank}-15T10:00:00Z", "tags": ["t", str(rank)]},
        "features": [{
            "feature_extractor_id": "mine_v1", "payload": {"said": "so"}, "vectors": {"f": [3.0]}}],
        "vectors": {"v": [1.0, float(rank)], "w": [2.0]}})).document_id for rank in (1, 2, 3)]
    mine = mixpeek.LogicalOperatorInput.from_dict({
        "AND": [{"field": "said", "operator": "eq", "value": "SO"}],
        "OR": [{"field": "rank", "operator": "gte", "value": 1}],
        "NOT": [{"field": "rank", "operator": "eq", "value": 9}], "case_sensitive": False})
    one = documents.get_document(
        facts, made[0], return_vectors=True, return_vector_names="w", return_presigned_urls=True)
    assert list(one.internal.additional_properties["vectors"]) == ["w"], one
    named = documents.list_documents(facts, list_documents_request=mixpeek.ListDocumentsRequest(
        filters=mine, return_vector_names=mixpeek.ReturnVectorNames(True), offset=1, limit=1,
        sort=mixpeek.SortOption(field="rank", direction="desc")))
    assert [row.document_id for row in named.results] == [made[1]], named
    read = documents.list_documents_0(
        facts, filters=json.dumps({"said": "so"}), sort="-rank", search="so", page_size=2,
        return_vectors=True, return_presigned_urls=True, include_total=True)
    assert [row.document_id for row in read.results] == [made[2], made[1]], read
    assert read.pagination.total == 3, read.pagination
    for pages in (documents.list_documents, documents.list_documents_0):
        every_way_of_paging(lambda **way: pages(facts, **way), lambda row: row.document_id)
        asked = pages(
            facts, filters=json.dumps({"said": "so"}), sort="rank", search="so", limit=1,
            return_vectors=True, return_presigned_urls=True)
        assert [row.document_id for row in asked.results] == made[:1], asked
    body = {
        "filters": mine.to_dict(), "sort": {"field": "rank", "direction": "asc"}, "search": "so",
        "partition": {"index": 0, "count": 1}, "include_total": True,
        "return_presigned_urls": True, "return_vectors": True, "return_vector_names": ["w"],
        "select": ["rank"], "expand": ["root_object"], "limit": 1}

    def told(**more):
        return documents.list_documents(
            facts, list_documents_request=mixpeek.ListDocumentsRequest.from_dict({**body, **more}))

    second = told(offset=1)
    assert [row.document_id for row in second.results] == made[1:2], second
    assert second.total_documents == 3, second
    third = told(cursor=second.pagination.next_cursor)
    assert [row.document_id for row in third.results] == made[2:], third
    groups = documents.list_documents(facts, list_documents_request=mixpeek.ListDocumentsRequest(
        group_by="rank", filters=mine)).groups
    assert sorted(group.group_key for group in groups) == [1, 2, 3], groups
    grouped = documents.aggregate_documents(
        facts, mixpeek.DocumentAggregationRequest.from_dict({
            "filters": {"said": "so"},
            "group_by": [{"field": "when", "alias": "month", "date_trunc": "month"}],
            "aggregations": [
                {"function": "count", "alias": "n"},
                {"function": "count_distinct", "distinct_field": "rank", "alias": "ranks"}],
            "having": [{"field": "n", "operator": "gte", "value": 1}],
            "sort_by": "month", "sort_direction": "asc", "limit": 2}))
    assert grouped.total_groups == 3 and len(grouped.results) == 2, grouped
    assert grouped.results[0].metrics == {"n": 1, "ranks": 1}, grouped
    unwound = documents.aggregate_documents(
        facts, mixpeek.DocumentAggregationRequest.from_dict({
            "filters": {"said": "so"}, "unwind": "tags",
            "group_by": [{"field": "tags"}, {"field": "when", "date_part": "year", "alias": "y"}],
            "aggregations": [{"function": "count", "alias": "n"}]}))
    assert {row.group["tags"]: row.metrics["n"] for row in unwound.results}["t"] == 3, unwound
    ranged = documents.aggregate_documents(
        facts, mixpeek.DocumentAggregationRequest.from_dict({
            "filters": {"said": "so"},
            "range_buckets": [
                {"field": "rank", "boundaries": [0, 2, 5], "default_bucket": "none"}],
            "group_by": [{"field": "rank"}],
            "aggregations": [{"function": "count", "alias": "n"}]}))
    assert {row.group["rank"]: row.metrics["n"] for row in ranged.results} == {"0-2": 2, "2-5": 1}
    many = documents.batch_update(facts, mixpeek.BatchUpdateDocumentsRequest(
        filters=mine, update_data={"seen": 1}))
    assert many.updated_count == 3, many
    bulk = documents.bulk_update(facts, mixpeek.BulkUpdateDocumentsRequest(
        filters=mine, update_data={"seen": 2}))
    assert bulk.updated_count == 3, bulk
    documents.delete_document(facts, made[0])
    gone = documents.batch_delete(facts, mixpeek.BatchDeleteDocumentsRequest(
        filters=mine, reason="a test"))
    assert gone.deleted_count == 2, gone
    day, later = "2020-01-01", "2100-01-01T00:00:00Z"
    for look in (analytics.get_bucket_storage_analytics, analytics.get_bucket_usage_analytics):
        assert look(bucket, start_date=day, end_date=later, group_by="month").metrics
    assert analytics.get_upload_performance_analytics_buckets(bucket, hours=1, group_by="day")


def telling():
    def wanted(**more):
        return mixpeek.WebhookInput.from_dict({
            "webhook_name": "told",
            "event_types": [kind.value for kind in mixpeek.WebhookEventType],
            "resource_types": ["object", "collection"],
            "channels": [
                {"channel": "webhook", "configs": {
                    "url": "http://127.0.0.1:9/hook", "headers": {"X-Token": "t"},
                    "timeout": 2.5, "signing_secret": "a secret"}},
                {"channel": "slack", "configs": {
                    "webhook_url": "http://127.0.0.1:9/T/B/key", "channel": "#told",
                    "username": "catchment", "icon_emoji": ":eyes:",
                    "icon_url": "http://127.0.0.1:9/icon.png"}},
            ],
            **more,
        })

    abroad = [
        {"channel": "webhook", "configs": {
            "url": "http://127.0.0.1:9/hook", "payload_template": {"text": "{{event}}"}}},
        {"channel": "slack", "configs": {
            "webhook_url": "http://127.0.0.1:9/T/B/key", "blocks_template": "[]"}},
        {"channel": "email", "configs": {
            "to_addresses": ["someone@example.com"], "subject_template": "s", "body_template": "b",
            "content_type": "html", "cc_addresses": ["c@example.com"], "bcc_addresses": ["b@example.com"]}},
    ]
    for channel in abroad:
        answer = refused(422, lambda: webhooks.create_webhook_organizations(wanted(channels=[channel])))
        assert "channels[0]" in answer, answer
    ours = {
        "webhook_id": "wh_0123456789abcdef", "internal_id": "int_1", "delivery_health": {"status": "x"},
        "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z"}
    made = webhooks.create_webhook_organizations(wanted(is_active=True, **ours))
    assert made.webhook_id != ours["webhook_id"], "ids are given by the server"
    http, slack = (channel.configs.actual_instance for channel in made.channels)
    assert http.signing_secret == "redacted" and http.headers == {"X-Token": "redacted"}, http
    assert http.timeout == 2.5 and slack.channel == "#told" and "key" not in slack.webhook_url, made
    assert made.is_active and made.delivery_health["status"] == "healthy", made
    other = webhooks.create_webhook_organizations(wanted(webhook_name="other"))
    every_way_of_paging(webhooks.list_webhooks_organizations, lambda row: row.webhook_id)
    webhooks.delete_webhook_organizations(other.webhook_id)
    for channel in abroad:
        refused(422, lambda: webhooks.update_webhook_organizations(
            made.webhook_id, wanted(channels=[channel])))
    kept = mixpeek.WebhookInput.from_dict({**made.to_dict(), **ours, "is_active": False})
    changed = webhooks.update_webhook_organizations(made.webhook_id, kept)
    assert not changed.is_active and len(changed.channels) == 2, changed
    listed = webhooks.list_webhooks_organizations(
        limit=10, list_webhooks_request=mixpeek.ListWebhooksRequest(
            event_type="object.created", is_active=False))
    assert [row.webhook_id for row in listed.results] == [made.webhook_id], listed
    assert listed.total == 1, listed
    assert webhooks.get_webhook_organizations(made.webhook_id).webhook_name == "told"
    webhooks.delete_webhook_organizations(made.webhook_id)
    refused(404, lambda: webhooks.get_webhook_organizations(made.webhook_id))


bucket = buckets.create_bucket(mixpeek.BucketCreateRequest(
    bucket_name="processed", bucket_schema=mixpeek.BucketSchemaInput(properties={}))).bucket_id
facts = collecting(bucket)
syncing(bucket, facts)
document = reading(facts)
writing(facts, document)
ordering(bucket, facts, document)
rows_and_tiers(bucket, facts)
looking_back(bucket)
fields_of_sources(bucket)
every_field_of_batches(bucket, facts)
every_field_of_collections(bucket, facts)
every_field_of_documents(bucket, facts)
telling()
of_processing = ("/batches", "/tasks", "/collections", "/webhooks", "/analytics")
operations = {
    name: can for name, can in json.loads(pathlib.Path(given["requests"]).read_text()).items()
    if any(place in name for place in of_processing)}
assert len(operations) == 52, sorted(operations)
unsent = recorder.unsent(operations, REFUSED)
assert not unsent, "never sent:\n" + "\n".join(unsent)
print("done", flush=True)
