"""Sentences in memory: batches as wide as their longest sentence, parts of a split, and tokens written as words."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.vae import END, PAD, START, UNKNOWN
from workers.data.sentences import Sentences
from workers.data.split import ResidentData
from workers.seeding import generator

CPU = torch.device("cpu")
VOCABULARY = ("<pad>", "<s>", "</s>", "<unk>", "cat", "sat", "the")
CAT, SAT, THE = range(UNKNOWN + 1, UNKNOWN + 4)
ROWS = [
    [START, THE, CAT, SAT, END, PAD, PAD, PAD],
    [START, SAT, END, PAD, PAD, PAD, PAD, PAD],
    [START, THE, UNKNOWN, END, PAD, PAD, PAD, PAD],
]


@pytest.fixture
def sentences():
    tokens = torch.tensor(ROWS, dtype=torch.int32)
    return Sentences(tokens, (tokens != PAD).sum(1), VOCABULARY)


def draw(sentences, *indices):
    return sentences.batch(torch.tensor(indices), generator(CPU, 0, "step", 0))


def test_a_batch_is_as_wide_as_its_longest_sentence(sentences):
    """Shorter ones are padded to it and no further; tokens are the int64 that embeddings take."""
    batch = draw(sentences, 2, 1)
    assert batch.tolist() == [[START, THE, UNKNOWN, END], [START, SAT, END, PAD]]
    assert batch.dtype == torch.int64
    assert draw(sentences, 1).shape == (1, 3)
    assert draw(sentences, 0, 1, 2).shape == (3, 5)


def test_a_batch_draws_nothing(sentences):
    """The generator is where it was: text is not augmented."""
    random = generator(CPU, 0, "step", 0)
    before = random.get_state()
    sentences.batch(torch.tensor([0, 1]), random)
    assert torch.equal(random.get_state(), before)


def test_a_batch_is_a_copy(sentences):
    """What a model does to its batch does not reach the data."""
    draw(sentences, 0).fill_(PAD)
    assert sentences.tokens.tolist() == ROWS


@pytest.mark.parametrize(("limit", "expected"), [(0, 3), (1, 1), (2, 2), (9, 3)])
def test_the_first_sentences_keep_length_and_vocabulary(sentences, limit, expected):
    """A limit of 0 keeps all, and the shape stays whatever is left."""
    part = sentences.first(limit)
    assert part.tokens.tolist() == ROWS[:expected]
    assert part.lengths.tolist() == [5, 3, 4][:expected]
    assert len(part) == expected
    assert part.shape == sentences.shape == (8, 7)


def test_a_split_can_be_on_another_device_while_its_lengths_stay(sentences):
    """The order of training is made on the CPU, from the lengths."""
    data = ResidentData(sentences, sentences, sentences).to(torch.device("meta"))
    assert data.train.tokens.device.type == "meta"
    assert data.train.lengths.device.type == "cpu"
    assert data.split("test").batch(torch.tensor([1]), torch.Generator()).shape == (1, 3)


def test_the_work_of_a_batch_is_its_width(sentences):
    """Of 8 tokens at most, a batch has 4 and a sentence has (5 + 3 + 4) / 3 on average."""
    assert sentences.share_of_longest(draw(sentences, 1, 2)) == 4 / 8
    assert sentences.mean_share_of_longest() == pytest.approx(4 / 8)
    assert sentences.first(1).mean_share_of_longest() == 5 / 8


def test_tokens_are_written_up_to_the_end(sentences):
    """Start and padding are no words, unknown ones are shown, and nothing after the first END is."""
    assert sentences.words(sentences.tokens) == ["the cat sat", "sat", "the <unk>"]
    decoded = torch.tensor([[START, CAT, PAD, SAT, END, CAT, END], [THE, CAT, SAT, THE, CAT, SAT, THE]])
    assert sentences.words(decoded) == ["cat sat", "the cat sat the cat sat the"]
    assert sentences.words(torch.tensor([[START, END, PAD]])) == [""]


@given(st.lists(st.lists(st.integers(UNKNOWN, THE), max_size=6), min_size=1, max_size=8), st.data())
def test_padding_is_all_that_a_batch_changes(sentences_of_words, data):
    """Any sentences, in any order and however often: each row has its words, and PAD behind them."""
    rows = [[START, *words, END] for words in sentences_of_words]
    tokens = torch.tensor([row + [PAD] * (8 - len(row)) for row in rows], dtype=torch.int32)
    lengths = torch.tensor([len(row) for row in rows])
    indices = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=10))
    batch = draw(Sentences(tokens, lengths, VOCABULARY), *indices).tolist()
    width = max(len(rows[index]) for index in indices)
    assert batch == [rows[index] + [PAD] * (width - len(rows[index])) for index in indices]
