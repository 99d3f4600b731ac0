"""What the client makes of a tagger's answer."""

import numpy as np

from serving.client import build_inputs
from serving.client.answers import _text_tags
from serving.contract import TAG
from serving.requests import Request


def test_padding_goes_and_names_are_joined():
    row = {
        "tags": np.array([b"iPhone 12", "苹果".encode(), b""], object),
        "tag_scores": np.array([0.9, 0.8, 0.0]),
        "words": np.array([w.encode() for w in ["买", "苹", "果", "iPhone", "12", ""]], object),
        "word_labels": np.array([b"O", b"B-brand", b"I-brand", b"B-product", b"I-product", b""], object),
        "word_scores": np.array([0.05, 0.1, 0.15, 0.4, 0.3, 0.0]),
        "sentiment": np.float32(0.25),
    }
    found = _text_tags(Request(), row, 3)
    assert found.tags == ["iPhone 12", "苹果"] and found.tag_scores.tolist() == [0.9, 0.8]
    assert found.words == ["买", "苹", "果", "iPhone", "12"] and len(found.word_scores) == 5
    assert found.names == [("苹果", "brand"), ("iPhone 12", "product")]
    assert [word for word, _ in found.key_words] == ["iPhone 12", "苹果", "买"]
    np.testing.assert_allclose([score for _, score in found.key_words], [0.7, 0.25, 0.05])
    assert found.sentiment == 0.25 and found.version == 3


def test_a_name_does_not_take_in_one_of_another_kind():
    labels = [b"B-brand", b"I-product", b"B-product", b"B-product", b"I-product"]
    row = {"tags": np.array([], object), "tag_scores": np.array([]), "sentiment": 0.5}
    row |= {"words": np.array([b"a", b"b", b"c", b"d", b"e"], object), "word_labels": np.array(labels, object)}
    found = _text_tags(Request(), {**row, "word_scores": np.full(5, 0.2)}, 1)
    assert found.names == [("a", "brand"), ("b", "product"), ("c", "product"), ("d e", "product")]


def test_a_text_is_all_that_is_sent_whatever_the_context_columns():
    arrays = build_inputs(TAG, [Request(profile_text="a"), Request(profile_text="登山")], ("country",))
    assert list(arrays) == ["text"]
    assert arrays["text"].tolist() == [b"a", "登山".encode()]
