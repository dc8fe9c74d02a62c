"""The version of the numbers that trials produce; a leaf, so that reading it imports nothing."""

NUMERICS = 1
"""Raised by hand when a change makes trials with the same settings end with different numbers."""
FIRST_NUMERICS = 1
"""The version of sweeps whose stored plan does not name one: earlier releases kept no plan."""
