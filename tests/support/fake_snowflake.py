"""An imitation of Snowflake's SQL API, version 2, for tests. It is not Snowflake.

Statements about tables that were made through `/control/sql` are run by `fakesnow`, an independent
imitation of Snowflake's SQL over DuckDB. That one cuts nanoseconds, ignores the case of quoted names and
has no partitions, so tables made through `/control/table` are kept here instead, cell by cell as the
API writes them, and their statements are parsed by sqlglot and evaluated below: to the nanosecond, in 38
digits, with exact names.

What no imitation can show (that Snowflake itself takes these statements and values) is not shown here.

Prints `{"port": N}` and then serves until its standard input ends. `/control/...` needs no sign-in:

    POST /control/sql     {"sql": [...]}                      run by fakesnow
    POST /control/table   {"name", "columns": [[name, type, scale]], "rows": [[cell]], "key": [..],
                           "object": what SHOW OBJECTS says of it, "virtual": names of its columns
                           that are virtual, "no_last_change": whether it has no token of changes}
    POST /control/many    {"schema": [database, schema], "count"}   so many empty tables, T00000 and on
    POST /control/rows    {"name", "insert": [[cell]], "delete": [[cell]]}   delete by key
    POST /control/faults  {...}                               see FAULTS; merged
    POST /control/users   {"ACCOUNT.USER": {"key": base64 | null, "tokens": [..]}}
    GET  /control/log                                         every request so far
    POST /control/release                                     lets go what `hold` holds
"""

import base64
import datetime
import decimal
import gzip
import hashlib
import itertools
import json
import re
import sys
import threading
import time
import urllib.parse
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pyarrow
import sqlglot
from cryptography.hazmat.primitives.serialization import load_der_public_key
from fakesnow.instance import FakeSnow
from fakesnow.rowtype import describe_as_rowtype
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp

warnings.filterwarnings("ignore")
# Five hundred keys are a deep tree.
sys.setrecursionlimit(20_000)

FAULTS = {
    # Rows of a partition; the first one, which comes with the metadata, has at most first_rows.
    "partition_rows": 10_000,
    "first_rows": 1000,
    # How many times a statement is still running when it is asked for.
    "polls": 0,
    # The same for statements that take a warehouse only.
    "query_polls": 0,
    # How many seconds it takes to cancel a statement, and to refuse a sign-in.
    "cancel_seconds": 0,
    "refusal_seconds": 0,
    # Answers to the next submissions, to those of them that take a warehouse, or to the next polls,
    # one each: {"status", "code", "message", "headers"}, or in place of code and message the whole
    # "body" as text; status 0: the connection breaks.
    "submit": [],
    "query": [],
    "poll": [],
    # By the number of a partition: what is sent in its place, as text, or the number of the one
    # whose rows are.
    "bodies": {},
    "instead": {},
    # By the number of a partition: how many more times it is not ready (202), gone (404), cut
    # short, or short of rows.
    "late": {},
    "gone": {},
    "cut": {},
    "torn": {},
    # The partition whose body stands still after its first half, until released.
    "hold": None,
    # Warehouses that are there; the role may use all of them.
    "warehouses": ["LOAD_WH"],
    # Roles that the user has, besides none.
    "roles": ["READER"],
    # Whether SYSTEM$LAST_CHANGE_COMMIT_TIME is refused, and whether it tells no change of rows any
    # more.
    "no_last_change": False,
    "same_last_change": False,
    # Rows hash to other numbers with another salt, as with another release of Snowflake.
    "salt": "",
    # What is added to this server's clock, in seconds.
    "clock": 0,
}

# Columns of SHOW OBJECTS that say Y of tables of a special kind.
SPECIAL = ("is_hybrid", "is_dynamic", "is_iceberg")

