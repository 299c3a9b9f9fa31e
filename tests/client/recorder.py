"""What the public client sends: every request with its fields and how it ended, to be compared with
the list of all that it can send, `tests/fixtures/client_requests.json`.
"""

import re
from urllib.parse import parse_qs, urlsplit


def fields(value, place=""):
    """The fields of a JSON value that are set, as that list writes them: `a`, `a.b`, `a[].b`."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if inner is not None:
                here = f"{place}.{name}" if place else name
                yield here
                yield from fields(inner, here)
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner, f"{place}[]")


def pattern(path: str):
    return re.compile("/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in path.split("/")))


class Recorder:
    def __init__(self, client):
        self.sent = []
        self.call = client.call_api
        client.call_api = self.record

    def record(self, method, url, header_params=None, body=None, *rest, **more):
        response = self.call(method, url, header_params, body, *rest, **more)
        place = urlsplit(url)
        said = response.read().decode() if response.status >= 400 else ""
        # What the client is given as the body of a GET it does not send.
        body = None if method == "GET" else body
        query, body = {*parse_qs(place.query)}, {*fields(body)}
        self.sent.append((method, place.path, query, body, response.status, said))
        return response

    def requests(self, operations):
        """The requests of each operation: a path in full comes before one with a part left open."""
        found = {name: [] for name in operations}
        by_detail = sorted(operations, key=lambda name: name.count("{"))
        paths = [(name, name.split(" ")[0], pattern(name.split(" ")[1])) for name in by_detail]
        for request in self.sent:
            for name, method, path in paths:
                if method == request[0] and path.fullmatch(request[1]):
                    found[name].append(request)
                    break
        return found

    def unsent(self, operations, refused):
        """What was never accepted of what can be sent: operations, parameters, fields. Those of
        `refused` have to be refused instead, with those words."""
        missing = []
        for name, requests in self.requests(operations).items():
            accepted = [request for request in requests if request[4] < 300]
            turned_down = [request for request in requests if request[4] == 422]
            not_here = refused.get(name, {})

            def is_refused(field):
                return any(
                    field in sent and words in said
                    for place, words in not_here.items()
                    if re.match(re.escape(place) + r"(\[|\.|$)", field)
                    for _, _, _, sent, _, said in turned_down)

            if not accepted and not any(not_here.get("", "-") in said for *_, said in turned_down):
                missing.append(name)
            can = operations[name]
            missing += [
                f"{name} ?{one}" for one in can["query"]
                if not any(one in request[2] for request in accepted)]
            missing += [
                f"{name} {one}" for one in can.get("body", [])
                if not any(one in request[3] for request in accepted) and not is_refused(one)]
        return missing
