"""Every switch of the Ranker: it builds, it trains, and it does what it says."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models import features
from models.catalogue_sampler import CatalogueSampler, Sample
from models.shopper import Shopper

SWITCHES = {
    "all": {},
    "no_profile": {"use_profile": False},
    "no_autoencoder": {"use_autoencoder": False},
    "no_merge": {"use_merge": False},
    "no_cooccurrence": {"use_cooccurrence": False},
    "no_mixture": {"use_mixture": False},
    "no_copy": {"use_copy": False},
    "no_repeats": {"use_copy": False, "use_mixture": False},
    "no_popularity": {"use_popularity": False},
    "no_lexical": {"use_lexical": False},
    "words": {"use_words": True},
    "no_attributes": {"use_attributes": False},
    "affinity": {"use_affinity": True, "use_cooccurrence": False},
    "images": {"use_image_embedding": True, "image_width": 3},
    "relations": {"use_relations": True, "relations": 2},
    "neighbours": {"neighbours": 4},
    "content": {"content_neighbours": 2, "use_newest_event": True},
    "linear": {"linear_regularisation": 2.0},
    "no_paths": {"use_copy": False, "use_popularity": False, "use_lexical": False},
    "mean": {"merge": "mean"},
    "attention": {"merge": "attention"},
    "concat": {"merge": "concat"},
    "vectors": {"merge_source": "vectors"},
    "concat_vectors": {"merge": "concat", "merge_source": "vectors"},
    "through": {"item_text": "through"},
    "no_item_text": {"item_text": "none", "use_words": True},
    "dropouts": {"dropout": 0.2, "id_dropout": 0.2, "history_dropout": 0.2},
    "unasked": {"query_dropout": 0.5},
    "smoothing": {"loss_weights": {"catalogue": 1.0}, "label_smoothing": 0.1},
    "listwise": {"loss_weights": {"listwise": 1.0}},
    "sampled": {"sampled_items": 3},
    "sampled_affinity": {"sampled_items": 3, "use_affinity": True},
    "sampled_evidence": {"sampled_items": 3, "neighbours": 4, "content_neighbours": 2},
    "sampled_linear": {"sampled_items": 3, "linear_regularisation": 2.0},
    "sampled_relations": {"sampled_items": 3, "use_relations": True, "relations": 2, "item_text": "through"},
}


@pytest.fixture(scope="module")
def encoder(tools):
    tf.keras.utils.set_random_seed(5)
    return tools.small_encoder()


# Without losses over the candidates no BERT runs in a step; the cases that change how candidates score keep all losses.
SHORT = {"catalogue": 1.0, "reconstruction": 0.1}
EVERY_LOSS = {"all", "no_copy", "no_paths"}


@pytest.mark.parametrize("name", SWITCHES)
def test_builds_and_two_steps_lower_the_loss(tools, encoder, name):
    short = {} if name in EVERY_LOSS else {"loss_weights": SHORT}
    ranker = tools.make_ranker(encoder=encoder, **{**short, **SWITCHES[name]})
    if ranker.counts:
        rng = np.random.default_rng(2)
        ranker.count([Shopper(rng.integers(0, 6, 5), np.array([], int), key) for key in range(12)])
    inputs, labels = tools.pooled_request(ranker), tf.constant(tools.labels)
    ranker.compile(optimizer=tf.keras.optimizers.legacy.Adam(0.0001), run_eagerly=True)
    before = {k: float(v) for k, v in ranker.compute_losses(inputs, labels, training=False).items()}
    weights = ranker.config.loss_weights
    wanted = {name for name in ("catalogue", "listwise", "binary") if name in weights} | {"loss"}
    if "reconstruction" in weights and ranker.config.use_autoencoder:
        wanted |= {"reconstruction_items", "reconstruction_vector"}
    assert set(before) == wanted
    rebuilt = weights.get("reconstruction", 0) * sum(v for k, v in before.items() if k.startswith("reconstruction"))
    total = sum(weights[k] * v for k, v in before.items() if k in weights) + rebuilt
    assert before["loss"] == pytest.approx(total, rel=1e-5)
    for _ in range(2):
        ranker.train_step((inputs, labels))
    after = float(ranker.compute_losses(inputs, labels, training=False)["loss"])
    assert after < before["loss"]


def difference(ranker, request, **changes):
    """How far each row's scores move when the request changes."""
    changed = {**request, **{name: tf.constant(value, request[name].dtype) for name, value in changes.items()}}
    return np.abs(ranker(changed) - ranker(request)).max(1)