lock = threading.RLock()
faults = json.loads(json.dumps(FAULTS))
users = {}
log = []
results = {}
requests_seen = {}
tables = {}
changes = itertools.count(1_700_000_000_000_000_000, 1)
last_change = {}
released = threading.Event()
fake = FakeSnow()
connection = fake.connect("DB", "PUBLIC")
handles = itertools.count(1)


class Broken(Exception):
    pass


class Refused(Exception):
    def __init__(self, status, code, message, headers=None, body=None):
        self.status, self.code, self.message = status, code, message
        self.headers, self.body = headers or {}, body


def key_of(cell, kind):
    """A cell as something that compares as Snowflake compares it."""
    if cell is None:
        return None
    if kind == "fixed":
        return decimal.Decimal(cell)
    if kind == "real":
        return float(cell)
    if kind == "date":
        return int(cell)
    if kind.startswith("time"):
        return nanos(cell.split(" ")[0])
    if kind == "boolean":
        return cell == "true"
    return cell.encode()


def nanos(text):
    return int(decimal.Decimal(text).scaleb(9))


def bound(binding):
    """A bound value, likewise."""
    kind, value = binding["type"].lower(), binding["value"]
    assert value is None or isinstance(value, str), "bound values are strings"
    if kind == "fixed" and not re.fullmatch(r"-?[\d.]+", value):
        raise Refused(422, "100038", f"Numeric value '{value}' is not recognized")
    if kind == "date":
        return kind, int(value) // 86_400_000
    if kind.startswith("time"):
        return kind, int(value.split(" ")[0])
    return kind, key_of(value, kind)


class Table:
    """A table that is kept cell by cell."""

    def __init__(self, spec):
        self.columns = [(name, kind, scale) for name, kind, scale in spec["columns"]]
        self.rows = [tuple(row) for row in spec["rows"]]
        self.key = spec.get("key", [])
        self.parts = spec["name"]
        self.object = {"kind": "TABLE", **dict.fromkeys(SPECIAL, "N"), **spec.get("object", {})}
        self.virtual = spec.get("virtual", [])
        self.no_last_change = spec.get("no_last_change", False)

    def index(self, name):
        for at, column in enumerate(self.columns):
            if column[0] == name:
                return at
        raise Refused(422, "000904", f"SQL compilation error: invalid identifier '{name}'")

    def select(self, tree, binds):
        binds = iter(binds)
        where, order = tree.args.get("where"), tree.args.get("order")
        picked = self.projection(tree)
        test = self.condition(where.this, binds) if where else lambda row: True
        rows = [row for row in self.rows if test(row)]
        for term in reversed(order.expressions if order else []):
            assert not term.args.get("desc")
            value = self.operand(term.this)
            rows.sort(key=lambda row: (0,) if value(row) is None else (1, value(row)))
        columns = [column for column, _ in picked]
        return columns, [tuple(cell(row) for _, cell in picked) for row in rows]

    def projection(self, tree):
        picked = []
        for item in tree.expressions:
            if isinstance(item, exp.Star):
                assert not item.args.get("replace")
                for at, (name, kind, scale) in enumerate(self.columns):
                    picked.append(((name, kind, scale), lambda row, at=at: row[at]))
            elif isinstance(item, exp.Column):
                at = self.index(item.name)
                picked.append((self.columns[at], lambda row, at=at: row[at]))
            else:
                assert item.sql("snowflake") == "HASH(*)", item.sql("snowflake")
                picked.append((("HASH(*)", "fixed", 0), lambda row: str(row_hash(row))))
        return picked

    def operand(self, node):
        if isinstance(node, exp.Column):
            at = self.index(node.name)
            kind = self.columns[at][1]
            return lambda row: key_of(row[at], kind)
        assert node.sql("snowflake") == "HASH(*)", node.sql("snowflake")
        return row_hash

    def keys(self, node, binds):
        """A test for rows with certain keys: `A = ? AND B = ? OR A = ? AND B = ? ...`."""
        terms = [node]
        while isinstance(terms[0], exp.Or):
            terms[:1] = [terms[0].left, terms[0].right]
        parts = [list(term.flatten()) if isinstance(term, exp.And) else [term] for term in terms]
        if len(parts) < 2 or not all(isinstance(part, exp.EQ) for term in parts for part in term):
            return None
        values = [self.operand(part.this) for part in parts[0]]
        wanted = {tuple(next(binds)[1] for _ in term) for term in parts}
        return lambda row: tuple(value(row) for value in values) in wanted

    def condition(self, node, binds):
        if isinstance(node, exp.Or) and (test := self.keys(node, binds)):
            return test
        if isinstance(node, exp.Paren):
            return self.condition(node.this, binds)
        if isinstance(node, (exp.And, exp.Or)):
            left, right = self.condition(node.left, binds), self.condition(node.right, binds)
            if isinstance(node, exp.And):
                return lambda row: left(row) and right(row)
            return lambda row: left(row) or right(row)
        if isinstance(node, exp.Not):
            inner = self.condition(node.this, binds)
            return lambda row: not inner(row)
        value = self.operand(node.this)
        if isinstance(node, exp.Is):
            return lambda row: value(row) is None
        kind, other = next(binds)
        own = self.columns[self.index(node.this.name)][1]
        if own != kind:
            raise Refused(422, "002023", f"a {kind} is compared with a {own}")
        compare = {
            exp.GT: lambda a, b: a > b,
            exp.GTE: lambda a, b: a >= b,
            exp.LTE: lambda a, b: a <= b,
            exp.EQ: lambda a, b: a == b,
        }[type(node)]
        return lambda row: value(row) is not None and compare(value(row), other)


