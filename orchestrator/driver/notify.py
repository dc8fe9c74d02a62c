"""Notifications of a sweep's end, by a webhook or by a command that the owner of the machine has defined.

A failed notification does not change the sweep. An address or a command may contain a secret, so messages name the host
or the variable and never the variable's value.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from orchestrator.spec.running import FAILED, FINISHED, GATE_BROKEN
from orchestrator.sweeps.status import count_states
from orchestrator.sweeps.sweep import report_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.spec.running import NotifySection
    from orchestrator.sweeps.status import TrialStatus
    from orchestrator.sweeps.sweep import Sweep

TOO_MANY_REQUESTS, SERVER_ERROR, REDIRECTS = 429, 500, range(300, 400)


@dataclass(frozen=True)
class Notification:
    """The content of a notification: the event, a message for people, and the location of the report.

    `counts` are the sweep's trials by state; for a broken quality gate, the checks by outcome.
    """

    sweep: str
    event: str
    message: str
    counts: Mapping[str, int]
    report: str

    def to_json(self) -> bytes:
        """Return it as JSON; `text` repeats the message, for chat programs."""
        return json.dumps({**asdict(self), "text": self.message}, ensure_ascii=False).encode()


def end_of(sweep: Sweep, statuses: Mapping[str, TrialStatus], *, finished: bool) -> Notification:
    """Return the notification that a sweep has finished, or has ended unfinished."""
    counts = count_states(statuses.values())
    listed = ", ".join(f"{count:,} {state}" for state, count in counts.items())
    message = f"{sweep.name} has {'finished' if finished else 'ended unfinished'}: {listed}"
    if lacking := sum(bool(status.failed_metrics) for status in statuses.values()):
        message += f" ({lacking:,} lack results of metrics that failed)"
    return Notification(sweep.name, FINISHED if finished else FAILED, message, counts, str(report_folder(sweep)))


def broken_gate(sweep: Sweep, reference: str, outcomes: Iterable[str]) -> Notification:
    """Return the notification that a sweep disagrees with a reference, given the outcomes of all checks."""
    counts = dict(Counter(outcomes))
    message = f"{sweep.name} disagrees with {reference}: {', '.join(f'{n:,} {name}' for name, n in counts.items())}"
    return Notification(sweep.name, GATE_BROKEN, message, counts, str(report_folder(sweep)))


@dataclass(frozen=True)
class SendLimits:
    """The time limit of an attempt in seconds, and the pause before each attempt after the first."""

    seconds: float = 10.0
    pauses: tuple[float, ...] = (1.0, 5.0)

    @property
    def in_all(self) -> float:
        """The time limit of all attempts and pauses, with one attempt's to spare."""
        return (2 + len(self.pauses)) * self.seconds + sum(self.pauses)


class _UndeliveredError(Exception):
    """The notification did not arrive; `transient` if another attempt may succeed."""

    def __init__(self, reason: str, *, transient: bool = False) -> None:
        super().__init__(reason)
        self.transient = transient


def notify(
    section: NotifySection | None,
    notification: Notification,
    environment: Mapping[str, str],
    limits: SendLimits | None = None,
) -> str | None:
    """Notify the receiver in a spec, if it asks for this event. Never raises; returns a message on failure.

    A webhook gets up to three attempts, a command one.
    """
    if section is None or notification.event not in section.on:
        return None
    limits = limits or SendLimits()
    try:
        if section.command:
            _run(_command(section.command, environment), notification.to_json(), limits.seconds)
        else:
            _send(_address(section, environment), notification.to_json(), limits)
    except _UndeliveredError as error:
        return f"notification failed ({notification.message}): {error}"
    return None


def why_undeliverable(section: NotifySection | None, environment: Mapping[str, str]) -> str | None:
    """Return why notifications would fail on this machine, or None where no reason is known."""
    try:
        if section is not None and section.command:
            _command(section.command, environment)
        elif section is not None:
            _address(section, environment)
    except _UndeliveredError as error:
        return f"notifications will fail: {error}"
    return None


