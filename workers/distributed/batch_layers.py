"""Batch-synchronised layers: on several ranks, each with a slice of a batch, they compute what one process would.

They average over the whole batch (batch norm), draw random numbers for all of it (dropout), and compare its examples
(β-TCVAE's estimate of q(z)).
"""

from __future__ import annotations

import copy
import itertools
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from models.vae import ModelOutput, Posterior

if TYPE_CHECKING:
    from models.vae import VAE
    from workers.distributed.ranks import SingleProcess


def shared_network(model: VAE, group: SingleProcess, examples: int) -> nn.Module:
    """Return a network that computes a slice of a batch of this many examples, with the model's parameters and buffers.

    The model itself is not changed: one rank alone can still use it.
    """
    kept = itertools.chain(model.parameters(), model.buffers())
    network = copy.deepcopy(model, {id(tensor): tensor for tensor in kept})
    _share_layers(network, group, examples)
    return network


def data_parallel(network: nn.Module) -> nn.Module:
    """Return the network with gradients that are averaged over the ranks while they are computed."""
    with warnings.catch_warnings():
        # Not every supported torch knows the new name of `broadcast_buffers`.
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(
            network,
            broadcast_buffers=False,  # they are equal: every rank computes them from the whole batch
            # Keeps the order of buckets after the first step, so that sums of three ranks or more are rounded alike in
            # a process that resumes from a checkpoint; and a plug-in's network may leave a parameter out.
            find_unused_parameters=True,
        )


def whole_output(output: ModelOutput, group: SingleProcess, examples: int) -> ModelOutput:
    """Return the output for the whole batch, with gradients to the rank that each part comes from."""
    return ModelOutput(
        distortion=_whole(output.distortion, group, examples),
        rates=_whole(output.rates, group, examples),
        posteriors=tuple(
            Posterior(*(_whole(part, group, examples) for part in posterior)) for posterior in output.posteriors
        ),
        reconstruction=None,
    )


def _share_layers(module: nn.Module, group: SingleProcess, examples: int) -> None:
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, _SharedBatchNorm(child, group))
        elif type(child) is nn.Dropout:
            setattr(module, name, _SharedDropout(child.p, group.slice_of(examples), examples))
        else:
            _share_layers(child, group, examples)


class _SharedDropout(nn.Module):
    """Draws for the whole batch and applies this rank's slice."""

    def __init__(self, p: float, share: slice, examples: int) -> None:
        super().__init__()
        self.p = p
        self.share = share
        self.examples = examples

    def forward(self, features: Tensor) -> Tensor:
        # In the memory order of the features, in which torch draws.
        order = sorted(range(features.dim()), key=features.stride, reverse=True)
        whole = (self.examples, *features.shape[1:])
        ones = features.new_ones([whole[axis] for axis in order])
        ones = ones.permute([order.index(axis) for axis in range(len(order))])
        return features * functional.dropout(ones, self.p)[self.share]


class _SharedBatchNorm(nn.Module):
    """Batch norm in training, with the mean and variance of the whole batch."""

    def __init__(self, norm: _BatchNorm, group: SingleProcess) -> None:
        super().__init__()
        self.norm = norm
        self.group = group

    def forward(self, features: Tensor) -> Tensor:
        count, mean, variance = self._statistics(features.detach())
        self._track(count, mean, variance)
        normalised: Tensor = _Normalise.apply(
            features, mean, variance, self.norm.weight, self.norm.bias, self.norm.eps, count, self.group
        )
        return normalised

    def _statistics(self, features: Tensor) -> tuple[int, Tensor, Tensor]:
        flat = features.float().transpose(0, 1).flatten(1)
        channels = len(flat)
        variance, mean = torch.var_mean(flat, 1, correction=0)
        # A row for each rank: its number of values, its means and its variances.
        table = flat.new_zeros(self.group.size, 1 + 2 * channels, dtype=torch.float64)
        table[self.group.rank] = torch.cat([table.new_full((1,), flat.shape[1]), mean.double(), variance.double()])
        counts, means, variances = self.group.total(table)().split([1, channels, channels], 1)
        count = counts.sum()
        whole = (counts * means).sum(0) / count
        spread = (counts * (variances + (means - whole).square())).sum(0) / count
        return int(count), whole.to(mean.dtype), spread.to(mean.dtype)

    def _track(self, count: int, mean: Tensor, variance: Tensor) -> None:
        norm = self.norm
        if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
            return
        norm.num_batches_tracked.add_(1)
        momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
        norm.running_var.mul_(1 - momentum).add_(variance, alpha=momentum * count / (count - 1))


class _Normalise(torch.autograd.Function):
    """Normalises features by statistics that depend on the features of every rank."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        mean: Tensor,
        variance: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        epsilon: float,
        count: int,
        group: SingleProcess,
    ) -> Tensor:
        ctx.save_for_backward(features, mean, (variance + epsilon).rsqrt(), weight)
        ctx.count, ctx.group = count, group
        return functional.batch_norm(features, mean, variance, weight, bias, training=False, eps=epsilon)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        features, mean, factor, weight = ctx.saved_tensors
        shape = (1, -1, *(1,) * (features.dim() - 2))
        axes = [0, *range(2, features.dim())]
        gradient = gradients[0].float()
        normal = (features.float() - mean.view(shape)) * factor.view(shape)
        for_bias, for_weight = gradient.sum(axes), (gradient * normal).sum(axes)
        of_mean, of_spread = (ctx.group.total(torch.stack([for_bias, for_weight]))() / ctx.count).unbind()
        scale = factor if weight is None else factor * weight
        passed = (gradient - of_mean.view(shape) - normal * of_spread.view(shape)) * scale.view(shape)
        trained = (None, None) if weight is None else (for_weight, for_bias)
        return (passed.to(features.dtype), None, None, *trained, None, None, None)


def _whole(part: Tensor, group: SingleProcess, examples: int) -> Tensor:
    whole: Tensor = _Whole.apply(part, group, examples)
    return whole


class _Whole(torch.autograd.Function):
    """Concatenates the parts of all ranks; in the backward pass, each part gets the sum of all ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: SingleProcess, examples: int) -> Tensor:
        ctx.group, ctx.share = group, group.slice_of(examples)
        whole = part.new_zeros(examples, *part.shape[1:])
        whole[ctx.share] = part
        return group.total(whole)()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.group.total(gradients[0].contiguous().clone())()[ctx.share], None, None
