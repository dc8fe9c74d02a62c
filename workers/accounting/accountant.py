"""The costs of every attempt at a trial, by phase: seconds, share of the device, images, FLOPs, joules, peak memory.

Rows are written during the attempt, so that the cost of a killed attempt is recorded up to the last write.
"""

from __future__ import annotations

import contextlib
import copy
import math
import socket
import warnings
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from evaluation.records import Cost
from models.vae import TextVAE
from workers.accounting.costs import read_costs, write_costs
from workers.devices.devices import cpu_clock, device_kind, peak_memory_bytes, reset_peak_memory, synchronise
from workers.devices.energy import energy_counter
from workers.devices.gpu_share import ShareMeter, Usage, share_meter
from workers.distributed.ranks import SINGLE_PROCESS
from workers.outcome import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models.shapes import Shape
    from models.vae import VAE
    from workers.distributed.ranks import SingleProcess
    from workers.store.store import TrialFolder


class Accountant:
    """Measures the costs of one attempt by phase. Phases may nest; an inner one does not count for the outer one.

    `joules` reads the energy used so far and `cpu_seconds` the CPU time, NaN where they are unknown; the defaults read
    the attempt's GPUs and, for a trial on a CPU, this process. `share` measures the attempt's part of a shared GPU's
    work, while it is `sampling`. Rank 0 counts for all ranks: `device_count`, energy and CPU time are sums over the
    ranks, peak memory is the largest. `eval_id` is the evaluation that the attempt is for.
    """

    def __init__(
        self,
        folder: TrialFolder,
        device: torch.device,
        device_count: float,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
        joules: Callable[[], float] | None = None,
        cpu_seconds: Callable[[], float] | None = None,
        share: ShareMeter | None = None,
        group: SingleProcess = SINGLE_PROCESS,
        eval_id: str | None = None,
    ) -> None:
        self._folder = folder
        self._device = device
        self._device_kind = device_kind(device)
        self._device_count = device_count
        self._clock = clock
        self._group = group
        self._eval_id = eval_id
        self._counters = {
            "joules": group.total_of("joules", joules or energy_counter(device, device_count / group.size)),
            "cpu_seconds": group.total_of("cpu_seconds", cpu_seconds or cpu_clock(device)),
        }
        self._share = share or share_meter(device, device_count)
        self._host = socket.gethostname()
        self._seconds: dict[str, float] = defaultdict(float)
        self._counted: dict[tuple[str, str], float] = defaultdict(float)
        self._usage: dict[str, Usage] = defaultdict(Usage)
        self._images: dict[str, int] = defaultdict(int)
        self._flops: dict[str, float] = {}
        self._phases: list[str] = []
        self._started_at = now()
        self._marked_at = clock()
        self._marked_counters = self._read_counters()
        self._marked_usage = self._read_usage()
        self._earlier = [_ended(row) for row in read_costs(folder)]
        self.attempt = 1 + max((row.attempt for row in self._earlier), default=0)
        reset_peak_memory(device)

    @property
    def first_started_at(self) -> float:
        """When the first attempt began, in seconds since 1970."""
        return min((row.started_at for row in self._earlier), default=self._started_at)

    def sampling(self) -> contextlib.AbstractContextManager[None]:
        """Sample the use of a shared device while the block lasts."""
        return self._share.running() if self._share else contextlib.nullcontext()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the block's time for a phase: train, evaluate, metrics, along, compile, data or checkpoint."""
        self._mark()
        self._phases.append(name)
        try:
            yield
        finally:
            self._mark()
            self._phases.pop()

    def seconds(self, phase: str) -> float:
        """Return the seconds counted for a phase so far."""
        self._mark()
        return self._seconds[phase]

    def count(self, phase: str, images: int, flops: float) -> None:
        """Add processed examples and their FLOPs to a phase."""
        self._images[phase] += images
        self._flops[phase] = self._flops.get(phase, 0.0) + flops

    def write(self, outcome: TrialState) -> None:
        """Write the rows of all attempts, this one with the given outcome."""
        write_costs(self._folder, self.rows(outcome))

    def rows(self, outcome: TrialState) -> list[Cost]:
        """Return the rows of all attempts."""
        self._mark()
        return self._earlier + [self._row(phase, outcome) for phase in sorted(self._seconds) or ["data"]]

    def _row(self, phase: str, outcome: TrialState) -> Cost:
        return Cost(
            trial_id=self._folder.trial_id,
            attempt=self.attempt,
            phase=phase,
            outcome=outcome,
            seconds=self._seconds.get(phase, 0.0),
            device_kind=self._device_kind,
            device_count=self._device_count,
            images=self._images.get(phase, 0),
            flops=self._flops.get(phase),
            joules=self._known("joules", phase),
            peak_memory_bytes=self._group.peak_memory_bytes(peak_memory_bytes(self._device)),
            started_at=self._started_at,
            host=self._host,
            measured_share=self._measured_share(phase),
            eval_id=self._eval_id,
            cpu_seconds=self._known("cpu_seconds", phase),
        )

    def _mark(self) -> None:
        if self._phases:
            synchronise(self._device)
        now, counters, usage = self._clock(), self._read_counters(), self._read_usage()
        if self._phases:
            self._seconds[self._phases[-1]] += now - self._marked_at
            for name, count in counters.items():
                # A sum with a NaN is NaN: what is known in part is unknown.
                self._counted[name, self._phases[-1]] += _growth(self._marked_counters[name], count)
            self._usage[self._phases[-1]] += usage - self._marked_usage
        self._marked_at, self._marked_counters, self._marked_usage = now, counters, usage

    def _read_counters(self) -> dict[str, float]:
        return {name: read() for name, read in self._counters.items()}

    def _read_usage(self) -> Usage:
        return self._share.usage if self._share else Usage()

    def _measured_share(self, phase: str) -> float | None:
        whole = sum(self._usage.values(), Usage())
        if not whole.own:
            # Without any sample of this process, its number there is probably another one.
            return None
        usage = self._usage.get(phase, Usage())
        # A phase too short for a sample gets the share of the whole attempt.
        return usage.own / usage.everybody if usage.everybody else whole.own / whole.everybody

    def _known(self, counter: str, phase: str) -> float | None:
        count = self._counted.get((counter, phase), math.nan)
        return None if math.isnan(count) else count


