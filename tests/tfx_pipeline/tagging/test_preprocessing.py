"""Transform's graph of texts, analysed and applied by Beam as the pipeline does."""

import numpy as np

from models import features, text_words, wordpiece

LENGTH = 12


def pieces_of(vocabulary, text):
    """(tokens, place of each word's first one) by WordPiece over whole words, else characters."""
    place = {entry: row for row, entry in enumerate(vocabulary)}
    tokens, firsts = [], []
    for word in text_words.split(text):
        word = word.lower()
        firsts.append(1 + len(tokens))
        while word:
            prefix = "" if firsts[-1] == 1 + len(tokens) else "##"
            size = next((n for n in range(len(word), 0, -1) if prefix + word[:n] in place), 0)
            tokens.append(place[prefix + word[:size]])
            word = word[size:]
    special = wordpiece.special_tokens()
    tokens = tokens[: LENGTH - 2]
    return ([special.cls, *tokens, special.sep] if tokens else []), [
        first if first < LENGTH - 1 else 0 for first in firsts
    ]


def test_words_tokens_and_labels(toy):
    vocabulary = [entry.decode() for entry in toy.data.transform.vocabulary_by_name(features.WORDPIECE_VOCABULARY)]
    cut = 0
    for text, row in zip(toy.texts["train"], toy.rows["train"], strict=True):
        tokens, firsts = pieces_of(vocabulary, text.text)
        found = np.asarray(row[features.TEXT_TOKENS_XF])
        assert found.tolist() == tokens + [0] * (LENGTH - len(tokens)), text.text
        places = np.asarray(row[features.TEXT_WORD_PLACES_XF])
        assert places.tolist() == firsts[:LENGTH] + [0] * (LENGTH - len(firsts))
        labels = [text_words.WORD_LABELS.index(label) for label in text.labels.word_labels][: len(firsts)]
        expected = [label if first else -1 for label, first in zip(labels, firsts, strict=True)][:LENGTH]
        found = np.asarray(row[features.TEXT_WORD_LABELS_XF])
        assert found.tolist() == expected + [-1] * (LENGTH - len(expected))
        cut += 0 in firsts
    assert toy.texts["train"][-1].text == "" and cut > 0  # both happen


def test_tags_and_sentiment(toy, tag_names):
    for split in ("train", "eval"):
        for text, row in zip(toy.texts[split], toy.rows[split], strict=True):
            ids, weights = row[features.TEXT_TAGS_XF], row[features.TEXT_TAG_WEIGHTS_XF]
            found = {tag_names[place]: weight for place, weight in zip(ids, weights, strict=True) if place >= 0}
            assert found == {tag: weight for tag, weight in text.labels.tags.items() if tag in tag_names}
            expected = {"": -1, text_words.NEGATIVE: 0, text_words.POSITIVE: 1}[text.sentiment]
            assert np.asarray(row[features.TEXT_SENTIMENT_XF]).ravel().tolist() == [expected]
    assert {"Acme", "hiking boots", "Sport", "Hiking", "Home"} <= set(tag_names)
