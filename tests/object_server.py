"""moto's server, which speaks S3 over HTTP, as a process of its own."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import boto3

if TYPE_CHECKING:
    import pytest

BUCKET = "results"


class ObjectServer:
    """The server, from entering to leaving the block; `port` is where it listens."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        command = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in self._process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                break
        threading.Thread(target=self._process.stderr.read, daemon=True).start()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "AKIATESTING",
            "AWS_SECRET_ACCESS_KEY": "s3cr3tOfTheTests",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            self._patch.setenv(name, value)
        self.client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.port}", region_name="us-east-1")
        self.client.create_bucket(Bucket=BUCKET)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def new_prefix(self) -> str:
        """Return a prefix that nobody else uses."""
        return f"s3://{BUCKET}/tests/{next(self._numbers)}"

    def url(self, prefix: str, port: int | None = None, **options: object) -> str:
        """Return the URL of a prefix on this server, or on a proxy's port."""
        given = {"endpoint_override": f"127.0.0.1:{port or self.port}", "scheme": "http", **options}
        return prefix + "?" + "&".join(f"{name}={value}" for name, value in given.items())

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below a prefix, without those that stand for folders."""
        inside = prefix.removeprefix(f"s3://{BUCKET}/") + "/"
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=inside)
        found = (entry["Key"] for page in pages for entry in page.get("Contents", ()))
        return sorted(key.removeprefix(inside) for key in found if not key.endswith("/"))
