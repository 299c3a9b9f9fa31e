"""What the scripts for one provider each have in common: the public client as it comes from PyPI,
unmodified, makes a connection and a sync, waits until it has run, and lists the objects.

Each reads one JSON line from standard input, {"server": URL, "token": S, ...}, and ends with the word
`done`.
"""

import json
import sys
import time

import mixpeek
from mixpeek.api.bucket_objects_api import BucketObjectsApi
from mixpeek.api.bucket_syncs_api import BucketSyncsApi
from mixpeek.api.buckets_api import BucketsApi
from mixpeek.api.organization_connections_api import OrganizationConnectionsApi

given = json.loads(sys.stdin.readline())
config = mixpeek.Configuration(host=given["server"], access_token=given["token"])
config.api_key["NamespaceHeader"] = "default"
client = mixpeek.ApiClient(config)
connections = OrganizationConnectionsApi(client)
objects = BucketObjectsApi(client)


def connected(provider, settings):
    """Makes a connection, tests it, and returns its id."""
    connection = connections.create_storage_connection_organizations(
        mixpeek.StorageConnectionCreateRequest(
            name="work",
            provider_type=provider,
            provider_config={"provider_type": provider.value, **settings},
            test_before_save=True,
        )
    ).connection_id
    assert connections.test_storage_connection_organizations(connection).success
    return connection


def synced(connection, source_path, kind=mixpeek.BucketSchemaFieldType.TEXT):
    """Syncs a place into a new bucket. Returns the bucket and its objects by their paths."""
    bucket = BucketsApi(client).create_bucket(
        mixpeek.BucketCreateRequest(
            bucket_name="synced",
            bucket_schema=mixpeek.BucketSchemaInput(
                properties={"content": mixpeek.BucketSchemaFieldInput(type=kind)}
            ),
        )
    ).bucket_id
    syncs = BucketSyncsApi(client)
    sync = syncs.create_sync_configuration_buckets(
        bucket, mixpeek.SyncCreateRequest(connection_id=connection, source_path=source_path)
    ).sync_config_id
    deadline = time.monotonic() + 60
    while True:
        jobs = syncs.list_sync_jobs_buckets_id_config(bucket, sync, limit=10).results
        if any(job.status == mixpeek.SyncJobStatus.COMPLETED for job in jobs):
            break
        assert time.monotonic() < deadline, jobs
        time.sleep(0.05)
    found = objects.list_objects_buckets(bucket, limit=10).results
    return bucket, {each.key_prefix: each for each in sorted(found, key=lambda one: one.key_prefix)}