@pytest.fixture(scope="module")
def full(tools):
    return tools.make_ranker()


OTHER_PROFILE = {features.PROFILE_TOKENS_XF: [[2, 44, 3, 0]] * 3}
OTHER_HISTORY = {features.HISTORY_ITEMS_XF: [[4, 4, 1, 3, 3], [0] * 5, [1, 1, 0, 0, 0]]}
OTHER_DAY = {features.REQUEST_DAY_XF: [102] * 3}


def test_without_profile_its_text_changes_nothing(tools, full):
    request = tools.request()
    assert difference(full, request, **OTHER_PROFILE).min() > 1e-4
    assert not difference(tools.make_ranker(use_profile=False), request, **OTHER_PROFILE).any()


def test_without_popularity_the_day_changes_nothing(tools, full):
    request = tools.request()
    assert difference(full, request, **OTHER_DAY).min() > 1e-4
    assert not difference(tools.make_ranker(use_popularity=False), request, **OTHER_DAY).any()


@pytest.mark.parametrize("use_copy", [True, False])
def test_cooccurrence_adds_to_the_scores_of_items_outside_the_history(tools, use_copy):
    ranker = tools.make_ranker(use_copy=use_copy, use_mixture=True)
    state = ranker.encode_user(tools.request())
    without = dataclasses.replace(state, similar=None)
    added = (ranker.raw_scores(state) - ranker.raw_scores(without)).numpy()
    assert (state.similar.numpy()[0] * state.repeated.numpy()[0]).any()
    # Where the copy path stands aside, the history's own items are scored too.
    expected = state.similar * (1 - state.repeated) if use_copy else state.similar
    np.testing.assert_allclose(added, expected, atol=1e-5)
    assert tools.make_ranker(use_cooccurrence=False).encode_user(tools.request()).similar is None


def test_a_hidden_id_is_hidden_from_the_cooccurrence_path_too(tools):
    ranker = tools.make_ranker(id_dropout=0.5)
    tf.keras.utils.set_random_seed(3)
    hidden = 0
    for _ in range(4):
        state = ranker.encode_user(tools.request(), training=True)
        from_attributes = ranker.item_encoder(None, kept=tf.zeros([ranker.config.items])).numpy()
        is_hidden = np.isclose(state.items.numpy(), from_attributes, atol=1e-6).all(1)
        assert not state.similar.numpy()[:, is_hidden].any()
        hidden += is_hidden.sum()
    never_trained = 4 * int((ranker.item_encoder.trained.numpy() == 0).sum())
    assert never_trained < hidden < 4 * ranker.config.items


@pytest.mark.parametrize("use_mixture", [True, False])
def test_without_copy_only_the_mixture_knows_repeats(tools, use_mixture):
    ranker = tools.make_ranker(use_copy=False, use_mixture=use_mixture)
    state = ranker.encode_user(tools.request())
    assert (state.repeated is not None, state.habits is not None) == (use_mixture, use_mixture)
    assert state.features.shape == [3, 6, 3]  # the popularity of three windows
    assert difference(ranker, tools.request(), **OTHER_HISTORY)[0] > 1e-4  # through the slices


