"""Tells people of the end of a sweep: by a webhook, or by a command that the owner of the machine has defined.

Whether they hear of it changes nothing of the sweep. An address or a command may hold a secret, so what is said of a
failure names the host or the variable, and never what the variable holds.
"""

from __future__ import annotations

import base64
import json
import os
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

from orchestrator.ledger import count_states
from orchestrator.reporting import report_folder
from orchestrator.spec_running import FAILED, FINISHED, GATE_BROKEN, is_web_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.ledger import TrialStatus
    from orchestrator.spec_running import NotifySection
    from orchestrator.sweeps import Sweep

TOO_MANY_REQUESTS, SERVER_ERROR, REDIRECTS = 429, 500, range(300, 400)


@dataclass(frozen=True)
class News:
    """What is told of a sweep: the event, words for people, and where its report is.

    `counts` are its trials by state; of a broken gate, the checks by outcome.
    """

    sweep: str
    event: str
    message: str
    counts: Mapping[str, int]
    report: str

    def to_json(self) -> bytes:
        """Return it as JSON; `text` is the message once more, where chat programs look for it."""
        return json.dumps({**asdict(self), "text": self.message}, ensure_ascii=False).encode()


def end_of(sweep: Sweep, ledger: Mapping[str, TrialStatus], *, finished: bool) -> News:
    """Return the news that a sweep has come to its end, or has ended before it."""
    counts = count_states(ledger.values())
    listed = ", ".join(f"{count:,} {state}" for state, count in counts.items())
    message = f"{sweep.name} has {'finished' if finished else 'ended unfinished'}: {listed}"
    return News(sweep.name, FINISHED if finished else FAILED, message, counts, str(report_folder(sweep)))


def broken_gate(sweep: Sweep, reference: str, outcomes: Iterable[str]) -> News:
    """Return the news that a sweep disagrees with a reference, given the outcomes of all checks."""
    counts = dict(Counter(outcomes))
    message = f"{sweep.name} disagrees with {reference}: {', '.join(f'{n:,} {name}' for name, n in counts.items())}"
    return News(sweep.name, GATE_BROKEN, message, counts, str(report_folder(sweep)))


@dataclass(frozen=True)
class Patience:
    """How many seconds a try may take, and how many pass before each try after the first."""

    seconds: float = 10.0
    pauses: tuple[float, ...] = (1.0, 5.0)

    @property
    def in_all(self) -> float:
        """The seconds that all tries and pauses may take, with those of one try to spare."""
        return (2 + len(self.pauses)) * self.seconds + sum(self.pauses)


class _UndeliveredError(Exception):
    """Why the news did not arrive; `passing` where another try may do."""

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


def notify(
    section: NotifySection | None, news: News, environment: Mapping[str, str], patience: Patience | None = None
) -> str | None:
    """Tell whom a spec names, if it asks for such news. Never raises; returns a line on what went wrong, if it did.

    A webhook gets three tries, where another may do, and a command one.
    """
    if section is None or news.event not in section.on:
        return None
    patience = patience or Patience()
    try:
        if section.command:
            _run(_command(section.command, environment), news.to_json(), patience.seconds)
        else:
            _send(_address(section, environment), news.to_json(), patience)
    except _UndeliveredError as error:
        return f"notify: nobody was told that {news.message}: {error}"
    return None


def obstacle(section: NotifySection | None, environment: Mapping[str, str]) -> str | None:
    """Return why nobody can be told of a sweep from here, or None where nothing is known to be in the way."""
    try:
        if section is not None and section.command:
            _command(section.command, environment)
        elif section is not None:
            _address(section, environment)
    except _UndeliveredError as error:
        return f"notify: nobody can be told of the sweep's end: {error}"
    return None


def _address(section: NotifySection, environment: Mapping[str, str]) -> str:
    if section.url is not None:
        return section.url
    name = section.url_from or ""
    address = _value(name, environment)
    if not is_web_address(address):
        raise _UndeliveredError(f"the variable {name} holds no web address; it must begin with http:// or https://")
    return address


def _command(name: str, environment: Mapping[str, str]) -> list[str]:
    try:
        arguments = shlex.split(_value(name, environment))
    except ValueError as error:
        raise _UndeliveredError(f"the command in the variable {name} cannot be read: {error}") from error
    if not arguments:
        raise _UndeliveredError(f"the variable {name} holds no command")
    return arguments


def _value(name: str, environment: Mapping[str, str]) -> str:
    if not environment.get(name, "").strip():
        raise _UndeliveredError(f"the variable {name} is not set where the sweep is run")
    return environment[name].strip()


def _send(address: str, content: bytes, patience: Patience) -> None:
    """Send by POST. In a thread, because neither looking up a name nor a slow answer is bound by a socket's timeout."""
    ended: list[_UndeliveredError | None] = []

    def deliver() -> None:
        try:
            _try_to_post(_request(address, content), patience)
            ended.append(None)
        except _UndeliveredError as error:
            ended.append(error)

    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    thread.join(patience.in_all)
    reason = ended[0] if ended else _UndeliveredError(f"no answer within {patience.in_all:g} s")
    if reason is not None:
        raise _UndeliveredError(f"{urlsplit(address).hostname}: {reason}")


def _try_to_post(request: Request, patience: Patience) -> None:
    for pause in patience.pauses:
        try:
            return _post(request, patience.seconds)
        except _UndeliveredError as error:
            if not error.passing:
                raise
        time.sleep(pause)
    return _post(request, patience.seconds)


def _request(address: str, content: bytes) -> Request:
    parts = urlsplit(address)
    headers = {"Content-Type": "application/json", "User-Agent": "mrvae-orch"}
    if parts.username or parts.password:
        user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    return Request(plain, data=content, headers=headers, method="POST")  # noqa: S310 (http or https, as checked)


class _NoRedirects(HTTPRedirectHandler):
    """Follows no redirect: it could lead to a host that nobody has named, and a POST would arrive as a GET."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _post(request: Request, seconds: float) -> None:
    try:
        build_opener(_NoRedirects).open(request, timeout=seconds).close()
    except HTTPError as error:
        error.close()
        if error.code in REDIRECTS:
            raise _UndeliveredError(
                f"it redirects ({error.code}), which is not followed; name the address itself"
            ) from None
        passing = error.code == TOO_MANY_REQUESTS or error.code >= SERVER_ERROR
        raise _UndeliveredError(f"it answered {error.code}", passing=passing) from None
    except (OSError, HTTPException, ValueError) as error:
        # Whatever the error says beside its kind may hold the address.
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            raise _UndeliveredError(f"no answer within {seconds:g} s", passing=True) from None
        words = (reason.strerror if isinstance(reason, OSError) else None) or type(reason).__name__
        raise _UndeliveredError(words, passing=not isinstance(error, ValueError)) from None


def _run(arguments: list[str], content: bytes, seconds: float) -> None:
    """Run a command with the content on its standard input; one that takes longer is killed, with all it started."""
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