def row_hash(row):
    digest = hashlib.sha256((faults["salt"] + json.dumps(row)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def table_of(name):
    """The exact table of a quoted name, if there is one."""
    parts = re.findall(r'"((?:[^"]|"")+)"', name)
    return tables.get(tuple(part.replace('""', '"') for part in parts))


def known_database(name):
    parts = re.findall(r'"((?:[^"]|"")+)"', name)
    return any(key[0] == parts[0] for key in tables)


def execute(statement, bindings):
    """Columns and rows of a statement, and whether it takes a warehouse."""
    binds = [bindings[str(at)] for at in range(1, len(bindings) + 1)]
    if found := re.fullmatch(r"SELECT SYSTEM\$LAST_CHANGE_COMMIT_TIME\('((?:[^']|'')*)'\)", statement):
        name = found[1].replace("''", "'")
        table = table_of(name)
        if faults["no_last_change"] or (table and table.no_last_change):
            raise Refused(422, "001044", "SQL compilation error: not supported for this object")
        key = tuple(part.replace('""', '"') for part in re.findall(r'"((?:[^"]|"")+)"', name))
        if key not in last_change:
            run_fakesnow(f"SELECT 1 FROM {name} LIMIT 0", [])
        return [("TOKEN", "fixed", 0)], [(str(last_change.get(key, last_change.get("*", 0))),)], False
    if found := re.fullmatch(r"DESCRIBE TABLE (.*)", statement, re.S):
        if table := table_of(found[1]):
            columns = [(name, "text", None) for name in ("name", "type", "kind", "null?")]
            role = lambda name: "VIRTUAL" if name in table.virtual else "COLUMN"
            rows = [(name, catalogue(kind, scale), role(name), "Y") for name, kind, scale in table.columns]
            return columns, rows, False
    if found := re.fullmatch(r"SHOW PRIMARY KEYS IN TABLE (.*)", statement, re.S):
        if table := table_of(found[1]):
            columns = [("column_name", "text", None), ("key_sequence", "fixed", 0)]
            return columns, [(name, str(at + 1)) for at, name in enumerate(table.key)], False
    if found := re.fullmatch(r"SHOW WAREHOUSES LIKE '(.*)'", statement):
        columns = [("name", "text", None), ("state", "text", None)]
        rows = [(name, "SUSPENDED") for name in faults["warehouses"] if name.upper() == found[1].upper()]
        return columns, rows, False
    if found := re.fullmatch(r"(SHOW (\w+)(?: IN \w+ .*?)?)(?: LIMIT (\d+))?(?: FROM '((?:[^']|'')*)')?", statement, re.S):
        return (*show(found), False)
    tree = sqlglot.parse_one(statement, read="snowflake")
    source = tree.find(exp.Table)
    if isinstance(tree, exp.Select) and source is not None:
        if table := table_of(source.sql("snowflake", identify=True)):
            limit = tree.args.get("limit")
            columns, rows = table.select(tree, [bound(bind) for bind in binds])
            return columns, rows[: int(limit.expression.name)] if limit else rows, True
    return (*run_fakesnow(statement, binds), isinstance(tree, exp.Select))


def catalogue(kind, scale):
    return {
        "fixed": f"NUMBER(38,{scale or 0})",
        "real": "FLOAT",
        "text": "VARCHAR(16777216)",
    }.get(kind, f"{kind.upper()}(9)" if kind.startswith("time") else kind.upper())


def is_there(within):
    """Whether there is such a database, or schema in a database, of either kind of tables."""
    if not 1 <= len(within) <= 2 or any(list(key[: len(within)]) == within for key in tables):
        return True
    siblings = ["SHOW DATABASES", f'SHOW SCHEMAS IN DATABASE "{within[0]}"'][len(within) - 1]
    columns, rows = run_fakesnow(siblings, [])
    at = [column[0] for column in columns].index("name")
    return any(row[at] == within[-1] for row in rows)


def show(found):
    """SHOW, of both kinds of tables, with LIMIT and FROM, which fakesnow overlooks."""
    text, what, limit, after = found[1], found[2], found[3], found[4]
    within = re.findall(r'"((?:[^"]|"")+)"', text)
    if not is_there(within):
        raise Refused(422, "002043", "SQL compilation error: Object does not exist, or operation cannot be performed.")
    flags = SPECIAL if what == "OBJECTS" else ()
    columns = [(name, "text", None) for name in ("name", "kind", *flags)]
    rows = []
    try:
        shown, all_rows = run_fakesnow(text, [])
        names = [column[0] for column in shown]
        at, kind = names.index("name"), names.index("kind") if "kind" in names else None
        rows = [(row[at], row[kind] if kind is not None else None, *("N" for _ in flags)) for row in all_rows]
    except Refused:
        if not any(list(key[: len(within)]) == within for key in tables):
            raise
    depth = {"DATABASES": 0, "SCHEMAS": 1, "OBJECTS": 2}.get(what)
    if depth is not None:
        told = lambda table: [table.object[name] for name in ("kind", *flags)]
        rows += [(key[depth], *told(table)) for key, table in tables.items() if list(key[:depth]) == within]
    rows = sorted(set(rows), key=lambda row: row[0])
    if after is not None:
        rows = [row for row in rows if row[0] > after.replace("''", "'")]
    return columns, rows[: int(limit or 10_000)]


def run_fakesnow(statement, binds):
    with lock:
        cursor = connection.cursor()
        params = tuple(python_value(bind) for bind in binds) or None
        try:
            # DuckDB hashes columns, not rows.
            if "HASH(*)" in statement:
                source = sqlglot.parse_one(statement, read="snowflake").find(exp.Table)
                cursor.execute(f"SELECT * FROM {source.sql('snowflake', identify=True)} LIMIT 0", server=True)
                names = [column["name"] for column in describe_as_rowtype(cursor._describe_last_sql())]
                quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
                statement = statement.replace("HASH(*)", f"HASH({quoted})")
            cursor.execute(statement, binding_params=params, server=True)
            described = describe_as_rowtype(cursor._describe_last_sql())
        except ProgrammingError as error:
            raise Refused(422, f"{error.errno:06d}", error.msg) from None
        columns = [(column["name"], column["type"], column.get("scale")) for column in described]
        arrow = cursor._arrow_table
        cells = [column_cells(arrow.column(at), column[1]) for at, column in enumerate(columns)]
        return columns, list(zip(*cells)) if cells else []


def python_value(binding):
    kind, value = binding["type"], binding["value"]
    if kind == "FIXED":
        return decimal.Decimal(value)
    if kind == "REAL":
        return float(value)
    if kind == "BOOLEAN":
        return value == "true"
    epoch = datetime.datetime(1970, 1, 1)
    if kind == "DATE":
        return (epoch + datetime.timedelta(milliseconds=int(value))).date()
    if kind == "BINARY":
        return bytes.fromhex(value)
    if kind.startswith("TIMESTAMP"):
        moment = epoch + datetime.timedelta(microseconds=int(value.split(" ")[0]) // 1000)
        return moment if kind == "TIMESTAMP_NTZ" else moment.replace(tzinfo=datetime.timezone.utc)
    return value


def column_cells(column, kind):
    if kind == "date":
        return [None if v is None else str(v) for v in column.cast(pyarrow.int32()).to_pylist()]
    if kind.startswith("timestamp"):
        unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
        zone = "" if kind != "timestamp_tz" else " 1440"
        return [None if v is None else f"{decimal.Decimal(v) / unit:.9f}{zone}" for v in column.cast(pyarrow.int64()).to_pylist()]
    values = column.to_pylist()
    if kind == "time":
        return [None if v is None else f"{v.hour * 3600 + v.minute * 60 + v.second}.{v.microsecond:06d}000" for v in values]
    if kind == "binary":
        return [None if v is None else v.hex().upper() for v in values]
    if kind == "boolean":
        return [None if v is None else str(v).lower() for v in values]
    return [v if v is None or isinstance(v, str) else str(v) for v in values]


class Result:
    def __init__(self, columns, rows, takes_warehouse):
        self.columns, self.rows = columns, rows
        self.polls = faults["polls"] or (takes_warehouse and faults["query_polls"])
        self.cancelled = False
        sizes = [min(len(rows), faults["first_rows"])]
        while sum(sizes) < len(rows):
            sizes.append(min(len(rows) - sum(sizes), faults["partition_rows"]))
        ends = list(itertools.accumulate(sizes))
        self.spans = list(zip([0, *ends], ends))
        self.packed = {}

    def partition(self, at):
        start, end = self.spans[at]
        return self.rows[start:end]


def meta(handle, result):
    row_type = [
        {"name": name, "type": kind, "scale": scale, "nullable": True, "collation": None}
        for name, kind, scale in result.columns
    ]
    return {
        "resultSetMetaData": {
            "numRows": len(result.rows),
            "format": "jsonv2",
            "partitionInfo": [{"rowCount": end - start, "uncompressedSize": 0} for start, end in result.spans],
            "rowType": row_type,
        },
        "code": "090001",
        "statementStatusUrl": f"/api/v2/statements/{handle}",
        "sqlState": "00000",
        "message": "Statement executed successfully.",
        "createdOn": int((time.time() + faults["clock"]) * 1000),
        "statementHandle": handle,
    }


def authenticate(headers):
    token = headers.get("Authorization", "").removeprefix("Bearer ")
    kind = headers.get("X-Snowflake-Authorization-Token-Type")
    if kind == "PROGRAMMATIC_ACCESS_TOKEN":
        for user, known in users.items():
            if token in known.get("tokens", []):
                return user
        raise Refused(401, "390144", "Programmatic access token is invalid.")
    if kind != "KEYPAIR_JWT":
        raise Refused(400, "390000", f"unknown token type {kind}")
    invalid = Refused(401, "390144", "JWT token is invalid.")
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise invalid from None
    user = claims.get("sub", "")
    key = users.get(user, {}).get("key")
    if not key:
        raise invalid
    der = base64.b64decode(key)
    print_of_key = "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode()
    try:
        claims = jwt.decode(
            token, load_der_public_key(der), algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False},
        )
    except jwt.PyJWTError:
        raise invalid from None
    now = time.time() + faults["clock"]
    if now > claims["exp"]:
        raise Refused(401, "390144", "JWT token has expired.")
    if claims["iss"] != f"{user}.{print_of_key}" or not claims["iat"] <= now <= claims["exp"] or claims["exp"] - claims["iat"] > 3600:
        raise invalid
    return user


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.handle_any()

    def do_POST(self):
        self.handle_any()

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path.startswith("/control/"):
            return self.control(url.path, json.loads(body or b"null"))
        entry = {"method": self.command, "path": url.path, "query": query}
        with lock:
            log.append(entry)
        try:
            if not self.headers.get("User-Agent", "").startswith("catchment/"):
                raise Refused(400, "390000", "no User-Agent")
            entry["token"] = hashlib.sha256(self.headers.get("Authorization", "").encode()).hexdigest()[:12]
            entry["user"] = authenticate(self.headers)
            self.api(url.path, query, body, entry)
        except Broken:
            entry["status"], self.close_connection = 0, True
        except Refused as refused:
            entry["status"], entry["code"] = refused.status, refused.code
            time.sleep(faults["refusal_seconds"] if refused.status == 401 else 0)
            if refused.body is not None:
                return self.send(refused.status, refused.body.encode(), refused.headers)
            self.answer(refused.status, {"code": refused.code, "message": refused.message, "sqlState": "42000"}, refused.headers)

    def api(self, path, query, body, entry):
        parts = path.strip("/").split("/")
        assert parts[:3] == ["api", "v2", "statements"], path
        if self.command == "POST" and len(parts) == 3:
            return self.submit(query, json.loads(body), entry)
        handle = parts[3]
        result = results.get(handle)
        if result is None:
            raise Refused(404, "000709", f"Statement {handle} not found")
        if self.command == "POST" and parts[4:] == ["cancel"]:
            result.cancelled = True
            time.sleep(faults["cancel_seconds"])
            entry["status"] = 200
            return self.answer(200, {"code": "000604", "message": "successfully canceled", "statementHandle": handle})
        self.fetch(handle, result, int(query.get("partition", -1)), entry)

    def scripted(self, which):
        with lock:
            if faults[which]:
                wanted = faults[which].pop(0)
                if wanted and wanted["status"] == 0:
                    raise Broken
                if wanted:
                    raise Refused(wanted["status"], wanted.get("code", ""), wanted.get("message", ""), wanted.get("headers"), wanted.get("body"))

    def submit(self, query, body, entry):
        entry["statement"], entry["bindings"] = body["statement"], body.get("bindings", {})
        entry["timeout"], entry["warehouse"] = body["timeout"], body.get("warehouse")
        entry["role"], entry["parameters"] = body.get("role"), body["parameters"]
        self.scripted("submit")
        if body.get("role") is not None and body["role"] not in faults["roles"]:
            raise Refused(422, "390189", f"Role '{body['role']}' specified in the connect string is not granted to this user.")
        with lock:
            handle = requests_seen.get(query["requestId"]) if query.get("retry") == "true" else None
            entry["executed"] = handle is None
            if handle is None:
                columns, rows, takes_warehouse = execute(body["statement"], body.get("bindings", {}))
                entry["takes_warehouse"] = takes_warehouse
                if takes_warehouse:
                    self.scripted("query")
                if takes_warehouse and body.get("warehouse") not in faults["warehouses"]:
                    raise Refused(422, "390201", "The requested warehouse does not exist or not authorized.")
                handle = f"01b00000-0000-0000-0000-{next(handles):012d}"
                results[handle] = Result(columns, rows, takes_warehouse)
                requests_seen[query["requestId"]] = handle
        entry["handle"], result = handle, results[handle]
        if query.get("async") == "true" or result.polls:
            entry["status"] = 202
            return self.running(handle)
        entry["status"] = 200
        self.answer(200, {**meta(handle, result), "data": result.partition(0)})

    def running(self, handle):
        self.answer(202, {
            "code": "333334",
            "message": "Asynchronous execution in progress. Use provided query id to perform query monitoring and management.",
            "statementHandle": handle,
            "statementStatusUrl": f"/api/v2/statements/{handle}",
        })

    def fetch(self, handle, result, partition, entry):
        entry["handle"] = handle
        self.scripted("poll")
        if result.cancelled:
            raise Refused(422, "000604", "SQL execution canceled")
        if result.polls:
            result.polls -= 1
            entry["status"] = 202
            return self.running(handle)
        at = max(partition, 0)
        if at >= len(result.spans):
            raise Refused(400, "391904", "no such partition")
        if self.counts_down("late", at):
            entry["status"] = 202
            return self.running(handle)
        if self.counts_down("gone", at):
            raise Refused(404, "000709", f"Statement {handle} not found")
        rows = result.partition(faults["instead"].get(str(at), at))
        if self.counts_down("torn", at):
            rows = rows[:-1]
        entry["status"] = 200
        if str(at) in faults["bodies"]:
            body, headers = faults["bodies"][str(at)].encode(), {}
        elif at == 0:
            body, headers = json.dumps({**meta(handle, result), "data": rows}).encode(), {}
        else:
            body = result.packed.get(at) or gzip.compress(json.dumps({"data": rows}).encode(), 1)
            headers = {"Content-Encoding": "gzip"}
            if not faults["torn"] and not faults["instead"]:
                result.packed[at] = body
        self.send(200, body, headers, cut=self.counts_down("cut", at), hold=faults["hold"] == at)

    def counts_down(self, fault, at):
        with lock:
            left = faults[fault].get(str(at), 0)
            if left:
                faults[fault][str(at)] = left - 1
            return left > 0

    def answer(self, status, body, headers=None):
        self.send(status, json.dumps(body).encode(), headers or {})

    def send(self, status, body, headers, cut=False, hold=False):
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            half = len(body) // 2
            if hold:
                self.wfile.write(body[:half])
                self.wfile.flush()
                released.wait()
                body = body[half:]
            self.wfile.write(body[:half] if cut else body)
            self.wfile.flush()
            self.close_connection = self.close_connection or cut
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() + faults["clock"])

    def control(self, path, body):
        told = {}
        with lock:
            if path == "/control/sql":
                for statement in body["sql"]:
                    connection.cursor().execute(statement)
                last_change["*"] = next(changes)
            elif path == "/control/table":
                key = tuple(body["name"])
                tables[key] = Table(body)
                last_change[key] = next(changes)
            elif path == "/control/many":
                for at in range(body["count"]):
                    name = [*body["schema"], f"T{at:05}"]
                    tables[tuple(name)] = Table({"name": name, "columns": [], "rows": []})
            elif path == "/control/rows":
                key = tuple(body["name"])
                table = tables[key]
                at = [table.index(name) for name in table.key] or range(len(table.columns))
                gone = {tuple(cells) for cells in body.get("delete", [])}
                table.rows = [row for row in table.rows if tuple(row[i] for i in at) not in gone]
                table.rows += [tuple(row) for row in body.get("insert", [])]
                if not faults["same_last_change"]:
                    last_change[key] = next(changes)
            elif path == "/control/faults":
                faults.update(body)
                if body.get("hold") is not None:
                    released.clear()
            elif path == "/control/users":
                users.update(body)
            elif path == "/control/release":
                released.set()
            elif path == "/control/forget":
                results.clear()
            elif path == "/control/log":
                told = log
            else:
                return self.answer(404, {})
        self.answer(200, told)


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    sys.stdin.read()


main()
