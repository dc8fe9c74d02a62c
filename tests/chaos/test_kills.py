"""A short part of `make kills`: commands that are killed, and run again, lose nothing and do nothing twice."""

import pytest

from chaos.kills import Kills


def said_by(tmp_path, number, seed):
    said = []
    kills = Kills(tmp_path, seed, said.append)
    kills.run(number)
    assert kills.hits.total() >= number
    return [*kills.lost]


def test_what_is_killed_goes_on_with_the_same_command(tmp_path):
    """Submit, evaluate, sync and report on a new store, with three kills at random moments."""
    assert not said_by(tmp_path, number=3, seed=1)


@pytest.mark.slow
def test_nothing_is_lost_however_often_commands_are_killed(tmp_path):
    """Several rounds, other moments."""
    assert not said_by(tmp_path, number=15, seed=2)
