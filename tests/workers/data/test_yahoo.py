"""Yahoo Answers: a corpus of the right form is read as He et al. (2019) do, and any other is refused."""

import os
from pathlib import Path

import pytest
import torch

from models.vae import END, START, UNKNOWN
from workers.data.dataset import DataError
from workers.data.published.yahoo import FILES, LINES, WORDS, Yahoo


def write(root, part, lines):
    path = root / "yahoo" / FILES[part]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def training_lines():
    """100,000 lines with 19,997 different words, `_UNK` the most frequent of them."""
    return [f"w{row % (WORDS - 1)} _UNK" for row in range(LINES["train"])]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Files with the counts of the corpus, of short made-up lines; one is as long as any may be."""
    root = tmp_path_factory.mktemp("data")
    write(root, "train", training_lines())
    write(root, "validation", ["w0 never seen"] * LINES["validation"])
    write(root, "test", [*["w1 w2"] * (LINES["test"] - 1), " ".join(["w3"] * 200)])
    return root


@pytest.fixture
def linked(corpus, tmp_path):
    """A data folder with that corpus, in which single files can be replaced."""
    (tmp_path / "yahoo").mkdir()
    for file in FILES.values():
        (tmp_path / "yahoo" / file).symlink_to(corpus / "yahoo" / file)
    return tmp_path


def replaced(root, part, lines):
    (root / "yahoo" / FILES[part]).unlink()
    return write(root, part, lines)


def test_the_sizes_are_those_that_are_published():
    """Yang et al. (2017) sampled 100,000 lines; the vocabulary has 20,001 entries, the four special tokens included."""
    dataset = Yahoo()
    assert dataset.shape == (202, 20_001)
    assert (dataset.train_examples, dataset.test_examples) == (100_000, 10_000)
    assert Yahoo(train_limit=500).examples_per_epoch == 500
    assert dataset.likelihoods == ("categorical",)
    assert not dataset.has_labels
    assert not Yahoo.is_reader()


def test_the_mark_of_rare_words_is_a_word_and_unseen_words_are_unknown(corpus):
    """As in He et al.: 19,997 different words make 20,001 tokens only where `_UNK` is one of them."""
    data = Yahoo(train_limit=3).load(corpus)
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [3, 10_000, 10_000]
    assert data.train.shape == (202, 20_001)
    assert data.train.words(data.train.tokens) == ["w0 _UNK", "w1 _UNK", "w2 _UNK"]
    mark = data.train.vocabulary.index("_UNK")
    assert mark == UNKNOWN + 1
    assert data.train.tokens[0, :4].tolist() == [START, mark + 1, mark, END]
    assert data.validation.tokens[0, :5].tolist() == [START, mark + 1, UNKNOWN, UNKNOWN, END]
    assert int(data.test.lengths.max()) == 202
    assert torch.equal(data.validation.lengths.unique(), torch.tensor([5]))


def test_other_counts_are_another_corpus(linked):
    """The file, what it has and what it should have."""
    path = replaced(linked, "validation", ["w0 w1"] * 2000)
    with pytest.raises(DataError) as caught:
        Yahoo().load(linked)
    assert str(caught.value) == (
        f"{path}: has 2,000 lines, but the file of the corpus has 10,000; put the corpus there, or use dataset "
        "'text-lines' for other text"
    )


def test_another_vocabulary_is_another_corpus(linked):
    """A training file that was prepared otherwise has other words, and the model would have another size."""
    path = replaced(linked, "train", [*training_lines()[:-1], "one more"])
    with pytest.raises(DataError, match="has 19,999 different words, but the file of the corpus has 19,997") as caught:
        Yahoo().load(linked)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3\tw0 w1", "row 9,999 has a tab; remove columns of labels"),
        (" ".join(["w0"] * 201), "row 9,999 has 201 words, but rows of the corpus have at most 200"),
        ("", "row 9,999 has no words"),
    ],
)
def test_a_line_that_cannot_be_of_the_corpus_is_named(linked, line, message):
    """Labels in front of the text, which some copies have, would be read as words."""
    path = replaced(linked, "test", [*["w1 w2"] * 9999, line])
    with pytest.raises(DataError) as caught:
        Yahoo().load(linked)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_it_cannot_be_fetched_and_says_where_it_comes_from(tmp_path):
    """Nothing is downloaded from an address that nobody vouches for."""
    with pytest.raises(
        DataError, match=r"yahoo cannot be fetched\. .*Yang et al\. \(2017\).*He et al\. \(2019\)"
    ) as it:
        Yahoo().fetch(tmp_path)
    with pytest.raises(DataError) as missing:
        Yahoo().load(tmp_path)
    for text in (str(it.value), str(missing.value)):
        assert f"{tmp_path / 'yahoo'} as train.txt, valid.txt, test.txt" in text
        assert "\n" not in text
    assert f"looked for {tmp_path / 'yahoo' / 'train.txt'}" in str(missing.value)
    assert "--data" in str(missing.value)
    assert list(tmp_path.iterdir()) == []


def test_the_real_test_questions_fit(linked):
    """The corpus's own 10,000 test lines, put together from the small set, have no line that is refused."""
    small = Path(os.environ.get("MRVAE_DATA", "data")) / "text" / "yahoo-small"
    if not (small / "test.txt").is_file():
        pytest.skip(f"no text/yahoo-small below {small.parents[1]}; set MRVAE_DATA to a folder that has it")
    lines = {part: (small / file).read_text().splitlines() for part, file in FILES.items()}
    original = {
        "validation": lines["train"][:10_000],
        "test": lines["train"][10_000:] + lines["validation"] + lines["test"],
    }
    for part, its_lines in original.items():
        replaced(linked, part, its_lines)
    data = Yahoo(train_limit=1).load(linked)
    assert [len(data.split(part)) for part in original] == [10_000, 10_000]
    # Of the made-up training file's words the real lines have `_UNK` alone, and it is no unknown word.
    mark = data.test.vocabulary.index("_UNK")
    marks = sum(line.split().count("_UNK") for line in original["test"])
    assert int((data.test.tokens == mark).sum()) == marks
