"""The URL of a store on S3: the bucket, the prefix, and how to reach the server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from workers.store.files import StoreError
from workers.store.lease import LEASE_SECONDS, MIN_LEASE_SECONDS

SET_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,253}[a-z0-9]", re.IGNORECASE)
_OPTIONS = {
    "endpoint_override": (r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]+)?", "host or host:port"),
    "scheme": ("https?", "http or https"),
    "region": ("[A-Za-z0-9-]+", "a region, such as eu-central-1"),
    "lease_seconds": (r"[0-9]+(\.[0-9]+)?", "a number of seconds"),
}


@dataclass(frozen=True)
class ObjectPlace:
    """A bucket and a prefix in it, and how to reach its server; without credentials."""

    bucket: str
    prefix: str
    endpoint: str | None = None
    scheme: str = "https"
    region: str | None = None
    lease_seconds: float = LEASE_SECONDS

    @classmethod
    def from_url(cls, url: str) -> ObjectPlace:
        """Return the place that an `s3://bucket/prefix?option=value` URL names. Raises StoreError for other URLs."""
        parts = urlsplit(url)
        # No message repeats the URL: it may hold a password.
        if "@" in parts.netloc:
            raise StoreError(f"a URL with credentials is refused, for it ends up in logs; {SET_CREDENTIALS}")
        if parts.fragment or not _BUCKET.fullmatch(parts.netloc):
            shown = repr(quote(parts.netloc)) if parts.netloc else "the s3 URL"
            raise StoreError(f"no bucket's name in {shown}; write s3://bucket/prefix")
        prefix = parts.path.strip("/")
        if any(part in {"", ".", ".."} for part in prefix.split("/")) and prefix:
            raise StoreError(f"{prefix!r} is not a prefix; write s3://bucket/prefix, without '.' and '..'")
        options = _checked_options(dict(parse_qsl(parts.query, keep_blank_values=True)))
        return cls(
            parts.netloc,
            prefix,
            endpoint=options.get("endpoint_override"),
            scheme=options.get("scheme", "https"),
            region=options.get("region"),
            lease_seconds=float(options.get("lease_seconds", LEASE_SECONDS)),
        )

    def __str__(self) -> str:
        options = {
            "endpoint_override": self.endpoint,
            "scheme": None if self.scheme == "https" else self.scheme,
            "region": self.region,
            "lease_seconds": None if self.lease_seconds == LEASE_SECONDS else f"{self.lease_seconds:g}",
        }
        query = urlencode({name: value for name, value in options.items() if value is not None}, safe=":[]")
        return self.of("") + (f"?{query}" if query else "")

    def of(self, name: str) -> str:
        """Return an object's URL, for messages."""
        return "s3://" + "/".join(part for part in (self.bucket, self.prefix, name) if part)


def _checked_options(options: dict[str, str]) -> dict[str, str]:
    for name, value in options.items():
        if name not in _OPTIONS:
            raise StoreError(f"no option {name!r} in an s3 URL; the options are {', '.join(_OPTIONS)}")
        pattern, wanted = _OPTIONS[name]
        if not re.fullmatch(pattern, value):
            raise StoreError(f"{name} in the s3 URL must be {wanted}")
    if float(options.get("lease_seconds", LEASE_SECONDS)) < MIN_LEASE_SECONDS:
        raise StoreError(f"lease_seconds in the s3 URL must be {MIN_LEASE_SECONDS:g} or more")
    return options