def test_without_merge_only_the_newest_slice_counts(tools, full):
    """Row 0 has slices (-, 2), (3, 1) and (4, 2): the first two change."""
    request = tools.request()
    older = {features.HISTORY_TYPES_XF: [[3, 2, 2, 2, 2], [0] * 5, [1, 1, 0, 0, 0]]}
    changed = {**request, **{name: tf.constant(value, tf.int64) for name, value in older.items()}}
    ranker = tools.make_ranker(use_merge=False)
    np.testing.assert_allclose(ranker.encode_user(changed).vector, ranker.encode_user(request).vector, atol=1e-6)
    assert np.abs(full.encode_user(changed).vector - full.encode_user(request).vector).max() > 1e-4


@pytest.mark.parametrize(
    ("merge", "source", "width"), [("mean", "codes", 4), ("concat", "codes", 12), ("concat", "vectors", 24)]
)
def test_merge_modes_and_sources_give_the_fusion_what_they_say(tools, merge, source, width):
    ranker = tools.make_ranker(merge=merge, merge_source=source, use_newest_event=True)
    slices = ranker.encode_user(tools.request()).slices
    merged, newest, state = ranker._sequence_parts(slices)
    kept = slices[source].numpy()
    expected = (
        kept.reshape(3, -1)
        if merge == "concat"
        else kept.sum(1) / np.maximum(slices["slice_mask"].numpy().sum(1), 1)[:, None]
    )
    assert merged.shape == [3, width]
    np.testing.assert_allclose(merged, expected, atol=1e-5)
    np.testing.assert_allclose(newest, slices["vectors"][:, -1], atol=1e-6)
    np.testing.assert_allclose(state, slices["newest"], atol=1e-6)


@pytest.mark.parametrize(("item_text", "trained"), [("table", False), ("through", True)])
def test_item_texts_train_bert_only_when_they_go_through_it(tools, item_text, trained):
    ranker = tools.make_ranker(item_text=item_text)
    silent = {features.PROFILE_TOKENS_XF: [[0] * 4] * 3, features.QUERY_TOKENS_XF: [[0] * 3] * 3}
    silent[features.CANDIDATE_TEXT_POSITIONS_XF] = [[-1]] * 3
    with tf.GradientTape() as tape:
        loss = ranker.compute_losses(tools.request(**silent), tf.constant(tools.labels), training=True)["loss"]
    kernel = ranker.text_encoder.bert.bert.encoder.layer[0].intermediate.dense.kernel
    gradient = tape.gradient(loss, kernel)
    assert (gradient is not None and np.abs(gradient).max() > 1e-7) == trained


def test_refreshing_the_item_texts_takes_over_what_bert_learned(tools):
    ranker = tools.make_ranker()
    before = ranker.item_encoder.text_vectors.numpy()
    tools.shake(ranker.text_encoder, seed=9)
    ranker.refresh_item_text(batch_size=4)
    after = ranker.item_encoder.text_vectors.numpy()
    np.testing.assert_allclose(after, ranker.text_encoder.pool(ranker.item_tokens), atol=1e-5)
    assert np.abs(after - before)[:5].max(1).min() > 1e-3


def test_without_item_text_an_item_is_its_id_attributes_and_words(tools):
    ranker = tools.make_ranker(item_text="none", use_words=True)
    encoder, bag = ranker.item_encoder, ranker.word_bag
    assert not encoder.text_vectors.numpy().any()
    bare = encoder(tf.zeros_like(encoder.text_vectors))
    np.testing.assert_allclose(ranker.item_vectors(), bare + bag(ranker.item_tokens), atol=1e-6)
    silent = {features.PROFILE_TOKENS_XF: [[0] * 4] * 3, features.QUERY_TOKENS_XF: [[0] * 3] * 3}
    before = ranker(tools.request(**silent)).numpy()  # a candidate that the catalogue does not know is among them
    tools.shake(ranker.text_encoder, seed=9)
    np.testing.assert_allclose(ranker(tools.request(**silent)), before, atol=1e-6)
    bag.vectors.assign_add(tf.ones_like(bag.vectors))
    assert abs(ranker(tools.request(**silent))[0, 2] - before[0, 2]) > 1e-3


