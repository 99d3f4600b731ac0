"""Pairs of texts against what transformers' own tokenizer makes of them."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from models import wordpiece
from models.pair_tokens import pair_tokens

PAD, CLS, SEP = 0, 2, 3
words = st.lists(st.integers(5, 30), max_size=4)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join([*wordpiece.RESERVED, *(f"w{n}" for n in range(5, 31))]), encoding="utf-8")
    return BertTokenizer(str(path))


def framed(rows, length):
    """Each row as [CLS] words [SEP], padded; an empty one is all padding."""
    found = np.zeros([len(rows), length], int)
    for row, ids in enumerate(rows):
        if ids:
            found[row, : len(ids) + 2] = [CLS, *ids, SEP]
    return tf.constant(found)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=4))
def test_two_texts_are_framed_as_bert_was_trained(tokenizer, pairs):
    first, second = zip(*pairs, strict=True)
    ids, types = (part.numpy() for part in pair_tokens([framed(first, 6)], framed(second, 7), CLS, SEP))
    for row, pair in enumerate(pairs):
        expected = tokenizer.build_inputs_with_special_tokens(*pair)
        kinds = tokenizer.create_token_type_ids_from_sequences(*pair)
        assert ids[row].tolist() == expected + [PAD] * (len(ids[row]) - len(expected))
        assert types[row].tolist() == kinds + [0] * (len(ids[row]) - len(kinds))


@given(words, words, words)
def test_several_first_texts_each_end_in_a_sep_and_none_needs_to_be_there(tokenizer, query, profile, item):
    ids, types = pair_tokens([framed([query], 6), framed([profile], 6)], framed([item], 6), CLS, SEP)
    joined = [*query, SEP, *profile] if query and profile else [*query, *profile]
    expected = tokenizer.build_inputs_with_special_tokens(joined, item)
    kinds = tokenizer.create_token_type_ids_from_sequences(joined, item)
    assert [n for n in ids.numpy()[0].tolist() if n] == expected
    assert types.numpy()[0].tolist()[: len(kinds)] == kinds
