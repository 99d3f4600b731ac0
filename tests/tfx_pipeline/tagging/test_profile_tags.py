"""A tagger's tags among those of another model, also inside of that one's SavedModel."""

import numpy as np
import pytest
import tensorflow as tf

from models import features
from serving import contract
from serving.profile_tags import ProfileTags
from tfx_pipeline.export import newest

NAMES = [["Hiking", "sofa", "Rooms"], ["Hiking", "sofa", "Rooms"]]
SCORES = [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]


def merged_by_hand(fitted, text, names, scores):
    answer = fitted.loaded.signatures[contract.TAG](**{features.TEXT: tf.constant([text])})
    found = dict(zip(names, scores, strict=True))
    for tag, score in zip(answer[contract.TAGS].numpy()[0], answer[contract.TAG_SCORES].numpy()[0], strict=True):
        if tag:
            found[tag.decode()] = max(found.get(tag.decode(), 0), float(score))
    return sorted(found.items(), key=lambda pair: -pair[1])[: len(names)]


def test_the_best_of_both(fitted, tmp_path):
    class Other(tf.Module):
        def __init__(self):
            super().__init__()
            self.tagger = ProfileTags(str(fitted.path))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def profile(self, texts):
            rows = tf.shape(texts)[0]
            return self.tagger.merge(texts, tf.constant(NAMES)[:rows], tf.constant(SCORES)[:rows])

    other = Other()
    texts = ["Acme warm hiking boots", ""]
    tf.saved_model.save(other, str(tmp_path / "other"))
    loaded = tf.saved_model.load(str(tmp_path / "other"))
    for names, scores in (other.profile(tf.constant(texts)), loaded.profile(tf.constant(texts))):
        for row, text in enumerate(texts):
            expected = merged_by_hand(fitted, text, NAMES[row], SCORES[row])
            assert [name.decode() for name in names[row].numpy()] == [name for name, _ in expected]
            np.testing.assert_allclose(scores[row], [score for _, score in expected], atol=1e-6)
    assert [name.decode() for name in names[1].numpy()] == NAMES[1]  # an empty text says nothing


def test_the_newest_version_is_taken(fitted, tmp_path):
    for version in ("9", "10", "draft"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").touch()
    assert newest(str(tmp_path)) == str(tmp_path / "10")
    assert newest(str(fitted.path)) == str(fitted.path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no SavedModel and no version of one"):
        newest(str(tmp_path / "empty"))


def test_what_is_no_tagger_is_named(tmp_path):
    module = tf.Module()
    module.ask = tf.function(lambda text: {"x": text}, input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path / "other"), signatures={"ask": module.ask})
    with pytest.raises(ValueError, match=r"has no signature `tag`, only ask; expected a pushed tagger"):
        ProfileTags(str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"nothing cannot be loaded; expected a pushed tagger"):
        ProfileTags(str(tmp_path / "nothing"))
