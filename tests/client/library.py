"""Iconik by the public client: it looks around and syncs a library.

Given besides (see walk.py): {"base_url": URL, "app_id": S, "auth_token": S}. The library has two
assets.
"""

import mixpeek
from walk import connected, connections, given, synced

connection = connected(
    mixpeek.StorageProvider.ICONIK,
    {
        "base_url": given["base_url"],
        "credentials": {
            "type": "app_token",
            "app_id": given["app_id"],
            "auth_token": given["auth_token"],
        },
    },
)
folders = connections.list_google_drive_folders_organizations_connections(connection)
assert folders is not None
_, found = synced(connection, "/", mixpeek.BucketSchemaFieldType.VIDEO)
assert list(found) == ["News/a.mxf", "b.mxf"], found
print("done")
