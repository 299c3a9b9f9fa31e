"""Snowflake by the public client: it looks around and syncs a table.

Given besides (see walk.py): {"username": S, "private_key": PEM, "table": S}. The table has the rows 1
and 2.
"""

import mixpeek
from walk import connected, connections, given, synced

connection = connected(
    mixpeek.StorageProvider.SNOWFLAKE,
    {
        "account": "org-acc",
        "warehouse": "load_wh",
        "credentials": {
            "type": "key_pair",
            "username": given["username"],
            "private_key": given["private_key"],
        },
    },
)
folders = connections.list_google_drive_folders_organizations_connections(connection)
assert folders is not None
_, found = synced(connection, given["table"])
assert list(found) == ["1.json", "2.json"], found
print("done")
