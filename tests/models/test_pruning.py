"""What is taken out of a model is gone, and the rest is as it was."""

import numpy as np
import pytest

from models.profile_encoder import ProfileEncoder
from models.pruning import keep_text_layers, prune_kernels


def test_the_smallest_numbers_of_each_kernel_become_zero(tools):
    model = tools.make_ranker()
    before = [weight.numpy() for weight in model.weights]
    prune_kernels(model, 0.4)
    kernels = 0
    for weight, old in zip(model.weights, before, strict=True):
        new = weight.numpy()
        if "kernel" not in weight.name or old.ndim < 2:
            np.testing.assert_array_equal(new, old, err_msg=weight.name)
            continue
        kernels += 1
        gone = (new == 0) & (old != 0)
        assert (new == 0).sum() >= int(0.4 * old.size)
        np.testing.assert_array_equal(new[~gone], old[~gone])
        assert np.abs(old[gone]).max(initial=0) <= np.abs(new[new != 0]).min()
    assert kernels > 10


def test_the_top_layers_of_a_text_encoder_go_and_items_are_read_anew(tools):
    model = tools.make_ranker()
    with pytest.raises(ValueError, match=r"`export\.text_layers` is 1; expected fewer than the 1 there are"):
        keep_text_layers(model, 1)
    encoder = ProfileEncoder.from_scratch(50, 16, 2, 2, 32, dropout=0.0, dimension=8)
    model = tools.make_ranker(encoder=encoder)
    tools.shake(model, 5)
    model.refresh_item_text()
    layer, words = encoder.bert.bert.encoder.layer[0], encoder.bert.bert.embeddings
    number, before = len(model.weights), model.item_encoder.text_vectors.numpy()
    small = keep_text_layers(model, 1)
    assert (len(model.weights), len(small.weights)) == (number, number - 16)
    after = small.item_encoder.text_vectors.numpy()
    assert np.abs(after - before)[:5].max() > 1e-3
    tokens = model.item_tokens.numpy()
    mask = (tokens != 0).astype(np.float32)
    states = layer(words(tokens), (1 - mask[:, None, None, :]) * -1e4, None, None, None, None, None, False)[0].numpy()
    pooled = (states * mask[..., None]).sum(1) / np.maximum(mask.sum(1, keepdims=True), 1)
    np.testing.assert_allclose(after, pooled * mask.any(1, keepdims=True), atol=1e-4)