def test_fit_trains_in_a_graph_and_reports_every_part(tools):
    weights = {"catalogue": 1.0, "reconstruction": 0.1}
    ranker = tools.make_ranker(dropout=0.1, id_dropout=0.1, loss_weights=weights)
    ranker.compile(optimizer=tf.keras.optimizers.legacy.Adam(0.01))
    data = tf.data.Dataset.from_tensors((tools.pooled_request(ranker), tf.constant(tools.labels)))
    log = ranker.fit(data.repeat(15), epochs=2, verbose=0).history
    assert set(log) == {"loss", "catalogue", "reconstruction_items", "reconstruction_vector"}
    assert log["loss"][1] < log["loss"][0]
    total = log["catalogue"][1] + 0.1 * (log["reconstruction_items"][1] + log["reconstruction_vector"][1])
    assert log["loss"][1] == pytest.approx(total, rel=1e-3)


@pytest.mark.long
def test_xla_computes_the_same_losses(tools):
    ranker = tools.make_ranker(loss_weights={"catalogue": 1.0, "reconstruction": 0.1})
    inputs, labels = tools.pooled_request(ranker), tf.constant(tools.labels)
    compiled = tf.function(lambda: ranker.compute_losses(inputs, labels, training=True), jit_compile=True)()
    expected = ranker.compute_losses(inputs, labels, training=True)  # without dropout there is no chance in it
    for name, value in expected.items():
        np.testing.assert_allclose(compiled[name], value, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_text": "both"}, "`table`, `through` or `none`, not 'both'"),
        ({"merge_source": "ids"}, "`codes` or `vectors`, not 'ids'"),
    ],
)
def test_a_wrong_switch_is_refused(tools, changes, message):
    with pytest.raises(ValueError, match=message):
        tools.make_ranker(**changes)


def test_every_switch_of_the_configuration_is_covered(tools):
    """Whoever adds a switch adds a case here."""
    kinds = {f.name for f in dataclasses.fields(tools.small_config()) if f.type in ("bool", "str")}
    assert kinds == {key for case in SWITCHES.values() for key in case} & kinds


@pytest.mark.parametrize("changes", [{}, {"use_mixture": False}, {"item_text": "through"}], ids=str)
def test_a_sample_that_a_decision_names_in_full_has_the_loss_of_the_whole_catalogue(tools, changes):
    named = tools.request(
        **{
            features.CANDIDATE_ITEMS_XF: [[2, 3, 4, 5, 6, 7]] * 3,
            features.CANDIDATE_TEXT_POSITIONS_XF: [[-1]] * 3,
        }
    )
    labels = tf.constant([[1.0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, -1, 0]])
    full = tools.make_ranker(**changes)
    sampled = tools.make_ranker(sampled_items=2, **changes)
    for one, other in zip(sampled.trainable_variables, full.trainable_variables, strict=True):
        one.assign(other)
    sampled.refresh_item_text()
    expected = full.compute_losses(named, labels, training=True)
    found = sampled.compute_losses(named, labels, training=True)
    assert set(found) == set(expected) and len(found) > 4
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-4), name


