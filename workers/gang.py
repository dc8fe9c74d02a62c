"""The processes, called ranks, that train one trial together: how they meet, agree, add up, and end together.

A small key-value store that rank 0 serves at the gang's address carries everything that may take long or go wrong:
who is alive, who waits for whom, what failed, how it ended. Collective operations (gloo on CPUs, NCCL on GPUs) carry
the numbers of a step. A rank only waits in one of them for a rank that computes the same step; whatever rank 0 does
alone, however long it takes, the others wait for in the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import math
import os
import socket
import struct
import threading
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # torch's stubs lack them

from workers.devices import peak_memory_bytes, reset_peak_memory
from workers.energy import energy_counter
from workers.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOIN_SECONDS = 120.0
"""How long the ranks may be apart in starting."""
BEAT_SECONDS = 1.0
LOST_SECONDS = 60.0
"""A rank that has not told of itself for so long is lost."""
STEP_SECONDS = 600.0
"""How long a rank may be behind another within a step."""
LEAVE_SECONDS = 10.0
"""How long rank 0 stays for the others to hear how it ended."""
LONGEST_PAUSE = 0.1
_ANSWER = timedelta(seconds=LOST_SECONDS)
_GET_INTERFACE_ADDRESS = 0x8915
"""SIOCGIFADDR of Linux."""


class GangLost(Exception):  # noqa: N818 (a state of machines, not a defect)
    """Another rank is gone or cannot be reached; the trial goes on from its last checkpoint when it is run again."""


class GangEnded(Exception):  # noqa: N818 (a state, not an accident)
    """Another rank has ended the trial, with this outcome and, where something was raised there, its trace."""

    def __init__(self, outcome: Outcome, trace: str = "") -> None:
        super().__init__(outcome.message)
        self.outcome = outcome
        self.trace = trace


@dataclass(frozen=True)
class GangPlace:
    """One rank's place: of `size` ranks, the first of which serves the rendezvous at `address`, "host:port"."""

    rank: int
    size: int
    address: str

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank is {self.rank}; it must be between 0 and size - 1 ({self.size - 1})")
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"address is {self.address!r}; it must be host:port")


