"""The whole life of a sync, walked by the public client as it comes from PyPI, unmodified.

Reads one JSON line from standard input:

    {"server": URL, "token": S, "folder": PATH,
     "peer": {"url", "access_key", "secret_key", "bucket"}, "faulty": the same}

`peer` is a real S3 server with objects in it; `faulty` one that does as it is told: this script
writes a word to standard output (`break`, `stall`, `heal`) and waits for a line before it goes on.
Every answer is parsed by the client's own models; an assertion says what must be in them. The word
`done` is the end.
"""

import json
import sys
import time
import urllib.request

import mixpeek
from mixpeek.api.bucket_objects_api import BucketObjectsApi
from mixpeek.api.bucket_syncs_api import BucketSyncsApi
from mixpeek.api.buckets_api import BucketsApi
from mixpeek.api.organization_connections_api import OrganizationConnectionsApi

DEADLINE = 60.0

given = json.loads(sys.stdin.readline())
config = mixpeek.Configuration(host=given["server"], access_token=given["token"])
config.api_key["NamespaceHeader"] = "default"
client = mixpeek.ApiClient(config)
connections = OrganizationConnectionsApi(client)
buckets = BucketsApi(client)
objects = BucketObjectsApi(client)
syncs = BucketSyncsApi(client)


def tell(word: str) -> None:
    print(word, flush=True)
    assert sys.stdin.readline(), "the test has gone"