def test_what_was_drawn_counts_by_its_weight_in_the_softmax_and_in_the_reconstruction(tools, monkeypatch):
    weights = np.array([0.9, -1.3, 0.4, -np.inf, 1.7, -0.6])
    rows = tf.range(6)

    def drawn(self, positions, candidates):
        return Sample(rows, positions, candidates, tf.constant(weights, tf.float32))

    monkeypatch.setattr(CatalogueSampler, "__call__", drawn)
    ranker = tools.make_ranker(sampled_items=1, use_copy=False, use_mixture=False)
    inputs, labels = tools.request(), tf.constant(tools.labels)
    state = ranker.encode_user(inputs, training=True)
    own = [{0, 1, 2, 5}, {1, 4}, {3, 0, 1}]  # named by history or candidates
    corrections = np.array([[0 if i in named else max(weights[i], -1e9) for i in range(6)] for named in own])

    def log_softmax(logits):
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    log_p = log_softmax(ranker.raw_scores(state).numpy() + corrections)
    per_decision = [-(log_p[0, 0] + log_p[0, 2]) / 2, -log_p[1, 1], -log_p[2, 0]]
    of_items = log_softmax(
        np.einsum("bsd,vd->bsv", state.slices["reconstructions"], state.items) + corrections[:, np.newaxis]
    )
    places = state.slices["positions"].numpy()[0]  # only the first decision has known events
    events = [
        (i // 2, int(state.positions[0, p])) for i, p in enumerate(places) if p >= 0 and state.positions[0, p] >= 0
    ]
    found = ranker.compute_losses(inputs, labels, training=True)
    root = np.sqrt([2, 1, 1])
    assert float(found["catalogue"]) == pytest.approx((per_decision * root).sum() / root.sum(), rel=1e-5)
    assert len(events) == 4
    expected = -np.mean([of_items[0, s, item] for s, item in events])
    assert float(found["reconstruction_items"]) == pytest.approx(expected, rel=1e-5)


def test_a_sampled_step_touches_the_ids_of_the_sample_only(tools):
    few = {
        features.CANDIDATE_ITEMS_XF: [[2, 3]] * 3,
        features.HISTORY_ITEMS_XF: [[2, 0, 0, 0, 0]] * 3,
        features.CANDIDATE_TEXT_POSITIONS_XF: [[-1]] * 3,
    }
    ranker = tools.make_ranker(sampled_items=1)
    ranker.sampler.set_table(np.zeros(6), np.array([0, 0, 1, 0, 0, 0]))  # item 2 is what is drawn
    with tf.GradientTape() as tape:
        loss = ranker.compute_losses(tools.request(**few), tf.constant([[1.0, 0]] * 3), training=True)["loss"]
    gradient = tf.convert_to_tensor(tape.gradient(loss, ranker.item_encoder.ids)).numpy()
    assert set(np.flatnonzero(np.abs(gradient).max(1) > 0)) == {0, 1, 2}


def test_words_of_a_query_lift_the_items_that_hold_them(tools):
    table = tools.small_table()
    ranker = tools.make_ranker(table)
    query = np.zeros([3, 3], np.int64)
    query[1] = [2, table.tokens[2, 2], 3]
    inputs = tools.request(**{features.QUERY_TOKENS_XF: query})
    holding = (table.tokens == query[1, 1]).any(1)
    before = ranker.encode_user(inputs).match.numpy()
    ranker.query_match.lexical_scale.assign_add(2.0)
    lifted = ranker.encode_user(inputs).match.numpy() - before
    np.testing.assert_allclose(lifted[1], 2.0 * holding, atol=1e-5)
    np.testing.assert_allclose(lifted[[0, 2]], 0, atol=1e-6)


def test_asking_for_something_else_lowers_the_share_of_repeats(tools):
    """The gate of a searcher whose history holds what is asked for, and of one whose history does not."""
    table = tools.small_table()
    ranker = tools.make_ranker(table)
    ranker.mixture.set_weights([np.zeros(w.shape) for w in ranker.mixture.get_weights()])
    ranker.mixture.direct.assign([0, 0, 0, 0, 1])
    query = np.tile([2, table.tokens[2, 2], 3], [3, 1])
    history = [[4, 3, 0, 0, 0], [3, 2, 0, 0, 0], [0, 0, 0, 0, 0]]  # of rows + 2: item 2 is in the first
    state = ranker.encode_user(tools.request(**{features.QUERY_TOKENS_XF: query, features.HISTORY_ITEMS_XF: history}))
    shares = (np.exp(ranker.score_catalogue(state)) * state.repeated.numpy()).sum(1)
    assert state.habits[0, 4] > state.habits[1, 4] and state.habits[2, 4] == 0
    assert shares[0] > shares[1] > shares[2] == 0


def test_a_match_that_may_not_be_recommended_says_nothing_to_the_gate(tools):
    table = tools.small_table()
    query = np.tile([2, table.tokens[2, 2], 3], [3, 1])
    history = [[3, 2, 0, 0, 0], [4, 3, 0, 0, 0], [4, 0, 0, 0, 0]]  # of rows + 2: item 2 is in the last two
    inputs = tools.request(**{features.QUERY_TOKENS_XF: query, features.HISTORY_ITEMS_XF: history})
    ranker = tools.make_ranker(table)
    state = ranker.encode_user(inputs)
    assert (state.match.numpy().argmax(1) == 2).all()
    ranker.servable.assign([1, 1, 0, 1, 1, 1])
    mass = np.exp(state.match.numpy().astype(np.float64))
    own = [(mass[0, :2].sum(), mass[0, 3:].sum()), (mass[1, 1], mass[1, 0] + mass[1, 3:].sum()), (1, 1)]
    expected = [np.log(repeats / rest) for repeats, rest in own]
    np.testing.assert_allclose(ranker.encode_user(inputs).habits[:, 4], expected, atol=1e-5)


def test_the_gate_teaches_the_query_nothing(tools):
    """The share of repeats moves with the match, but no gradient goes from there into what matches."""
    ranker = tools.make_ranker(loss_weights={"catalogue": 1.0})
    inputs = tools.request(**{features.QUERY_TOKENS_XF: [[2, 23, 3]] * 3})
    with tf.GradientTape() as tape:
        evidence = ranker.encode_user(inputs).habits[0, 4]
    assert abs(float(evidence)) > 1e-3
    assert all(gradient is None for gradient in tape.gradient(evidence, ranker.query_match.trainable_variables))


IMAGES, RELATIONS = SWITCHES["images"], SWITCHES["relations"]


def test_images_and_relations_that_are_not_used_are_not_built(tools, full):
    unused = tools.make_ranker(image_width=3, relations=2)
    assert [weight.shape for weight in unused.weights] == [weight.shape for weight in full.weights]
    used = tools.make_ranker(**IMAGES, **RELATIONS, relation_neighbours=5)
    assert len(used.weights) == len(full.weights) + 4  # two projections and their tables
    assert used.item_encoder.related_items.of().shape == [6, 2, 5]


def test_a_cold_item_is_scored_by_its_image_and_its_neighbours(tools):
    """Item 4 has no trained id; row 1 has no history, so that there nothing but the item's own score moves."""
    ranker, request = tools.make_ranker(**IMAGES, **RELATIONS, use_mixture=False), tools.request()
    table = tools.small_table()
    scores, unknown = ranker.raw_scores(ranker.encode_user(request)).numpy(), ranker(request).numpy()[1, 2]
    images, relations = table.images.copy(), table.relations.copy()
    images[4] *= -1
    relations[0, 2] = 3
    for changes in ({"images": images}, {"relations": relations}):
        ranker.item_encoder.set_table(dataclasses.replace(table, **changes))
        change = ranker.raw_scores(ranker.encode_user(request)).numpy() - scores
        assert np.abs(change[:, 4]).min() > 1e-3
        np.testing.assert_allclose(np.delete(change[1], 4), 0, atol=1e-5)
        # What the catalogue does not know has neither image nor neighbours.
        assert ranker(request).numpy()[1, 2] == pytest.approx(unknown, abs=1e-5)
        ranker.item_encoder.set_table(table)


def test_without_attributes_an_item_is_its_id_and_its_text(tools):
    table = tools.small_table()
    other = dataclasses.replace(
        table, categories=table.categories[::-1], brands=table.brands[::-1], prices=table.prices + 1
    )
    for use in (True, False):
        ranker, sales = tools.make_ranker(use_attributes=use), np.zeros([tools.small_config().days, len(table.prices)])
        ranker.set_catalogue(table, sales, 100)
        before = ranker.item_vectors().numpy()
        ranker.set_catalogue(other, sales, 100)
        assert bool(np.abs(ranker.item_vectors() - before).max() > 1e-3) == use
        assert np.abs(before[:-1]).max(1).min() > 1e-3  # the last has neither id nor text


def test_what_the_history_has_of_its_brand_speaks_for_an_item_that_may_not_be_recommended_yet(tools):
    table = tools.small_table(servable=np.array([1, 1, 1, 1, 1, 0], bool))
    ranker, request = (
        tools.make_ranker(table, use_affinity=True, use_mixture=False, use_cooccurrence=False),
        tools.request(),
    )
    state, before = ranker.encode_user(request), ranker(request).numpy()
    assert request[features.CANDIDATE_ITEMS_XF][0, 1] == 5 + features.FIRST_KNOWN_ID
    alike = float(state.similar[0, 5])
    for layer in ranker.affinity_path.outer:
        layer.kernel.assign(tf.zeros_like(layer.kernel))
    after = ranker(request).numpy()
    assert abs(alike) > 1e-3 and before[0, 1] - after[0, 1] == pytest.approx(alike, abs=1e-5)
    assert before[0, 2] == after[0, 2]  # of what the catalogue does not know no attribute is known


def test_some_decisions_train_as_if_nobody_had_asked(tools, encoder):
    ranker = tools.make_ranker(encoder=encoder, query_dropout=0.5, loss_weights={"catalogue": 1.0})
    inputs, labels = tools.pooled_request(ranker), tf.constant(tools.labels)
    assert bool(tf.reduce_any(inputs[features.QUERY_TOKENS_XF][1] != 0))
    queries = (features.QUERY_TOKENS_XF, features.QUERY_POOLED_XF)
    inputs = {name: value[1:2] for name, value in inputs.items()}
    silent = {**inputs, **{name: tf.zeros_like(inputs[name]) for name in queries}}

    def loss(given, training):
        return round(float(ranker.compute_losses(given, labels[1:2], training=training)["loss"]), 4)

    asked, unasked = loss(inputs, False), loss(silent, False)
    assert asked != unasked
    found = [loss(inputs, True) for _ in range(24)]
    assert set(found) == {asked, unasked}


@pytest.mark.parametrize("options", [{"use_image_embedding": True}, {"use_relations": True}])
def test_what_the_catalogue_does_not_have_is_not_used(tools, options):
    with pytest.raises(ValueError, match="expected"):
        tools.small_config(**options)


def test_the_linear_path_speaks_in_the_head_and_leaves_out_the_user_in_training(tools):
    ranker = tools.make_ranker(linear_regularisation=1.0, id_dropout=0.0)
    path, inputs = ranker.linear_path, tools.request()
    before = ranker(inputs).numpy()
    rng = np.random.default_rng(2)
    ranker.count([Shopper(rng.integers(0, 6, 5), np.array([], int), key) for key in range(12)])
    assert np.abs(ranker(inputs) - before)[0].max() > 1e-4  # the others have no history of known items
    answers = []
    for training in (False, True):
        found = ranker.encode_user(inputs, training=training).features[..., -path.width :]
        users = inputs[features.USER_KEY_XF] if training else None
        positions = inputs[features.HISTORY_ITEMS_XF] - features.FIRST_KNOWN_ID
        kept = ranker.item_encoder.kept()  # two of the items never sold in training
        expected = path(tf.maximum(positions, -1), inputs[features.HISTORY_GAPS_XF], users, kept, training=training)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        answers.append(found.numpy())
    assert np.abs(answers[0] - answers[1]).max() > 1e-3