def _ended(row: Cost) -> Cost:
    # An attempt that could not write how it ended was killed.
    return replace(row, outcome=TrialState.KILLED) if row.outcome == TrialState.RUNNING else row


def _growth(before: float, after: float) -> float:
    """Return the increase of a counter; NaN where it was reset, as by a reload of the driver."""
    return after - before if after >= before else math.nan


def forward_flops_per_image(model: VAE, shape: Shape) -> float:
    """Return the FLOPs of one example's forward pass by torch's counter; a multiply-add is two FLOPs.

    The counter includes matrix products and convolutions; elementwise operations (gates, activations) count as 0.
    """
    return _flops(model, shape, backward=False)


def training_flops_per_image(model: VAE, shape: Shape) -> float:
    """Return the FLOPs of one example's forward and backward pass, counted as in `forward_flops_per_image`."""
    return _flops(model, shape, backward=True)


@contextlib.contextmanager
def _visible(model: VAE) -> Iterator[None]:
    """Turn oneDNN off for text models inside the block: torch's counter cannot see the operations of its LSTM."""
    if not isinstance(model, TextVAE):
        yield
        return
    with warnings.catch_warnings():
        # Switching oneDNN warns about Intel GPUs.
        warnings.simplefilter("ignore", UserWarning)
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def _flops(model: VAE, shape: Shape, *, backward: bool) -> float:
    examples = 2
    # A copy, because a forward pass in training mode changes batch-norm statistics.
    probe = copy.deepcopy(model).cpu().train()
    x = probe.blank(examples, shape)
    condition = torch.zeros(examples, 1) if probe.multi_rate else None
    noise = [torch.zeros(examples, *latent) for latent in probe.latent_shapes]
    with _visible(probe), FlopCounterMode(display=False) as counter:
        output = probe(x, condition, noise)
        if backward:
            (output.distortion.sum() + output.rates.sum()).backward()
    return counter.get_total_flops() / examples
