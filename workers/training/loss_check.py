"""The check that ends a trial whose loss is NaN or infinite."""

from __future__ import annotations

import torch

from workers.outcome import TrialFailed

CUDA_CHECK_STEPS = 50
"""Steps that are checked together on a GPU, because reading a loss waits for the device."""


class LossCheck:
    """Checks that losses are finite: every step on a CPU, in groups of steps on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._every = 1 if device.type == "cpu" else CUDA_CHECK_STEPS
        self._pending: list[tuple[int, torch.Tensor, torch.Tensor]] = []

    def add(self, step: int, betas: torch.Tensor, losses: torch.Tensor) -> None:
        """Add the losses (B,) of a step at their β (B, 1). Raises TrialFailed where a checked loss is not finite."""
        self._pending.append((step, betas, losses))
        if len(self._pending) >= self._every:
            self.check()

    def check(self) -> None:
        """Check the losses added since the last check. Raises TrialFailed naming the first step that is not finite."""
        pending, self._pending = self._pending, []
        if not pending or bool(torch.isfinite(torch.stack([losses.sum() for _, _, losses in pending])).all()):
            return
        for step, betas, losses in pending:
            broken = ~torch.isfinite(losses)
            if broken.any():
                raise TrialFailed(_describe(step, betas[broken[: len(betas)]].flatten(), losses[broken]))


def _describe(step: int, betas: torch.Tensor, losses: torch.Tensor) -> str:
    low, high = float(betas.min()), float(betas.max())
    where = f"β = {low:g}" if low == high else f"β between {low:g} and {high:g}"
    return f"the loss is {float(losses[0]):g} at step {step}, {where}; try a lower learning rate or warm-up epochs"
