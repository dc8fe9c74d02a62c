"""The process group of a trial with several ranks: how they meet, agree, add up, and end together.

A key-value store that rank 0 serves at the group's address carries everything that may take long or fail: heartbeats,
barriers, failures, and the outcome. Collective operations (gloo on CPUs, NCCL on GPUs) carry the numbers of a step. In
them, a rank waits only for ranks that compute the same step; for whatever rank 0 does alone, they wait in the store.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import threading
import time
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # torch's stubs lack them

from workers.devices.devices import cpu_clock, peak_memory_bytes, reset_peak_memory
from workers.devices.energy import energy_counter
from workers.distributed.network_interface import gloo_interface_towards
from workers.distributed.ranks import EndedByAnotherRank, RankLost, SingleProcess
from workers.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workers.distributed.ranks import RankInfo

JOIN_SECONDS = 120.0
"""How far apart the ranks may start."""
HEARTBEAT_SECONDS = 1.0
LOST_SECONDS = 60.0
"""A rank without a heartbeat for this long is lost."""
STEP_SECONDS = 600.0
"""How long a rank may be behind another within a step."""
LEAVE_SECONDS = 10.0
"""How long rank 0 stays for the others to read the outcome."""
LONGEST_PAUSE = 0.1
_ANSWER = timedelta(seconds=LOST_SECONDS)


class ProcessGroup(SingleProcess):
    """One rank of several, as a context manager: on leaving, it disconnects and stops its heartbeat.

    `name` separates process groups that use the same address. `should_stop` is asked whenever the rank waits.
    """

    def __init__(self, info: RankInfo, name: str, should_stop: Callable[[], bool]) -> None:
        self.rank, self.size = info.rank, info.size
        self.address = info.address
        self._name = f"{name}/{info.size}"
        self._should_stop = should_stop
        self._barriers = 0
        self._reading: Callable[[], dict[str, Any]] = dict
        self._left = threading.Event()
        self._checked_at = -math.inf
        # Others may join this much later.
        self._heard_at = dict.fromkeys(self._others, time.monotonic() + JOIN_SECONDS - LOST_SECONDS)
        self._heartbeats: dict[int, bytes] = {}

    @property
    def _others(self) -> list[int]:
        return [rank for rank in range(self.size) if rank != self.rank]

    def __enter__(self) -> Self:
        self._server, self._store = self._join()
        # A second connection: one that waits for an answer would delay the heartbeat.
        _, store = self._join(serve=False)
        self._send_heartbeat(store, 0)
        self._heartbeat = threading.Thread(target=self._send_heartbeats, args=(store,), name="heartbeat", daemon=True)
        self._heartbeat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()
        self._left.set()
        self._heartbeat.join()
        del self._store, self._server

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return, for each flag, whether any rank has it set."""
        votes = torch.tensor(flags, dtype=torch.uint8)
        with collective_errors():
            dist.all_reduce(votes, dist.ReduceOp.MAX)
        return tuple(map(bool, votes.tolist()))

    def total(self, tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Start to add up a tensor over the ranks, in place."""
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
        """Wait until every rank is here."""
        self._barriers += 1
        key = f"met/{self._barriers}"
        with self._store_errors():
            self._store.add(key, 1)
        self._wait(lambda: self._store.add(key, 0) >= self.size)

    def check(self) -> None:
        """Raise RankLost if a rank is lost, EndedByAnotherRank if one has ended the trial."""
        key = "failure" if self.rank == 0 else "outcome"
        with self._store_errors():
            if self._store.check([key]):
                record = json.loads(self._store.get(key))
                raise EndedByAnotherRank(Outcome.from_json(record), record.get("trace", ""))
        self._check_heartbeats()

    def stop_asked(self) -> bool:
        """Return whether a waiting rank was asked to stop."""
        with self._store_errors():
            return self._store.check(["stop"])

    def connect(self, device: torch.device) -> None:
        """Connect the ranks, on the network that leads to rank 0."""
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with self._store_errors(), gloo_interface_towards(self.address.rpartition(":")[0]):
            dist.init_process_group(
                backend,
                store=PrefixStore("group", self._store),
                rank=self.rank,
                world_size=self.size,
                timeout=timedelta(seconds=STEP_SECONDS),
            )

    def disconnect(self) -> None:
        """End the collective operations: ranks that are in one get an error, once nothing here refers to it."""
        if dist.is_initialized():
            dist.destroy_process_group()
            # Connections close with the last reference; errors and models of a trial may be in reference cycles.
            gc.collect()

    def measure(self, device: torch.device, device_count: float) -> None:
        """Send rank 0, from now on, this rank's energy and CPU time since now, and its peak memory."""
        counters = {"joules": energy_counter(device, device_count), "cpu_seconds": cpu_clock(device)}
        start = {name: read() for name, read in counters.items()}
        reset_peak_memory(device)
        self._reading = lambda: {
            **{name: read() - start[name] for name, read in counters.items()},
            "peak_memory_bytes": peak_memory_bytes(device),
        }

    def total_of(self, counter: str, own: Callable[[], float]) -> Callable[[], float]:
        """Return a function that reads a counter's sum; the others' part is as old as their last heartbeat."""
        # A rank that has sent nothing yet has counted nothing.
        return lambda: own() + sum(reading.get(counter, 0.0) for reading in self._readings())

    def peak_memory_bytes(self, own: int | None) -> int | None:
        """Return the largest peak memory of a rank, None if none is known."""
        peaks = [own, *(reading.get("peak_memory_bytes") for reading in self._readings())]
        return max((peak for peak in peaks if peak is not None), default=None)

    def end(self, outcome: Outcome) -> None:
        """End all other ranks with this outcome. For rank 0, which stays until they have read it, or for a while."""
        self.disconnect()
        with contextlib.suppress(RankLost), self._store_errors():
            self._store.set("outcome", json.dumps(asdict(outcome)))
            until = time.monotonic() + LEAVE_SECONDS
            while self._store.add("left", 0) < self.size - 1 and time.monotonic() < until:
                time.sleep(LONGEST_PAUSE / 10)

    def report(self, failure: Outcome, trace: str = "") -> None:
        """Have rank 0 end the trial with this outcome; the first report counts. `await_outcome` comes next."""
        with self._store_errors():
            self._store.compare_set("failure", "", json.dumps({**asdict(failure), "trace": trace}))
        self.disconnect()

    def await_outcome(self) -> Outcome:
        """Return rank 0's outcome of the trial. Raises RankLost if rank 0 is lost."""
        try:
            self._wait(lambda: False)
        except EndedByAnotherRank as ended:
            with contextlib.suppress(RankLost), self._store_errors():
                self._store.add("left", 1)
            return ended.outcome
        raise AssertionError

    def _wait(self, ready: Callable[[], bool]) -> None:
        pause = LONGEST_PAUSE / 100
        while True:
            with self._store_errors():
                if ready():
                    return
            self.check()
            if self._should_stop():
                with self._store_errors():
                    self._store.set("stop", "")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _check_heartbeats(self) -> None:
        now = time.monotonic()
        if now - self._checked_at < HEARTBEAT_SECONDS:
            return
        self._checked_at = now
        for rank in self._others:
            heartbeat = self._heartbeat_of(rank)
            if heartbeat != self._heartbeats.get(rank):
                self._heartbeats[rank], self._heard_at[rank] = heartbeat, max(now, self._heard_at[rank])
            elif now - self._heard_at[rank] > LOST_SECONDS:
                raise RankLost(f"rank {rank} of {self.size} lost: no heartbeat for {LOST_SECONDS:.0f} s")

    def _heartbeat_of(self, rank: int) -> bytes:
        with self._store_errors():
            key = f"heartbeat/{rank}"
            return self._store.get(key) if self._store.check([key]) else b""

    def _readings(self) -> list[dict[str, Any]]:
        return [json.loads(self._heartbeat_of(rank) or "{}") for rank in self._others]

    def _send_heartbeat(self, store: Store, number: int) -> None:
        store.set(f"heartbeat/{self.rank}", json.dumps({"number": number, **self._reading()}))

    def _send_heartbeats(self, store: Store) -> None:
        number = 0
        # If rank 0 is gone, the rank's main thread finds out.
        with contextlib.suppress(RuntimeError):
            while not self._left.wait(HEARTBEAT_SECONDS):
                number += 1
                self._send_heartbeat(store, number)

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
                    raise RankLost(
                        f"rank {self.rank} of {self.size} cannot reach the others at {self.address} "
                        f"({_first_line(error)}); check that the machines reach each other and the port is free"
                    ) from error
                time.sleep(1.0)
            else:
                return server, PrefixStore(self._name, server)

    @contextlib.contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RankLost(f"rank 0 cannot be reached at {self.address} ({_first_line(error)})") from error


@contextlib.contextmanager
def collective_errors() -> Iterator[None]:
    """Raise RankLost for errors of collective operations that another rank caused, not for errors of this rank."""
    try:
        yield
    except RuntimeError as error:
        # gloo raises plain RuntimeErrors that name the source file in gloo.
        if isinstance(error, dist.DistError) or "gloo/" in str(error):
            raise RankLost(f"another rank lost in the middle of a step ({_first_line(error)})") from error
        raise


def _first_line(error: Exception) -> str:
    # torch appends a trace of C++ frames.
    return (str(error).splitlines() or [type(error).__name__])[0]
