"""Fills an S3 server with boto3, a client that is not Catchment's own.

Reads one JSON request from standard input and answers with one JSON value on standard output:

    {"endpoint": URL, "access_key": S, "secret_key": S, "bucket": S, "steps": [STEP, ...]}

A STEP is {"do": NAME, ...} with one of

    create_bucket                                   waits until the server takes buckets
    put            key, content (base64), optionally content_type, metadata, storage_class, tagging
    put_multipart  key, file, part_size             the bytes of a file on this disk
    delete         key
    get            key, optionally range            answers {"content": base64}
    list                                            answers [{"key", "size", "etag"}, ...]

The answer is one list with a result for each step: null, the listing, or {"error": S} where the
server refused a put or get. A refusal is a fact about the peer, so it is reported, not raised.
"""

import base64
import json
import pathlib
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


def create_bucket(client, bucket: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="ready", Body=b"ready")
            client.delete_object(Bucket=bucket, Key="ready")
            return
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def put(client, bucket: str, step: dict) -> dict | None:
    optional = {
        "ContentType": step.get("content_type"),
        "Metadata": step.get("metadata"),
        "StorageClass": step.get("storage_class"),
        "Tagging": step.get("tagging"),
    }
    try:
        client.put_object(
            Bucket=bucket,
            Key=step["key"],
            Body=base64.b64decode(step["content"]),
            **{name: value for name, value in optional.items() if value is not None},
        )
    except (BotoCoreError, ClientError) as error:
        return {"error": str(error)}
    return None


def get(client, bucket: str, step: dict) -> dict:
    ranged = {"Range": step["range"]} if "range" in step else {}
    try:
        content = client.get_object(Bucket=bucket, Key=step["key"], **ranged)["Body"].read()
    except (BotoCoreError, ClientError) as error:
        return {"error": str(error)}
    return {"content": base64.b64encode(content).decode()}


def put_multipart(client, bucket: str, step: dict) -> None:
    content = pathlib.Path(step["file"]).read_bytes()
    where = {"Bucket": bucket, "Key": step["key"]}
    upload = client.create_multipart_upload(**where)["UploadId"]
    parts = []
    for number, start in enumerate(range(0, len(content), step["part_size"]), 1):
        body = content[start : start + step["part_size"]]
        answer = client.upload_part(**where, UploadId=upload, PartNumber=number, Body=body)
        parts.append({"ETag": answer["ETag"], "PartNumber": number})
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})


def listing(client, bucket: str) -> list[dict]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [
        {"key": found["Key"], "size": found["Size"], "etag": found["ETag"]}
        for page in pages
        for found in page.get("Contents", [])
    ]


def main() -> None:
    request = json.load(sys.stdin)
    client = boto3.client(
        "s3",
        endpoint_url=request["endpoint"],
        aws_access_key_id=request["access_key"],
        aws_secret_access_key=request["secret_key"],
        region_name="us-east-1",
        # A server that closes a connection while it is busy is asked again: that is no test of
        # ours.
        config=Config(
            s3={"addressing_style": "path"},
            retries={"mode": "standard", "total_max_attempts": 8},
        ),
    )
    bucket, answers = request["bucket"], []
    for step in request["steps"]:
        match step["do"]:
            case "create_bucket":
                answers.append(create_bucket(client, bucket))
            case "put":
                answers.append(put(client, bucket, step))
            case "put_multipart":
                answers.append(put_multipart(client, bucket, step))
            case "delete":
                answers.append(client.delete_object(Bucket=bucket, Key=step["key"]) and None)
            case "get":
                answers.append(get(client, bucket, step))
            case "list":
                answers.append(listing(client, bucket))
            case unknown:
                sys.exit(f"prepare.py has no step {unknown!r}")
    json.dump(answers, sys.stdout)


main()
