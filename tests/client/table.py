"""A connection to Snowflake and a sync of a table, made by the public client as it comes from PyPI,
unmodified.

Reads one JSON line from standard input: {"server": URL, "token": S, "username": S, "private_key": PEM,
"table": S}. The table has the rows 1 and 2. The word `done` is the end.
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
        name="tables",
        provider_type=mixpeek.StorageProvider.SNOWFLAKE,
        provider_config={
            "provider_type": "snowflake",
            "account": "org-acc",
            "warehouse": "load_wh",
            "credentials": {
                "type": "key_pair",
                "username": given["username"],
                "private_key": given["private_key"],
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
        bucket_name="rows",
        bucket_schema=mixpeek.BucketSchemaInput(
            properties={
                "content": mixpeek.BucketSchemaFieldInput(type=mixpeek.BucketSchemaFieldType.TEXT)
            }
        ),
    )
).bucket_id
sync = syncs.create_sync_configuration_buckets(
    bucket, mixpeek.SyncCreateRequest(connection_id=connection, source_path=given["table"])
).sync_config_id
deadline = time.monotonic() + 60
while True:
    jobs = syncs.list_sync_jobs_buckets_id_config(bucket, sync, limit=10).results
    if any(job.status == mixpeek.SyncJobStatus.COMPLETED for job in jobs):
        break
    assert time.monotonic() < deadline, jobs
    time.sleep(0.05)
rows = BucketObjectsApi(client).list_objects_buckets(bucket, limit=10).results
assert sorted(row.key_prefix for row in rows) == ["1.json", "2.json"], rows
print("done")
