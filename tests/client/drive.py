"""Google Drive by the public client: it looks around, syncs a folder, and reads the objects.

Given besides (see walk.py): {"credentials": {...}}. The drive has two files in /Reports/2026,
"content 0" and "content 1".
"""

import urllib.request

import mixpeek
from walk import connected, connections, given, objects, synced

connection = connected(
    mixpeek.StorageProvider.GOOGLE_DRIVE, {"credentials": given["credentials"]}
)
top = connections.list_google_drive_folders_organizations_connections(connection)
assert [folder.name for folder in top.results] == ["My Drive", "Shared with me"], top
reports = connections.list_google_drive_folders_organizations_connections(
    connection, path="/My Drive"
).results
files = connections.list_google_drive_files_organizations_connections(
    connection, path="/My Drive/Reports/2026"
)["results"]
assert sorted(file["name"] for file in files) == ["000.txt", "001.txt"], files

# By the id that browsing returns.
bucket, found = synced(connection, reports[0].id)
assert list(found) == ["2026/000.txt", "2026/001.txt"], found
for number, each in enumerate(found.values()):
    one = objects.get_object_buckets(bucket, each.object_id)
    path = f"/v1/buckets/{bucket}/objects/{one.object_id}/blobs/{one.blobs[0].blob_id}/content"
    request = urllib.request.Request(
        given["server"] + path, headers={"Authorization": f"Bearer {given['token']}"}
    )
    with urllib.request.urlopen(request) as response:
        assert response.read() == f"content {number}".encode()
print("done")