def _address(section: NotifySection, environment: Mapping[str, str]) -> str:
    name = section.url_from or ""
    address = _value(name, environment)
    if not _is_web_address(address):
        raise _UndeliveredError(f"the variable {name} is not a web address; it must begin with http:// or https://")
    return address


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        well_formed = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return well_formed and parts.scheme in {"http", "https"} and re.fullmatch("[!-~]+", text) is not None


def _command(name: str, environment: Mapping[str, str]) -> list[str]:
    try:
        arguments = shlex.split(_value(name, environment))
    except ValueError as error:
        raise _UndeliveredError(f"the command in the variable {name} cannot be read: {error}") from error
    if not arguments:
        raise _UndeliveredError(f"the variable {name} contains no command")
    return arguments


def _value(name: str, environment: Mapping[str, str]) -> str:
    if not environment.get(name, "").strip():
        raise _UndeliveredError(f"the variable {name} is not set where the sweep is run")
    return environment[name].strip()


def _send(address: str, content: bytes, limits: SendLimits) -> None:
    """Send by POST, in a thread: a socket's timeout limits neither a name lookup nor a slow response as a whole."""
    ended: list[_UndeliveredError | None] = []

    def deliver() -> None:
        try:
            _try_to_post(_request(address, content), limits)
            ended.append(None)
        except _UndeliveredError as error:
            ended.append(error)

    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    thread.join(limits.in_all)
    reason = ended[0] if ended else _UndeliveredError(f"no answer within {limits.in_all:g} s")
    if reason is not None:
        raise _UndeliveredError(f"{urlsplit(address).hostname}: {reason}")


def _try_to_post(request: Request, limits: SendLimits) -> None:
    for pause in limits.pauses:
        try:
            return _post(request, limits.seconds)
        except _UndeliveredError as error:
            if not error.transient:
                raise
        time.sleep(pause)
    return _post(request, limits.seconds)


def _request(address: str, content: bytes) -> Request:
    parts = urlsplit(address)
    headers = {"Content-Type": "application/json", "User-Agent": "mrvae-orch"}
    if parts.username or parts.password:
        user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    return Request(plain, data=content, headers=headers, method="POST")  # noqa: S310 (http or https, as checked)


class _NoRedirects(HTTPRedirectHandler):
    """Follows no redirect: it could lead to a host that nobody has configured, and a POST would arrive as a GET."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _post(request: Request, seconds: float) -> None:
    try:
        build_opener(_NoRedirects).open(request, timeout=seconds).close()
    except HTTPError as error:
        error.close()
        if error.code in REDIRECTS:
            raise _UndeliveredError(
                f"it redirects ({error.code}), which is not followed; give the final address"
            ) from None
        transient = error.code == TOO_MANY_REQUESTS or error.code >= SERVER_ERROR
        raise _UndeliveredError(f"it answered {error.code}", transient=transient) from None
    except (OSError, HTTPException, ValueError) as error:
        # The text of the error may contain the address.
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            raise _UndeliveredError(f"no answer within {seconds:g} s", transient=True) from None
        words = (reason.strerror if isinstance(reason, OSError) else None) or type(reason).__name__
        raise _UndeliveredError(words, transient=not isinstance(error, ValueError)) from None


def _run(arguments: list[str], content: bytes, seconds: float) -> None:
    """Run a command with the content on its standard input; on timeout it is killed with its children."""
    try:
        process = subprocess.Popen(  # noqa: S603 (the machine's owner has defined it)
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        words = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise _UndeliveredError(f"the command cannot be started: {words}") from None
    try:
        process.communicate(content, timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise _UndeliveredError(f"the command did not end within {seconds:g} s") from None
    if process.returncode != 0:
        raise _UndeliveredError(f"the command ended with {process.returncode}")
