"""A connection to OneDrive and a sync of a folder, made by the public client as it comes from PyPI,
unmodified.

Reads one JSON line from standard input: {"server": URL, "token": S, "client_id": S,
"refresh_token": S}. The drive has two files in /Reports/2026. The word `done` is the end.
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
syncs = BucketSyncsApi(client)

connection = connections.create_storage_connection_organizations(
    mixpeek.StorageConnectionCreateRequest(
        name="drive",
        provider_type=mixpeek.StorageProvider.SHAREPOINT,
        provider_config={
            "provider_type": "sharepoint",
            "credentials": {
                "type": "delegated",
                "tenant_id": "common",
                "client_id": given["client_id"],
                "refresh_token": given["refresh_token"],
            },
        },
        test_before_save=True,
    )
).connection_id
assert connections.test_storage_connection_organizations(connection).success
folders = connections.list_google_drive_folders_organizations_connections(connection)
assert folders is not None

bucket = BucketsApi(client).create_bucket(
    mixpeek.BucketCreateRequest(
        bucket_name="reports",
        bucket_schema=mixpeek.BucketSchemaInput(
            properties={
                "content": mixpeek.BucketSchemaFieldInput(type=mixpeek.BucketSchemaFieldType.TEXT)
            }
        ),
    )
).bucket_id
sync = syncs.create_sync_configuration_buckets(
    bucket, mixpeek.SyncCreateRequest(connection_id=connection, source_path="/Reports")
).sync_config_id
deadline = time.monotonic() + 60
while True:
    jobs = syncs.list_sync_jobs_buckets_id_config(bucket, sync, limit=10).results
    if any(job.status == mixpeek.SyncJobStatus.COMPLETED for job in jobs):
        break
    assert time.monotonic() < deadline, jobs
    time.sleep(0.05)
objects = BucketObjectsApi(client).list_objects_buckets(bucket, limit=10).results
paths = sorted(each.key_prefix for each in objects)
assert paths == ["2026/000.txt", "2026/001.txt"], paths
print("done")
