"""A connection to Iconik and a sync of a library, made by the public client as it comes from PyPI,
unmodified.

Reads one JSON line from standard input: {"server": URL, "token": S, "base_url": URL, "app_id": S,
"auth_token": S}. The library has two assets. The word `done` is the end.
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
        name="library",
        provider_type=mixpeek.StorageProvider.ICONIK,
        provider_config={
            "provider_type": "iconik",
            "base_url": given["base_url"],
            "credentials": {
                "type": "app_token",
                "app_id": given["app_id"],
                "auth_token": given["auth_token"],
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
        bucket_name="media",
        bucket_schema=mixpeek.BucketSchemaInput(
            properties={
                "content": mixpeek.BucketSchemaFieldInput(type=mixpeek.BucketSchemaFieldType.VIDEO)
            }
        ),
    )
).bucket_id
sync = syncs.create_sync_configuration_buckets(
    bucket, mixpeek.SyncCreateRequest(connection_id=connection, source_path="/")
).sync_config_id
deadline = time.monotonic() + 60
while True:
    jobs = syncs.list_sync_jobs_buckets_id_config(bucket, sync, limit=10).results
    if any(job.status == mixpeek.SyncJobStatus.COMPLETED for job in jobs):
        break
    assert time.monotonic() < deadline, jobs
    time.sleep(0.05)
objects = BucketObjectsApi(client).list_objects_buckets(bucket, limit=10).results
assert sorted(each.key_prefix for each in objects) == ["News/a.mxf", "b.mxf"], objects
print("done")
