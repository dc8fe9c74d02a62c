"""Random numbers are a function of (seed, purpose, position)."""

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.data.sampler import WINDOW, EpochSampler
from workers.seeding import derive_seed, generator, seeded_initialisation

CPU = torch.device("cpu")


@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 2**40), st.integers(0, 9), st.data())
def test_an_epoch_can_start_at_any_step(examples, batch, seed, epoch, data):
    """Starting late gives the same batches that a whole epoch has from there on."""
    sampler = EpochSampler(examples, batch, seed)
    start = data.draw(st.integers(0, sampler.steps_per_epoch))
    whole = [indices.tolist() for indices in sampler.batches(epoch)]
    assert [indices.tolist() for indices in sampler.batches(epoch, start)] == whole[start:]


@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 2**40))
def test_an_epoch_sees_each_example_at_most_once(examples, batch, seed):
    """Batches are of one size, disjoint, and leave out less than one batch."""
    sampler = EpochSampler(examples, batch, seed)
    seen = [index for indices in sampler.batches(0) for index in indices.tolist()]
    assert len(seen) == len(set(seen)) > examples - sampler.batch_size
    assert {len(indices) for indices in sampler.batches(0)} == {min(batch, examples)}


LENGTHS = st.lists(st.integers(3, 200), min_size=1, max_size=300)


@given(LENGTHS, st.integers(1, 64), st.integers(0, 2**40), st.integers(0, 9), st.data())
def test_batches_of_like_lengths_can_start_at_any_step_too(lengths, batch, seed, epoch, data):
    """They are disjoint, of one size, and the same from any start."""
    sampler = EpochSampler(len(lengths), batch, seed, torch.tensor(lengths))
    whole = [indices.tolist() for indices in sampler.batches(epoch)]
    start = data.draw(st.integers(0, sampler.steps_per_epoch))
    assert [indices.tolist() for indices in sampler.batches(epoch, start)] == whole[start:]
    seen = [index for indices in whole for index in indices]
    assert len(seen) == len(set(seen)) == sampler.steps_per_epoch * sampler.batch_size
    assert {len(indices) for indices in whole} == {min(batch, len(lengths))}


@given(LENGTHS, st.integers(300 // WINDOW, 64), st.integers(0, 2**40))
def test_within_a_window_no_padding_can_be_saved(lengths, batch, seed):
    """Batches of one window do not overlap in length: each has the next longer sentences than another."""
    lengths = torch.tensor(lengths)
    sampler = EpochSampler(len(lengths), batch, seed, lengths)
    assert sampler.steps_per_epoch <= WINDOW
    ranges = sorted((int(lengths[each].min()), int(lengths[each].max())) for each in sampler.batches(0))
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))


def test_like_lengths_save_most_of_the_padding():
    """Of 10,000 sentences of 22 to 202 tokens nearly half would be padding in mixed batches, and little is in these."""
    lengths = torch.randint(22, 203, (10_000,), generator=generator(CPU, 0, "lengths"))

    def padding(sampler):
        batches = list(sampler.batches(0))
        tokens = sum(int(lengths[each].sum()) for each in batches)
        return 1 - tokens / sum(len(each) * int(lengths[each].max()) for each in batches)

    assert padding(EpochSampler(10_000, 32, 0)) > 0.4
    assert padding(EpochSampler(10_000, 32, 0, lengths)) < 0.03


def test_batches_of_like_lengths_come_in_no_order_of_length():
    """Short and long batches are mixed over the epoch, and another epoch has other batches."""
    lengths = torch.arange(3, 203).repeat_interleave(40)
    sampler = EpochSampler(len(lengths), 16, 0, lengths)
    first, second = (list(sampler.batches(epoch)) for epoch in (0, 1))
    means = torch.tensor([lengths[each].double().mean() for each in first])
    steps = torch.arange(len(first), dtype=torch.float64)
    assert abs(torch.corrcoef(torch.stack([steps, means]))[0, 1]) < 0.1
    together = [{tuple(sorted(each.tolist())) for each in epoch} for epoch in (first, second)]
    assert not together[0] & together[1]


def test_no_sentence_is_always_left_out():
    """Neither the longest nor the shortest: what an epoch leaves out is drawn before the sorting."""
    lengths = torch.arange(3, 22)
    sampler = EpochSampler(len(lengths), 10, 0, lengths)
    seen = {index for epoch in range(20) for each in sampler.batches(epoch) for index in each.tolist()}
    assert seen == set(range(19))


def test_epochs_and_seeds_have_different_orders():
    """Neither another epoch nor another seed repeats an order."""
    orders = {tuple(next(EpochSampler(99, 99, s).batches(e)).tolist()) for s in range(3) for e in range(3)}
    assert len(orders) == 9


def test_seeds_are_golden():
    """These numbers decide every trial's data order and noise: a change of them raises NUMERICS."""
    assert derive_seed(0, "order", 0) == 7955589716765508323
    assert derive_seed(1, "step", 12345) == 3038665006509382358


def test_purposes_do_not_share_numbers():
    """The same position of two purposes gives different draws."""
    draws = {torch.rand(1, generator=generator(CPU, 0, purpose, 1)).item() for purpose in ("step", "order", "x")}
    assert len(draws) == 3


def test_initialisation_leaves_the_global_generator_alone():
    """Building a model neither reads nor moves torch's global state."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded_initialisation(1):
        first = torch.nn.Linear(3, 3).weight.clone()
    assert torch.equal(torch.rand(3), expected)
    with seeded_initialisation(1):
        assert torch.equal(torch.nn.Linear(3, 3).weight, first)