def plain(method: str, path: str, body=None) -> tuple[int, bytes]:
    """One request by plain HTTP, for what the client has no call for."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "Bearer " + given["token"]}
    if data is not None:
        headers["Content-Type"] = "application/json"
    url = path if path.startswith("http") else given["server"] + path
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as answer:
        return answer.status, answer.read()


def until(what: str, ask):
    deadline = time.monotonic() + DEADLINE
    while True:
        if answer := ask():
            return answer
        assert time.monotonic() < deadline, f"waited {DEADLINE} s for {what}"
        time.sleep(0.05)


def connect(name: str, to: dict):
    return connections.create_storage_connection_organizations(
        mixpeek.StorageConnectionCreateRequest(
            name=name,
            provider_type=mixpeek.StorageProvider.S3,
            provider_config={
                "provider_type": "s3",
                "endpoint_url": to["url"],
                "region": "us-east-1",
                "credentials": {
                    "type": "access_key",
                    "access_key_id": to["access_key"],
                    "secret_access_key": to["secret_key"],
                },
            },
            description="walked by the client",
            test_before_save=True,
        )
    ).connection_id


def make(bucket: str, connection: str, source_path: str, **more):
    request = mixpeek.SyncCreateRequest(connection_id=connection, source_path=source_path, **more)
    return syncs.create_sync_configuration_buckets(bucket, request)


def jobs(bucket: str, sync: str):
    return syncs.list_sync_jobs_buckets_id_config(bucket, sync, limit=100)


def completed(bucket: str, sync: str, count: int):
    def ask():
        rows = jobs(bucket, sync).results
        idle = all(row.status != mixpeek.SyncJobStatus.RUNNING for row in rows)
        done = [row for row in rows if row.status == mixpeek.SyncJobStatus.COMPLETED]
        return done if idle and len(done) >= count else None

    return until(f"{count} jobs", ask)


def read(bucket: str, sync: str):
    return syncs.get_sync_configuration_buckets_id_config(bucket, sync)


def connecting() -> str:
    connection = connect("peer", given["peer"])
    assert connections.test_storage_connection_organizations(connection).success
    assert connections.get_storage_connection_organizations("peer").connection_id == connection
    listed = connections.list_storage_connections_organizations(limit=10)
    assert connection in [row.connection_id for row in listed.results]
    changed = connections.update_storage_connection_organizations(
        connection, mixpeek.StorageConnectionUpdateRequest(description="changed")
    )
    assert changed.description == "changed"
    bucket = given["peer"]["bucket"]
    assert connections.list_google_drive_folders_organizations_connections(connection) is not None
    files = connections.list_google_drive_files_organizations_connections(connection, path=bucket)
    assert files, files
    status, answer = plain("POST", "/v1/organizations/connections/conn_local/test")
    assert status == 200 and json.loads(answer)["success"], answer
    return connection


def filling(connection: str) -> str:
    fields = {
        "title": mixpeek.BucketSchemaFieldInput(type=mixpeek.BucketSchemaFieldType.STRING),
        "content": mixpeek.BucketSchemaFieldInput(type=mixpeek.BucketSchemaFieldType.TEXT),
    }
    bucket = buckets.create_bucket(
        mixpeek.BucketCreateRequest(
            bucket_name="walked", bucket_schema=mixpeek.BucketSchemaInput(properties=fields)
        )
    ).bucket_id
    sync = make(
        bucket, connection, given["peer"]["bucket"], sync_mode=mixpeek.SyncMode.INITIAL_ONLY,
        file_filters={"include_patterns": ["*.txt"]}, description="first",
    )
    assert sync.status in ("PENDING", "QUEUED", "IN_PROGRESS"), sync.status
    completed(bucket, sync.sync_config_id, 1)
    triggered = syncs.trigger_sync_configuration_buckets_id_config(bucket, sync.sync_config_id)
    assert triggered["sync_job_id"].startswith("job_") and triggered["task_id"], triggered
    job = completed(bucket, sync.sync_config_id, 2)[0]
    one = syncs.get_sync_job_buckets_id_config(bucket, sync.sync_config_id, job.sync_job_id)
    assert one.sync_job_id == triggered["sync_job_id"] and one.files_verified == 3, one

    rows = objects.list_objects_buckets(bucket, limit=10).results
    assert sorted(row.key_prefix for row in rows) == ["a.txt", "b/c.txt", "d.txt"], rows
    found = objects.get_object_buckets(bucket, rows[0].object_id, return_presigned_urls=True)
    (blob,) = found.blobs
    content = f"/v1/buckets/{bucket}/objects/{found.object_id}/blobs/{blob.blob_id}/content"
    assert plain("GET", content)[1] == b"the content of " + found.key_prefix.encode()
    metrics = syncs.get_sync_metrics_buckets_id_config(bucket, sync.sync_config_id)
    assert metrics.total_files_synced == 3 and metrics.dlq_total == 0, metrics
    return bucket


def changing(bucket: str, connection: str) -> None:
    sync = make(bucket, "conn_local", given["folder"]).sync_config_id
    completed(bucket, sync, 1)
    plain("POST", f"/v1/buckets/{bucket}/syncs/{sync}/pause", {"reason": "lunch"})
    paused = read(bucket, sync)
    assert paused.paused and paused.pause_reason == "lunch" and paused.status == "SUSPENDED"
    assert not syncs.resume_sync_configuration_buckets_id_config(bucket, sync).paused
    assert syncs.pause_sync_configuration_buckets_id_config(bucket, sync).paused

    mapping = mixpeek.SchemaMappingInput.from_dict(
        {"mappings": {"title": {"target_type": "field",
                                "source": {"type": "constant", "value": "words"}}}}
    )
    for field, value in {
        "description": "changed",
        "metadata": {"team": "a"},
        "polling_interval_seconds": 60,
        "batch_size": 20,
        "skip_batch_submission": True,
        "batch_collection_ids": ["col_one"],
        "ingest_filter": mixpeek.IngestFilter(retriever_id="ret_one"),
        "max_objects_per_run": 500,
        "sync_concurrency": 4,
        "reconcile": mixpeek.ReconcileSettings(on_delete=False),
        "provider_filters": {},
        "schema_mapping": mapping,
        "is_active": True,
        "status": mixpeek.TaskStatusEnum.SUSPENDED,
    }.items():
        request = mixpeek.SyncUpdateRequest(**{field: value})
        changed = syncs.update_sync_configuration_buckets_id_config(bucket, sync, request)
        has = getattr(changed, field)
        match field:
            case "reconcile":
                assert has.on_delete is False and has.on_update is True, has
            case "ingest_filter":
                assert has.retriever_id == "ret_one", has
            case "schema_mapping":
                assert "title" in has.mappings, has
            case "provider_filters":
                assert not has, has
            case _:
                assert has == value, (field, has)

    wanted = mixpeek.ListSyncConfigurationsRequest
    for request, count in [
        (wanted(), 2),
        (wanted(connection_id=connection), 1),
        (wanted(connection_id="conn_local", is_active=True), 1),
        (wanted(status=mixpeek.TaskStatusEnum.SUSPENDED), 1),
        (wanted(is_active=False), 0),
    ]:
        listed = syncs.list_sync_configurations_buckets(
            bucket, include_total=True, list_sync_configurations_request=request
        )
        assert listed.total == len(listed.results) == count, (request, listed.total)
    pages = [
        syncs.list_sync_configurations_buckets(bucket, limit=1, page=2),
        syncs.list_sync_configurations_buckets(bucket, page_size=1, offset=1),
    ]
    first = syncs.list_sync_configurations_buckets(bucket, limit=1)
    cursor = first.pagination.next_cursor
    for name in ("cursor", "next_cursor", "after"):
        pages.append(syncs.list_sync_configurations_buckets(bucket, limit=1, **{name: cursor}))
    assert len({page.results[0].sync_config_id for page in pages}) == 1
    assert pages[0].results[0].sync_config_id != first.results[0].sync_config_id


def failing(bucket: str) -> None:
    tell("break")
    connection = connect("faulty", given["faulty"])
    sync = make(bucket, connection, given["faulty"]["bucket"]).sync_config_id
    completed(bucket, sync, 1)
    (letter,) = syncs.list_dlq_entries_buckets_id_syncs_config(
        bucket, sync, mixpeek.ListDLQRequest()
    ).results
    assert letter.error_type == "permission_denied" and letter.source_path == "bad", letter
    marked = syncs.bulk_mark_dlq_permanently_failed_buckets_id_syncs_config(
        bucket, sync, mixpeek.BulkMarkDLQRequest(error_types=["permission_denied"])
    )
    assert marked.updated == 1
    tell("heal")
    requeued = syncs.requeue_dlq_entries_buckets_id_syncs_config(
        bucket, sync, mixpeek.BulkRequeueDLQRequest()
    )
    assert requeued.requeued == 1
    completed(bucket, sync, 2)
    left = syncs.list_dlq_entries_buckets_id_syncs_config(bucket, sync, mixpeek.ListDLQRequest())
    assert left.total == 0, left

    tell("stall")
    syncs.trigger_sync_configuration_buckets_id_config(bucket, sync, full_sync=True)
    until("the lease", lambda: read(bucket, sync).locked)
    again = syncs.trigger_sync_configuration_buckets_id_config(bucket, sync)
    assert again["status"] == "skipped_already_running", again
    unlocked = syncs.force_unlock_sync_configuration_buckets_id_config(bucket, sync)
    assert unlocked["unlocked"], unlocked
    tell("heal")
    completed(bucket, sync, 3)
    interrupted = [row for row in jobs(bucket, sync).results
                   if row.status == mixpeek.SyncJobStatus.INTERRUPTED]
    assert len(interrupted) == 1, interrupted
    syncs.delete_sync_configuration_buckets_id_config(bucket, sync)
    assert read(bucket, sync).status == "ARCHIVED"


peer = connecting()
filled = filling(peer)
changing(filled, peer)
failing(filled)
print("done", flush=True)
