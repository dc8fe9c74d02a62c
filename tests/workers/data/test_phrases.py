from pathlib import Path

import pytest

from workers.data.dataset import DataError
from workers.data.generated.phrases import Phrases


@pytest.fixture(scope="module")
def data():
    return Phrases().load(Path())


def test_every_sentence_is_in_one_split_once(data):
    """92,160 different sentences, of five to nine words."""
    sentences = [line for split in (data.train, data.validation, data.test) for line in split.words(split.tokens)]
    assert len(sentences) == len(set(sentences)) == 92_160
    assert {len(line.split()) for line in sentences} == set(range(5, 10))


def test_sizes_are_as_planned(data):
    """What a plan is made with is what is there."""
    sizes = [len(data.train), len(data.validation), len(data.test)]
    assert sizes == [Phrases.train_examples, Phrases.validation_examples, Phrases.test_examples]
    assert data.test.shape == Phrases().shape == (11, Phrases.vocabulary)
    assert len(set(data.train.vocabulary)) == Phrases.vocabulary


def test_a_limit_keeps_the_first_sentences(data):
    few = Phrases(train_limit=7).load(Path())
    assert few.train.words(few.train.tokens) == data.train.words(data.train.tokens[:7])
    assert len(few.test) == 10_000


def test_there_is_nothing_to_fetch():
    with pytest.raises(DataError, match="nothing to fetch"):
        Phrases().fetch(Path())
