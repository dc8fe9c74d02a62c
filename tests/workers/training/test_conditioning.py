"""The condition that a multi-rate network gets at an operating point."""

import pytest
import torch

from workers.training.conditioning import condition_at, condition_on
from workers.trial import BetaVAE, MultiRateVAE

CPU = torch.device("cpu")
METHOD = MultiRateVAE(0.01, 10.0)


def test_all_examples_have_the_condition_of_the_beta():
    expected = condition_on(METHOD, torch.tensor([[0.3]]))
    assert condition_at(METHOD, (0.3,), 5, CPU).tolist() == expected.expand(5, 1).tolist()
    assert condition_at(METHOD, (0.3, 0.3), 5, CPU).tolist() == expected.expand(5, 1).tolist()


def test_gates_of_one_beta_refuse_one_for_each_layer():
    """They would take the first for all, or fail in the middle of a network."""
    with pytest.raises(ValueError, match=r"one β for all latent layers, not \(0.1, 1\)"):
        condition_at(METHOD, (0.1, 1.0), 5, CPU)


def test_a_model_without_gates_has_no_condition():
    assert condition_at(BetaVAE(1.0), (0.1, 1.0), 5, CPU) is None
