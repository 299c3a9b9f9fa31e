"""OneDrive by the public client: it looks around and syncs a folder.

Given besides (see walk.py): {"client_id": S, "refresh_token": S}. The drive has two files in
/Reports/2026.
"""

import mixpeek
from walk import connected, connections, given, synced

connection = connected(
    mixpeek.StorageProvider.SHAREPOINT,
    {
        "credentials": {
            "type": "delegated",
            "tenant_id": "common",
            "client_id": given["client_id"],
            "refresh_token": given["refresh_token"],
        },
    },
)
folders = connections.list_google_drive_folders_organizations_connections(connection)
assert folders is not None
_, found = synced(connection, "/Reports")
assert list(found) == ["2026/000.txt", "2026/001.txt"], found
print("done")