class Alone:
    """The one rank of a trial that a single process trains: there is nobody to wait for."""

    rank = 0
    size = 1

    def slice_of(self, examples: int) -> slice:
        """Return which examples of a batch are this rank's."""
        return slice(self.rank * examples // self.size, (self.rank + 1) * examples // self.size)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return, for each flag, whether any rank has it set. All ranks call it at the same point."""
        return flags

    def total(self, tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Start to add up a tensor over the ranks; returns what waits for the sum, the same on every rank."""
        return lambda: tensor

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Return rank 0's bytes on every rank."""
        return content

    def meet(self) -> None:
        """Wait until every rank is here, however long one of them takes. Raises GangLost or GangEnded."""

    def look(self) -> None:
        """Raise GangLost where a rank is lost, GangEnded where one has ended the trial."""

    def stop_asked(self) -> bool:
        """Return whether a rank that waits was asked to stop."""
        return False

    def connect(self, device: torch.device) -> None:
        """Connect the ranks for collective operations on this device's tensors and the CPU's."""

    def joules(self, own: Callable[[], float]) -> Callable[[], float]:
        """Return what reads the energy that all ranks' devices have used, NaN where one does not know it."""
        return own

    def peak_memory_bytes(self, own: int | None) -> int | None:
        """Return the largest peak memory of a rank."""
        return own


ALONE = Alone()


class Gang(Alone):
    """One rank of several. Join it as a context manager; whatever happens in the block, it leaves all behind clean.

    `name` keeps gangs apart that come to the same address. `should_stop` is asked whenever the rank waits for others.
    """

    def __init__(self, place: GangPlace, name: str, should_stop: Callable[[], bool]) -> None:
        self.rank, self.size = place.rank, place.size
        self.address = place.address
        self._name = f"{name}/{place.size}"
        self._should_stop = should_stop
        self._meetings = 0
        self._reading: Callable[[], dict[str, Any]] = dict
        self._left = threading.Event()
        self._looked_at = -math.inf
        # Others may come so much later than this one.
        self._heard_at = dict.fromkeys(self._others, time.monotonic() + JOIN_SECONDS - LOST_SECONDS)
        self._heard: dict[int, bytes] = {}

    @property
    def _others(self) -> list[int]:
        return [rank for rank in range(self.size) if rank != self.rank]

    def __enter__(self) -> Self:
        self._server, self._store = self._join()
        # A connection of its own: one that waits for an answer would hold up the beat.
        _, beats = self._join(serve=False)
        self._beat(beats, 0)
        self._pulse = threading.Thread(target=self._keep_beating, args=(beats,), name="gang-pulse", daemon=True)
        self._pulse.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()
        self._left.set()
        self._pulse.join()
        del self._store, self._server

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return, for each flag, whether any rank has it set; see `Alone.any`."""
        votes = torch.tensor(flags, dtype=torch.uint8)
        with collective_errors():
            dist.all_reduce(votes, dist.ReduceOp.MAX)
        return tuple(map(bool, votes.tolist()))

    def total(self, tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Start to add up a tensor over the ranks, in place; see `Alone.total`."""
        with collective_errors():
            work = dist.all_reduce(tensor, async_op=True)

        def finish() -> torch.Tensor:
            with collective_errors():
                work.wait()
            return tensor

        return finish

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Return rank 0's bytes on every rank."""
        length = torch.tensor([len(content)])
        with collective_errors():
            dist.broadcast(length, 0)
            whole = torch.empty(int(length), dtype=torch.uint8)
            if self.rank == 0 and content:
                whole.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
            dist.broadcast(whole, 0)
        return whole.numpy().tobytes()

    def meet(self) -> None:
        """Wait until every rank is here; see `Alone.meet`."""
        self._meetings += 1
        key = f"met/{self._meetings}"
        with self._reaching():
            self._store.add(key, 1)
        self._wait(lambda: self._store.add(key, 0) >= self.size)

    def look(self) -> None:
        """Raise GangLost where a rank is lost, GangEnded where one has ended the trial."""
        verdict = "failure" if self.rank == 0 else "outcome"
        with self._reaching():
            if self._store.check([verdict]):
                record = json.loads(self._store.get(verdict))
                trace = record.pop("trace", "")
                raise GangEnded(Outcome(**record), trace)
        self._listen()

    def stop_asked(self) -> bool:
        """Return whether a rank that waits was asked to stop."""
        with self._reaching():
            return self._store.check(["stop"])

    def connect(self, device: torch.device) -> None:
        """Connect the ranks; see `Alone.connect`. Their addresses are of the network that rank 0 is reached by."""
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with self._reaching(), _gloo_on_interface_towards(self.address.rpartition(":")[0]):
            dist.init_process_group(
                backend,
                store=PrefixStore("group", self._store),
                rank=self.rank,
                world_size=self.size,
                timeout=timedelta(seconds=STEP_SECONDS),
            )

    def disconnect(self) -> None:
        """End the collective operations: ranks that are in one hear of it, once nothing here refers to it."""
        if dist.is_initialized():
            dist.destroy_process_group()
            # Connections close with the last reference; what a trial has raised and trained may be in cycles.
            gc.collect()

    def tell_of(self, device: torch.device, device_count: float) -> None:
        """Have rank 0 know, from now on, the energy that this rank's device uses and its peak memory."""
        joules = energy_counter(device, device_count)
        reset_peak_memory(device)
        self._reading = lambda: {"joules": joules(), "peak_memory_bytes": peak_memory_bytes(device)}

    def joules(self, own: Callable[[], float]) -> Callable[[], float]:
        """Return what reads the energy of all ranks; of the others it is up to a beat old."""
        return lambda: own() + sum(told.get("joules", math.nan) for told in self._told())

    def peak_memory_bytes(self, own: int | None) -> int | None:
        """Return the largest peak memory of a rank, None where none is known."""
        peaks = [own, *(told.get("peak_memory_bytes") for told in self._told())]
        return max((peak for peak in peaks if peak is not None), default=None)

    def end(self, outcome: Outcome) -> None:
        """Have all others end with this outcome. For rank 0, which stays until they know, or are not heard of."""
        self.disconnect()
        with contextlib.suppress(GangLost), self._reaching():
            self._store.set("outcome", json.dumps(asdict(outcome)))
            until = time.monotonic() + LEAVE_SECONDS
            while self._store.add("left", 0) < self.size - 1 and time.monotonic() < until:
                time.sleep(LONGEST_PAUSE / 10)

    def report(self, failure: Outcome, trace: str = "") -> None:
        """Have rank 0 end the trial with this outcome; the first report of several counts. Then wait for the end."""
        with self._reaching():
            self._store.compare_set("failure", "", json.dumps({**asdict(failure), "trace": trace}))
        self.disconnect()

    def await_outcome(self) -> Outcome:
        """Return how rank 0 says that the trial ended. Raises GangLost where it never does."""
        try:
            self._wait(lambda: False)
        except GangEnded as ended:
            with contextlib.suppress(GangLost), self._reaching():
                self._store.add("left", 1)
            return ended.outcome
        raise AssertionError

    def _wait(self, ready: Callable[[], bool]) -> None:
        pause = LONGEST_PAUSE / 100
        while True:
            with self._reaching():
                if ready():
                    return
            self.look()
            if self._should_stop():
                with self._reaching():
                    self._store.set("stop", "")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _listen(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < BEAT_SECONDS:
            return
        self._looked_at = now
        for rank in self._others:
            beat = self._beat_of(rank)
            if beat != self._heard.get(rank):
                self._heard[rank], self._heard_at[rank] = beat, max(now, self._heard_at[rank])
            elif now - self._heard_at[rank] > LOST_SECONDS:
                raise GangLost(f"rank {rank} of {self.size} has not been heard of for {LOST_SECONDS:.0f} s")

    def _beat_of(self, rank: int) -> bytes:
        with self._reaching():
            key = f"beat/{rank}"
            return self._store.get(key) if self._store.check([key]) else b""

    def _told(self) -> list[dict[str, Any]]:
        return [json.loads(self._beat_of(rank) or "{}") for rank in self._others]

    def _beat(self, store: Store, number: int) -> None:
        store.set(f"beat/{self.rank}", json.dumps({"beat": number, **self._reading()}))

    def _keep_beating(self, store: Store) -> None:
        number = 0
        # Where rank 0 is gone, the rank finds that out by itself.
        with contextlib.suppress(RuntimeError):
            while not self._left.wait(BEAT_SECONDS):
                number += 1
                self._beat(store, number)

    def _join(self, *, serve: bool = True) -> tuple[TCPStore, Store]:
        host, _, port = self.address.rpartition(":")
        until = time.monotonic() + JOIN_SECONDS
        while True:
            try:
                server = TCPStore(
                    host, int(port), is_master=serve and self.rank == 0, wait_for_workers=False, timeout=_ANSWER
                )
            except RuntimeError as error:
                if time.monotonic() > until:
                    raise GangLost(
                        f"rank {self.rank} of {self.size} cannot meet the others at {self.address} "
                        f"({_first_line(error)}); check that the machines reach each other and the port is free"
                    ) from error
                time.sleep(1.0)
            else:
                return server, PrefixStore(self._name, server)

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise GangLost(f"rank 0 cannot be reached at {self.address} ({_first_line(error)})") from error


@contextlib.contextmanager
def collective_errors() -> Iterator[None]:
    """Tell what other ranks have broken from what broke here. Raises GangLost."""
    try:
        yield
    except RuntimeError as error:
        # gloo's errors are plain ones, with the file of gloo's that they come from.
        if isinstance(error, dist.DistError) or "gloo/" in str(error):
            raise GangLost(f"another rank was lost in the middle of a step ({_first_line(error)})") from error
        raise


def _first_line(error: Exception) -> str:
    # torch adds a trace of C++ frames.
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _gloo_on_interface_towards(host: str) -> Iterator[None]:
    """Have gloo use the network that leads to rank 0: by itself it takes what the machine's name stands for.

    That is often a loopback address, which no other machine reaches.
    """
    interface = None if "GLOO_SOCKET_IFNAME" in os.environ else _interface_towards(host)
    if interface is None:
        yield
        return
    os.environ["GLOO_SOCKET_IFNAME"] = interface
    try:
        yield
    finally:
        del os.environ["GLOO_SOCKET_IFNAME"]


def _interface_towards(host: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))  # sends nothing
        except OSError:
            return None
        own = socket.inet_aton(probe.getsockname()[0])
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            with contextlib.suppress(OSError):  # an interface without an address
                if fcntl.ioctl(probe.fileno(), _GET_INTERFACE_ADDRESS, request)[20:24] == own:
                    return name
    return None
