import math

import pytest

from evaluation.metrics.perplexity import perplexity


def test_a_uniform_guess_among_v_words_has_perplexity_v():
    """Three sentences of 4, 5 and 6 words, each word log V nats."""
    words = 15
    assert perplexity(-words * math.log(1000) / 3, sentences=3, words=words) == pytest.approx(1000, rel=1e-12)


def test_a_hopeless_model_has_no_finite_perplexity():
    assert perplexity(-1e6, sentences=10, words=10) == math.inf


def test_what_is_no_text_is_refused():
    with pytest.raises(ValueError, match="0 predicted words"):
        perplexity(-1.0, sentences=3, words=0)
