from __future__ import annotations

import math


def perplexity(elbo_nats: float, sentences: int, words: int) -> float:
    """Return exp(-Σ ELBO / words), the bound on perplexity that the ELBO gives (He et al. 2019).

    `elbo_nats` is the mean over `sentences`; `words` counts what was predicted in all of them, ends of sentences
    included. Raises ValueError where there are no words.
    """
    if words < 1:
        raise ValueError(f"{words} predicted words have no perplexity; it is of text")
    try:
        return math.exp(-elbo_nats * sentences / words)
    except OverflowError:
        return math.inf
