"""The public client of Iconik, as it comes from PyPI, reads what an imitation of its API answers.

Reads one JSON line from standard input: {"base_url": URL, "app_id": S, "auth_token": S, "asset": ID,
"collection": ID, "view": ID}. The word `done` is the end.
"""

import json
import sys

from pythonik.client import PythonikClient
from pythonik.models.search.search_body import SearchBody, SortItem

given = json.loads(sys.stdin.readline())
client = PythonikClient(given["app_id"], given["auth_token"], 30, given["base_url"])


def data(answer):
    assert answer.response.ok, (answer.response.status_code, answer.response.text)
    assert answer.data is not None
    return answer.data


order = [SortItem(name="date_modified", order="asc"), SortItem(name="id", order="asc")]
body = SearchBody(doc_types=["assets"], sort=order, metadata_view_id=given["view"])
found = data(client.search().search(body, per_page=1, generate_signed_url=False))
(asset,) = found.objects
assert asset.id == given["asset"] and found.total == 1
assert asset.metadata == {"Campaign": ["spring"]}, asset.metadata
assert asset.files[0].name == "a.mxf" and asset.proxies[0].name == "a.mp4"
assert len(asset.sort) == 2
body.search_after = asset.sort
assert data(client.search().search(body, per_page=1)).objects == []

collections = SearchBody(doc_types=["collections"], sort=[SortItem(name="id", order="asc")])
(collection,) = data(client.search().search(collections)).objects
assert (collection.id, collection.title) == (given["collection"], "News")

assert data(client.assets().get(given["asset"])).in_collections == [given["collection"]]
files = data(client.files().get_asset_files(given["asset"])).objects
assert files[0].status == "CLOSED" and files[0].size == 7 and len(files[0].checksum) == 32
assert data(client.files().get_asset_proxies(given["asset"])).objects[0].name == "a.mp4"
assert data(client.files().get_asset_keyframes(given["asset"])).objects[0].name == "a.jpg"
assert data(client.files().get_asset_formats(given["asset"])).objects[0].name == "ORIGINAL"
assert data(client.collections().get(given["collection"])).title == "News"
view = data(client.metadata().get_asset_metadata(given["asset"], given["view"]))
assert view.metadata_values["Campaign"].field_values[0].value == "spring"
assert client.assets().get("00000000-0000-11ee-8000-000000000000").response.status_code == 404
print("done")
