"""Users' own text: which words get a token, what is refused and in which words, and the real part of Yahoo Answers."""

import hashlib
import os
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.architectures.registry import configure as configure_architecture
from models.vae import END, PAD, START, UNKNOWN
from workers.data.dataset import DataError
from workers.data.own.text_lines import TextLines
from workers.trial import BetaVAE, Objective, Training, Trial

TRAIN = "the cat sat\na cat _UNK the dog\nthe end\n"
# By frequency: the (3), cat (2), then by first appearance sat, a, dog, end.
THE, CAT, SAT, A, DOG, LAST = range(UNKNOWN + 1, UNKNOWN + 7)


@pytest.fixture
def own(tmp_path):
    """Three files below `tmp_path`, and their configuration."""
    (tmp_path / "train.txt").write_text(TRAIN)
    (tmp_path / "valid.txt").write_text("a dog\n")
    (tmp_path / "test.txt").write_text("the bird sat\nend _UNK\n")
    return TextLines(
        train_file="train.txt",
        validation_file="valid.txt",
        test_file="test.txt",
        train_examples=3,
        validation_examples=1,
        test_examples=2,
        longest=7,
        vocabulary=10,
    )


def refusal(dataset, root):
    with pytest.raises(DataError) as caught:
        dataset.load(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_sentences_become_start_words_end_and_padding(own, tmp_path):
    """The most frequent words come first, ties by appearance; what is not in the training file is unknown."""
    data = own.load(tmp_path)
    assert data.train.tokens.tolist() == [
        [START, THE, CAT, SAT, END, PAD, PAD],
        [START, A, CAT, UNKNOWN, THE, DOG, END],
        [START, THE, LAST, END, PAD, PAD, PAD],
    ]
    assert data.test.tokens[:, :5].tolist() == [[START, THE, UNKNOWN, SAT, END], [START, LAST, UNKNOWN, END, PAD]]
    assert data.validation.tokens[0, :4].tolist() == [START, A, DOG, END]
    assert data.train.tokens.dtype == torch.int32
    assert data.train.lengths.tolist() == [5, 7, 4]
    assert data.test.words(data.test.tokens) == ["the _UNK sat", "end _UNK"]


def test_a_text_has_its_shape_without_its_files(own, tmp_path):
    """Planning knows the sizes of the model; the loaded splits have them too."""
    assert own.shape == own.load(tmp_path).train.shape == (7, 10)
    assert own.likelihoods == ("categorical",)
    assert not own.has_labels
    assert own.splits == ("train", "validation", "test")
    assert own.locate(tmp_path) == [tmp_path / name for name in ("train.txt", "valid.txt", "test.txt")]


def test_the_rarest_words_become_unknown_in_a_smaller_vocabulary(own, tmp_path):
    """Of equally rare words those that appear later go first."""
    data = replace(own, vocabulary=7).load(tmp_path)
    assert data.train.vocabulary == ("<pad>", "<s>", "</s>", "_UNK", "the", "cat", "sat")
    assert data.train.words(data.train.tokens) == ["the cat sat", "_UNK cat _UNK the _UNK", "the _UNK"]


def test_a_vocabulary_that_is_too_large_gets_an_error_with_the_right_size(own, tmp_path):
    """The number to write includes the four special tokens and not the word for unknown words."""
    text = refusal(replace(own, vocabulary=11), tmp_path)
    assert text.startswith(f"{tmp_path / 'train.txt'}: has 6 different words, too few for vocabulary: 11")
    assert "write vocabulary: 10 or less, the four special tokens included" in text


def test_without_a_word_for_unknown_ones_it_is_a_word_like_any_other(own, tmp_path):
    """Then it has a token and a place in the vocabulary, and unknown words are written otherwise."""
    data = replace(own, unknown="", vocabulary=11).load(tmp_path)
    assert data.train.vocabulary[UNKNOWN] == "<unk>"
    assert data.train.words(data.train.tokens[1:2]) == ["a cat _UNK the dog"]
    assert data.test.words(data.test.tokens) == ["the <unk> sat", "end _UNK"]


def test_another_word_may_stand_for_unknown_ones(own, tmp_path):
    """Penn Treebank's `<unk>` is no word of the vocabulary either."""
    (tmp_path / "train.txt").write_text(TRAIN.replace("_UNK", "<unk>"))
    data = replace(own, unknown="<unk>").load(tmp_path)
    assert data.train.tokens[1].tolist() == [START, A, CAT, UNKNOWN, THE, DOG, END]
    assert data.train.vocabulary.count("<unk>") == 1


def test_words_that_look_like_marks_are_words(own, tmp_path):
    """A text may have `</s>` in it; it does not end a sentence."""
    (tmp_path / "valid.txt").write_text("the </s> <pad>\n")
    (tmp_path / "train.txt").write_text(TRAIN.replace("cat", "</s>").replace("dog", "<pad>"))
    data = own.load(tmp_path)
    assert data.validation.tokens[0].tolist() == [START, THE, CAT, DOG, END, PAD, PAD]
    assert data.validation.words(data.validation.tokens) == ["the </s> <pad>"]


def test_a_limit_keeps_the_vocabulary_of_the_whole_file(own, tmp_path):
    """A limited set is the beginning of the whole one, token by token, and its last rows are checked all the same."""
    whole, part = own.load(tmp_path), replace(own, train_limit=1).load(tmp_path)
    assert torch.equal(part.train.tokens, whole.train.tokens[:1])
    assert part.train.vocabulary == whole.train.vocabulary
    assert torch.equal(part.test.tokens, whole.test.tokens)
    (tmp_path / "train.txt").write_text("the cat sat\na dog\n\n")
    assert "row 2 has no words" in refusal(replace(own, train_limit=1), tmp_path)


def test_without_a_validation_file_there_is_no_validation_split(own, tmp_path):
    """The split is empty then, and not among the splits."""
    plain = replace(own, validation_file="", validation_examples=0)
    data = plain.load(tmp_path)
    assert plain.splits == ("train", "test")
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [3, 0, 2]
    assert data.validation.shape == (7, 10)


@pytest.mark.parametrize(
    "content",
    [
        TRAIN.removesuffix("\n"),
        TRAIN.replace("\n", "\r\n"),
        "\ufeff" + TRAIN,
        TRAIN.replace("the cat", "  the \u00a0 cat ").replace("a cat", " a\u3000cat"),
    ],
    ids=["no line feed at the end", "CRLF", "byte order mark", "other white space"],
)
def test_line_ends_and_white_space_change_nothing(own, tmp_path, content):
    """Files of other systems and editors hold the same sentences."""
    expected = own.load(tmp_path).train
    (tmp_path / "train.txt").write_bytes(content.encode())
    found = own.load(tmp_path).train
    assert torch.equal(found.tokens, expected.tokens)
    assert found.vocabulary == expected.vocabulary


def test_only_a_line_feed_ends_a_line(own, tmp_path):
    """Unicode has other separators, and a lone carriage return; they part words."""
    (tmp_path / "valid.txt").write_bytes("a\u2028dog\x0cthe\rcat\n".encode())
    data = own.load(tmp_path)
    assert data.validation.words(data.validation.tokens) == ["a dog the cat"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train", b"the cat\n\nsat\n", "row 1 has no words; remove the empty line"),
        ("train", b"the cat\na dog\n \r\n", "row 2 has no words"),
        ("test", b"the cat\nsat\n\n", "row 2 has no words"),
        ("valid", b"", "is empty"),
        ("test", b"the cat\nthe caf\xe9\n", "row 1 is not UTF-8 (its byte 7 is 0xe9); save the file as UTF-8"),
        ("test", "the cat".encode("utf-16"), "row 0 is not UTF-8 (its byte 0 is 0xff)"),
        ("test", b"the cat\n1\tthe dog\n", "row 1 has a tab; remove columns of labels"),
        ("train", b"the cat\n", "has 1 lines, but train_examples is 3; write train_examples: 1"),
        ("valid", b"a\n" * 1200, "has 1200 lines, but validation_examples is 1; write validation_examples: 1200"),
        ("test", b"a\nb\nc\n", "has 3 lines, but test_examples is 2; write test_examples: 3"),
        ("test", b"a b c d e f\na b c d e f g\n",
         "row 1 has 7 words, the most of the file; with start and end these are 9 tokens, but longest is 7; write "
         "longest: 9, or cut: true"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named_with_its_row(own, tmp_path, file, content, message):
    """Nothing is skipped or guessed."""
    path = tmp_path / f"{file}.txt"
    path.write_bytes(content)
    text = refusal(own, tmp_path)
    assert text.startswith(f"{path}: ")
    assert message in text


def test_the_advice_of_a_refusal_works(own, tmp_path):
    """The lengths that a message tells to write are those that the file needs."""
    (tmp_path / "test.txt").write_text("a b c d e f\na b c d e f g\n")
    assert replace(own, longest=9).load(tmp_path).test.lengths.tolist() == [8, 9]
    with pytest.raises(DataError, match="longest: 9"):
        replace(own, longest=8).load(tmp_path)


def test_long_sentences_are_cut_where_that_is_asked(own, tmp_path):
    """What is cut ends with END all the same, in every split; its words still count for the vocabulary."""
    data = replace(own, longest=5, cut=True).load(tmp_path)
    assert data.train.tokens.tolist() == [
        [START, THE, CAT, SAT, END],
        [START, A, CAT, UNKNOWN, END],
        [START, THE, LAST, END, PAD],
    ]
    assert "dog" in data.train.vocabulary


def test_a_missing_file_says_where_it_was_looked_for(own, tmp_path):
    """There is nothing to fetch, so the message does not advise it."""
    (tmp_path / "valid.txt").unlink()
    text = refusal(own, tmp_path)
    assert f"looked for {tmp_path / 'valid.txt'}. Put your file there" in text
    assert "--data" in text
    with pytest.raises(DataError, match="nothing to fetch"):
        own.fetch(tmp_path)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_changed_file_does_not_pass_for_the_old_one(own, tmp_path, part):
    """With its sha256 given, a file with as many other lines is refused."""
    path = tmp_path / getattr(own, f"{part}_file")
    sealed = replace(own, **{f"{part}_sha256": hashlib.sha256(path.read_bytes()).hexdigest().upper()})
    sealed.load(tmp_path)
    path.write_text(path.read_text().replace("the", "this").replace("a dog", "the dog"))
    assert f"{path}: has another content than the one to train or evaluate on" in refusal(sealed, tmp_path)


@pytest.mark.parametrize("option", ["train_file", "validation_file", "test_file"])
@pytest.mark.parametrize("path", ["/own.txt", "../own.txt", "a/../own.txt", "a\\b"])
def test_paths_stay_below_the_data_folder(own, option, path):
    """A path that could lead out of it is refused before any file is opened."""
    with pytest.raises(ValueError, match=f"^{option} is .* it must be a file's path below the data folder"):
        replace(own, **{option: path})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_file": ""}, "train_file is ''; it must be a file's path"),
        ({"longest": 2}, "longest is 2; it must be 3 or more"),
        ({"vocabulary": 4}, "vocabulary is 4; it must be 5 or more"),
        ({"unknown": "not known"}, "unknown is 'not known'; it must be one word"),
        ({"unknown": " "}, "unknown is ' '; it must be one word"),
        ({"train_examples": 0}, "train_examples is 0; it must be 1 or more"),
        ({"validation_examples": -1}, "validation_examples is -1; it must be 0 or more"),
        ({"validation_examples": 0}, "validation_examples is 0; write the number of lines of the validation_file"),
        ({"validation_file": ""}, "validation_examples is 1, but no validation_file is named"),
        ({"validation_file": "", "validation_examples": 0, "validation_sha256": "0" * 64},
         "validation_sha256 is 0{64}, but no validation_file is named"),
        ({"validation_sha256": "abc"}, "validation_sha256 is 'abc'; it must be 64 hexadecimal digits"),
        ({"test_sha256": "abc"}, "test_sha256 is 'abc'"),
        ({"train_limit": -1}, "train_limit is -1"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(own, options, message):
    """Each option that cannot be is named first, and none is ignored."""
    with pytest.raises(ValueError, match=f"^{message}"):
        replace(own, **options)


def trial_on(dataset):
    return Trial(
        dataset=dataset,
        architecture=configure_architecture("mlp", hidden=[8], latent_units=2),
        objective=Objective(likelihood="categorical"),
        method=BetaVAE(1.0),
        training=Training(epochs=1),
        seed=0,
    )


def test_every_option_is_identity(own):
    """Another value of any option is another trial."""
    others = {
        "train_limit": 1,
        "train_examples": 4,
        "validation_examples": 4,
        "test_examples": 4,
        "train_file": "a",
        "validation_file": "a",
        "test_file": "a",
        "train_sha256": "0" * 64,
        "validation_sha256": "0" * 64,
        "test_sha256": "0" * 64,
        "longest": 8,
        "vocabulary": 8,
        "cut": True,
        "unknown": "",
    }
    assert set(others) == {field.name for field in fields(own)}
    ids = {trial_on(replace(own, **{name: value})).trial_id for name, value in others.items()}
    assert len(ids | {trial_on(own).trial_id}) == len(others) + 1


WORDS = st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"]), min_size=1, max_size=4).filter(
    lambda word: word != "_UNK" and word.split() == [word] and "\ufeff" not in word
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("words")


@given(st.lists(st.lists(WORDS, min_size=1, max_size=6), min_size=1, max_size=6), st.integers(1, 40))
def test_any_words_are_read_back_and_the_frequent_ones_have_tokens(scratch, sentences, room):
    """Whatever the words: the vocabulary is the most frequent ones, and the tokens spell the sentences with it."""
    counts = Counter(word for words in sentences for word in words)
    room = min(room, len(counts))
    (scratch / "text.txt").write_bytes("\n".join(" ".join(words) for words in sentences).encode())
    data = TextLines(
        train_file="text.txt",
        test_file="text.txt",
        train_examples=len(sentences),
        test_examples=len(sentences),
        longest=8,
        vocabulary=room + 4,
    ).load(scratch)
    known = data.train.vocabulary[4:]
    assert sum(counts[word] for word in known) == sum(count for _, count in counts.most_common(room))
    assert data.train.words(data.train.tokens) == [
        " ".join(word if word in known else "_UNK" for word in words) for words in sentences
    ]
    assert (data.train.tokens != PAD).sum(1).tolist() == data.train.lengths.tolist()


@pytest.fixture(scope="module")
def yahoo_small():
    """The real part of Yahoo Answers, with every word of its training file."""
    root = Path(os.environ.get("MRVAE_DATA", "data"))
    if not (root / "text" / "yahoo-small" / "train.txt").is_file():
        pytest.skip(f"no text/yahoo-small/train.txt below {root}; set MRVAE_DATA to a folder that has it")
    return TextLines(
        train_file="text/yahoo-small/train.txt",
        validation_file="text/yahoo-small/valid.txt",
        test_file="text/yahoo-small/test.txt",
        train_examples=13_000,
        validation_examples=2000,
        test_examples=5000,
        longest=202,
        vocabulary=17_919,
        train_sha256="823966f71821450dae740e818386c72d1adfc40dda6b5874f7f619351e6ebe70",
        validation_sha256="59ef85f6bb6d16153891dc2617d810f99cf86eae722a790e541310b94f911f9c",
        test_sha256="34e6fecfb9daad2ab3291b24d9b4ff03ee55aa5aebbfc2b3d822d67b11b38553",
    ), root


def test_real_questions_have_their_counts(yahoo_small):
    """Lines, words and the longest sentence of each file are the known ones."""
    dataset, root = yahoo_small
    data = dataset.load(root)
    splits = [data.split(name) for name in dataset.splits]
    assert [len(split) for split in splits] == [13_000, 2000, 5000]
    assert [int((split.lengths - 2).sum()) for split in splits] == [1_041_341, 153_216, 384_796]
    assert [int(split.lengths.max()) for split in splits] == [202, 202, 202]
    assert [int(split.lengths.min()) for split in splits] == [22, 22, 22]
    # 17,916 different words: `_UNK`, and one token for each other.
    assert len(data.train.tokens.unique()) == 4 + 17_915
    assert data.train.vocabulary[4:9] == (".", "the", ",", "to", "?")
    # `_UNK` itself, and the 0.36 % and 0.39 % of words that the training file does not have.
    shares = [float((split.tokens == UNKNOWN).sum() / (split.lengths - 2).sum()) for split in splits]
    assert shares == pytest.approx([0.04282, 0.04862, 0.04332], abs=5e-6)
    first = (root / "text" / "yahoo-small" / "train.txt").read_text().splitlines()[:20]
    assert data.train.words(data.train.tokens[:20]) == first


def test_a_real_file_tells_its_vocabulary_and_length(yahoo_small):
    """The errors for wrong counts give the counts of the files."""
    dataset, root = yahoo_small
    assert "write vocabulary: 17919" in refusal(replace(dataset, vocabulary=20_001), root)
    assert "write longest: 202" in refusal(replace(dataset, longest=100), root)
