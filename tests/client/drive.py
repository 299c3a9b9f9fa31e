"""A connection to Google Drive and a sync of a folder, made by the public client as it comes from
PyPI, unmodified, which then reads the objects.

Reads one JSON line from standard input: {"server": URL, "token": S, "credentials": {...}}. The drive
has two files in /Reports/2026, "content 0" and "content 1". The word `done` is the end.
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

given = json.loads(sys.stdin.readline())
config = mixpeek.Configuration(host=given["server"], access_token=given["token"])
config.api_key["NamespaceHeader"] = "default"
client = mixpeek.ApiClient(config)
connections = OrganizationConnectionsApi(client)
syncs = BucketSyncsApi(client)

connection = connections.create_storage_connection_organizations(
    mixpeek.StorageConnectionCreateRequest(
        name="drive",
        provider_type=mixpeek.StorageProvider.GOOGLE_DRIVE,
        provider_config={"provider_type": "google_drive", "credentials": given["credentials"]},
        test_before_save=True,
    )
).connection_id
assert connections.test_storage_connection_organizations(connection).success
top = connections.list_google_drive_folders_organizations_connections(connection)
assert [folder.name for folder in top.results] == ["My Drive", "Shared with me"], top
reports = connections.list_google_drive_folders_organizations_connections(
    connection, path="/My Drive"
).results
files = connections.list_google_drive_files_organizations_connections(
    connection, path="/My Drive/Reports/2026"
)["results"]
assert sorted(file["name"] for file in files) == ["000.txt", "001.txt"], files

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
# By the id that browsing returns.
sync = syncs.create_sync_configuration_buckets(
    bucket, mixpeek.SyncCreateRequest(connection_id=connection, source_path=reports[0].id)
).sync_config_id
deadline = time.monotonic() + 60
while True:
    jobs = syncs.list_sync_jobs_buckets_id_config(bucket, sync, limit=10).results
    if any(job.status == mixpeek.SyncJobStatus.COMPLETED for job in jobs):
        break
    assert time.monotonic() < deadline, jobs
    time.sleep(0.05)
objects = BucketObjectsApi(client)
found = sorted(
    objects.list_objects_buckets(bucket, limit=10).results, key=lambda each: each.key_prefix
)
assert [each.key_prefix for each in found] == ["2026/000.txt", "2026/001.txt"], found
for number, each in enumerate(found):
    one = objects.get_object_buckets(bucket, each.object_id)
    path = f"/v1/buckets/{bucket}/objects/{one.object_id}/blobs/{one.blobs[0].blob_id}/content"
    request = urllib.request.Request(
        given["server"] + path, headers={"Authorization": f"Bearer {given['token']}"}
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.read() == f"content {number}".encode()
print("done")
