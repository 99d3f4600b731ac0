"""What every ranking entry of the zoo must hold, and what sets some of them apart."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from models import features, registry
from models.catalogue_model import CatalogueModel
from models.counted_model import CountedModel
from models.options import LossOptions, TextEncoderOptions
from models.shopper import Shopper
from models.sizes import Sizes
from serving import contract

ITEMS = 6
SIZES = Sizes(
    items=ITEMS,
    event_types=4,
    categories=3,
    brands=3,
    price_buckets=4,
    gap_buckets=5,
    context={"country": 4},
    wordpieces=50,
    special_tokens=(0, 1, 2, 3, 4),
    text_length=5,
    days=10,
    type_ids={"click": 2, features.REVIEW_LIKED: 3},
)
LOSSES = LossOptions(listwise=1.0)
SMALL = {
    "profile_matcher": {
        "dimension": 8,
        "max_history": 4,
        "text_encoder": TextEncoderOptions(trainable="frozen", hidden_size=16, layers=1, intermediate_size=16),
    },
    "slice_ranker": {"dimension": 8, "max_history": 4, "slice_length": 2, "code_dimension": 4},
    "sasrec": {"dimension": 8, "max_history": 4, "intermediate": 16},
    "bert4rec": {"dimension": 8, "max_history": 4, "intermediate": 16},
    "gru4rec": {"dimension": 8, "max_history": 4, "units": 6},
    "two_tower": {"dimension": 8, "hidden": (12,)},
    "din": {"dimension": 8, "max_history": 4, "items_at_once": 4, "attention": 5, "hidden": (7,)},
    "item_knn": {"neighbours": 6, "max_history": 4},
    "query_recommender": {"dimension": 8, "heads": 2, "max_history": 5, "vocabulary": 12, "hard_negatives": 3},
}
RANKING = [name for name in registry.names() if registry.entry(name).task == "ranking"]
SIMPLE = [name for name in RANKING if name != "slice_ranker"]  # has test files of its own
SHOPPERS = [
    Shopper(np.array([0, 1, 0]), np.array([2])),
    Shopper(np.array([1, 3]), np.array([0, 2])),
    Shopper(np.array([4]), np.array([], int)),
    Shopper(np.array([2, 0, 1, 3, 5]), np.array([4])),
]


def make(name, table, sales, **options):
    """An entry with moved weights, counted where it counts, that knows a catalogue whose first day is 100."""
    tf.keras.utils.set_random_seed(1)
    entry = registry.entry(name)
    model = entry.build(entry.options(**{**SMALL.get(name, {}), **options}), SIZES, LOSSES)
    model.set_catalogue(table, sales, 100)
    rng = np.random.default_rng(2)
    for weight in model.trainable_weights:
        weight.assign_add(tf.cast(rng.normal(0, 0.3, weight.shape), weight.dtype))
    if model.counts:
        model.count(SHOPPERS)
    return model


def as_read(model, inputs):
    """Inputs as Trainer reads them where the BERT is frozen: texts are pooled already."""
    pooled = {
        features.PROFILE_TOKENS_XF: features.PROFILE_POOLED_XF,
        features.QUERY_TOKENS_XF: features.QUERY_POOLED_XF,
    }
    found = {pooled[name]: model.text_encoder.pool(inputs[name]) for name in model.pooled_texts}
    return {**inputs, **found}


@pytest.fixture(params=SIMPLE)
def model(request, tools):
    return make(request.param, tools.small_table(), tools.small_sales())


@pytest.fixture(scope="module")
def inputs(tools):
    return tools.request()


@pytest.mark.parametrize("name", registry.names())
def test_an_entry_says_what_it_is(name):
    entry = registry.entry(name)
    assert entry.options().entry == name
    assert entry.purpose and not entry.purpose.endswith(".")
    assert set(entry.signatures) <= set(contract.OUTPUTS) - {contract.SERVING_DEFAULT}
    documented = " ".join(kind.__doc__ for kind in entry.options.__mro__ if dataclasses.is_dataclass(kind))
    for field in dataclasses.fields(entry.options):
        assert field.name == "entry" or field.name in documented


def test_an_unknown_entry_is_named():
    with pytest.raises(ValueError, match=r"no entry 'bogus'; expected one of .*sasrec"):
        registry.entry("bogus")


def test_scores_of_candidates_are_those_of_the_catalogue(model, inputs):
    assert isinstance(model, CatalogueModel)
    state = model.encode_user(inputs)
    everything = model.score_catalogue(state).numpy()
    assert everything.shape == (3, ITEMS)
    rows = inputs[features.CANDIDATE_ITEMS_XF].numpy() - features.FIRST_KNOWN_ID
    scores = model(inputs).numpy()
    for user, item in np.argwhere(rows >= 0):
        assert scores[user, item] == pytest.approx(everything[user, rows[user, item]], abs=1e-5)
    assert np.isfinite(scores).all()


def test_what_may_not_be_recommended_is_last(tools, model, inputs):
    servable = np.array([1, 1, 0, 1, 1, 1], bool)
    model.set_catalogue(tools.small_table(servable=servable), tools.small_sales(), 100)
    scores = model.score_catalogue(model.encode_user(inputs)).numpy()
    assert (scores[:, 2] == np.float32(-1e9)).all()
    assert (scores[:, servable] > -1e8).all()


def test_padding_changes_nothing(model, inputs):
    padded = dict(inputs)
    for name in (features.HISTORY_ITEMS_XF, features.HISTORY_TYPES_XF, features.HISTORY_GAPS_XF):
        padded[name] = tf.pad(inputs[name], [[0, 0], [0, 3]])
    padded[features.HISTORY_GAP_BUCKETS_XF] = tf.pad(inputs[features.HISTORY_GAP_BUCKETS_XF], [[0, 0], [0, 3]])
    np.testing.assert_allclose(model(padded).numpy(), model(inputs).numpy(), atol=1e-5)


def test_a_request_answers_alone_as_in_a_batch(model, inputs):
    together = model(inputs).numpy()
    for row in range(3):
        alone = model({name: value[row : row + 1] for name, value in inputs.items()}).numpy()
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_the_history_matters_but_for_popularity(model, inputs):
    other = {**inputs, features.HISTORY_ITEMS_XF: tf.constant([[6, 7, 0, 0, 0], [0] * 5, [1, 1, 0, 0, 0]], tf.int64)}
    before = model.score_catalogue(model.encode_user(inputs)).numpy()
    after = model.score_catalogue(model.encode_user(other)).numpy()
    assert np.abs(before - after)[1:].max() < 1e-5
    assert (np.abs(before - after)[0].max() > 1e-3) == (model.name != "popularity")


def test_config_round_trip(tools, model, inputs):
    config = json.loads(json.dumps(model.get_config()))
    twin = type(model).from_config(config)
    twin.set_weights(model.get_weights())
    np.testing.assert_allclose(twin(inputs).numpy(), model(inputs).numpy(), atol=1e-6)


def test_saved_model_round_trip_with_any_batch_and_any_lengths(model, inputs, tmp_path):
    inputs = as_read(model, inputs)
    module = tf.Module()
    module.held = model.weights
    specs = {name: tf.TensorSpec([None] * value.shape.rank, value.dtype, name) for name, value in inputs.items()}

    def run(values):
        state = model.encode_user(values)
        return model.score_candidates(state, values), model.score_catalogue(state)

    module.run = tf.function(run, input_signature=[specs])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for found, expected in zip(loaded.run(inputs), run(inputs), strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5)
    row = {name: value[:1] for name, value in inputs.items()}
    np.testing.assert_allclose(loaded.run(row)[1].numpy(), run(inputs)[1].numpy()[:1], atol=1e-5)


def test_training_lowers_the_loss_and_reaches_every_weight(tools, model, inputs):
    if isinstance(model, CountedModel):
        with pytest.raises(TypeError, match="is counted, not trained"):
            model.compute_losses(inputs, tf.constant(tools.labels), training=True)
        return
    labels, inputs = tf.constant(tools.labels), as_read(model, inputs)
    with tf.GradientTape() as tape:
        total = model.compute_losses(inputs, labels, training=False)["loss"]
    gradients = tape.gradient(total, model.trainable_variables)
    idle = [v.name for v, g in zip(model.trainable_variables, gradients, strict=True) if g is None]
    assert all("text_projection" in name for name in idle), idle  # these read no text
    model.compile(optimizer=tf.keras.optimizers.Adam(0.02))

    # A BERT runs faster from a graph than it is traced; the others do not.
    compiled = (lambda function: function) if model.text_encoder is None else tf.function
    found = compiled(lambda: model.compute_losses(inputs, labels, training=False)["loss"])
    step = compiled(lambda: model.train_step((inputs, labels)))

    def loss():  # a mean: BERT4Rec draws one of the positives
        return np.mean([found().numpy() for _ in range(10)])

    before = loss()
    for _ in range(25):
        step()
    assert loss() < 0.9 * before


# --- numbers from a second source ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
def test_no_event_sees_a_later_one(tools, name):
    model = make(name, tools.small_table(), tools.small_sales())
    rows, mask = tf.constant([[1, 2, 3, 4]]), tf.constant([[True] * 4])
    before = model.encode_sequence(rows, mask, False).numpy()
    after = model.encode_sequence(tf.constant([[1, 2, 5, 0]]), mask, False).numpy()
    np.testing.assert_allclose(after[0, :2], before[0, :2], atol=1e-6)
    assert np.abs(after[0, 2:] - before[0, 2:]).max() > 1e-3


def test_bert4rec_looks_both_ways_and_not_at_what_is_hidden(tools):
    model = make("bert4rec", tools.small_table(), tools.small_sales())
    mask, hidden = tf.constant([[True] * 4]), tf.constant([[False, True, False, False]])
    one, other = (model._states(tf.constant([[1, item, 3, 4]]), mask, hidden, False).numpy() for item in (2, 5))
    np.testing.assert_allclose(one, other, atol=1e-6)
    later = model._states(tf.constant([[1, 2, 3, 5]]), mask, hidden, False).numpy()
    assert np.abs(later[0, 1] - one[0, 1]).max() > 1e-3


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
def test_the_sequence_loss_asks_at_every_event_for_the_next(tools, name):
    model = make(name, tools.small_table(), tools.small_sales(), dropout=0)
    ids = {features.HISTORY_ITEMS_XF: [[2, 3, 4], [5, 0, 0]], features.CANDIDATE_ITEMS_XF: [[6, 2], [7, 3]]}
    inputs = {name: tf.constant(value, tf.int64) for name, value in ids.items()}
    labels = tf.constant([[1.0, 0], [1, 1]])

    def state(*rows):
        return model.encode_user({features.HISTORY_ITEMS_XF: tf.constant([[row + 2 for row in rows]], tf.int64)})

    asked = [([0], 1), ([0, 1], 2), ([0, 1, 2], 4), ([3], 5), ([3], 1)]
    if name == "sasrec":  # its places count from the end of what is read, so a prefix alone has other ones
        asked = asked[2:]
        inputs[features.HISTORY_ITEMS_XF] = tf.constant([[2, 3, 4], [5, 0, 0]], tf.int64)
    found = model.compute_losses(inputs, labels, training=False)["loss"].numpy()
    probability = [tf.nn.log_softmax(model.raw_scores(state(*rows)))[0, item].numpy() for rows, item in asked]
    if name == "gru4rec":
        assert found == pytest.approx(-np.mean(probability), abs=1e-5)
    else:
        states = model.encode_sequence(tf.constant([[0, 1, 2]]), tf.constant([[True] * 3]), False)
        within = tf.nn.log_softmax(tf.matmul(states[0, :2], model.item_embeddings, transpose_b=True)).numpy()
        probability += [within[0, 1], within[1, 2]]
        assert found == pytest.approx(-np.mean(probability), abs=1e-5)


def test_popularity_counts_the_days_of_its_window(tools, inputs):
    sales = tools.small_sales()
    found = make("popularity", tools.small_table(), sales, window_days=2)
    scores = found.raw_scores(found.encode_user(inputs)).numpy()
    total = sales[:5].sum(0)  # the first request is of day 105
    expected = np.log1p(sales[3:5].sum(0)) + 1e-3 * total / (1 + total.max())
    np.testing.assert_allclose(scores[0], expected, rtol=1e-5)
    # The second one is of day 120, after all that is known: what sold in the last two days that are.
    expected = np.log1p(sales[8:].sum(0)) + 1e-3 * sales.sum(0) / (1 + sales.sum(0).max())
    np.testing.assert_allclose(scores[1], expected, rtol=1e-5)


def test_personal_frequency_halves_with_age_and_falls_back_to_the_crowd(tools, inputs):
    sales = tools.small_sales()
    model = make("personal_frequency", tools.small_table(), sales, half_life_days=3.0)
    scores = model.raw_scores(model.encode_user(inputs)).numpy()
    expected = np.zeros(ITEMS)
    for item, age in zip([0, 1, 2, 0], [9.0, 3, 1, 0.5], strict=True):  # the third event is of an unknown item
        expected[item] += 2 ** (-age / 3)
    np.testing.assert_allclose(scores[0], expected, atol=2e-6)
    assert np.argsort(-scores[1]).tolist() == np.argsort(-sales.sum(0)).tolist()


def test_ease_is_the_solution_of_its_problem(tools, inputs):
    model = make("ease", tools.small_table(), tools.small_sales(), regularisation=0.7, own_items=2.0)
    bought = np.zeros([len(SHOPPERS), ITEMS])
    for row, shopper in enumerate(SHOPPERS):
        bought[row, shopper.sequence] = 1
    for item in range(ITEMS):  # ridge regression of each item on all others
        others = [other for other in range(ITEMS) if other != item]
        x, y = bought[:, others], bought[:, item]
        weights = np.linalg.solve(x.T @ x + 0.7 * np.eye(len(others)), x.T @ y)
        np.testing.assert_allclose(model.matrix.numpy()[others, item], weights, atol=1e-5)
    had = np.array([1, 1, 1, 0, 0, 0])
    scores = model.raw_scores(model.encode_user(inputs)).numpy()
    np.testing.assert_allclose(scores[0], had @ model.matrix.numpy() + 2 * had, atol=1e-5)


def test_item_knn_counts_pairs_by_nearness_direction_and_popularity(tools, inputs):
    model = make("item_knn", tools.small_table(), tools.small_sales(), max_history=9)
    sequences = [shopper.sequence for shopper in SHOPPERS]
    events = np.bincount(np.concatenate(sequences), minlength=ITEMS)
    weights = np.zeros([ITEMS, ITEMS])
    for sequence in sequences:
        for a, first in enumerate(sequence):
            for b in range(a + 1, len(sequence)):
                weights[first, sequence[b]] += (b - a) ** -0.5
                weights[sequence[b], first] += 0.5 * (b - a) ** -0.5
    weights /= (1 + events)[:, None] ** 0.5 * (1 + events)[None, :] ** 0.25
    np.fill_diagonal(weights, 0)
    history = [0, 1, 2, 0]  # the unknown event leaves no gap
    expected = sum(0.7 ** (len(history) - 1 - place) * weights[item] for place, item in enumerate(history))
    scores = model.raw_scores(model.encode_user(inputs)).numpy()
    np.testing.assert_allclose(scores[0], expected + 1e-6 * events / events.sum(), atol=1e-6)
    np.testing.assert_allclose(scores[1], 1e-6 * events / events.sum(), atol=1e-9)


def test_din_gives_each_candidate_attention_of_its_own(tools, inputs):
    model = make("din", tools.small_table(), tools.small_sales())
    state = model.encode_user(inputs)
    scores = model.raw_scores(state).numpy()
    items, events, mask = state.items.numpy(), state.events.numpy(), state.mask.numpy()
    inner, outer = model.attention_hidden, model.attention_out
    for user in range(3):
        for item in range(ITEMS):
            r, interest = items[item], np.zeros(items.shape[1])
            for e, real in zip(events[user], mask[user], strict=True):
                x = np.concatenate([e, r, e - r, e * r])
                hidden = np.maximum(x @ inner.kernel.numpy() + inner.bias.numpy(), 0)
                interest += real * (hidden @ outer.kernel.numpy() + outer.bias.numpy()) * e
            x = np.concatenate([interest, r, interest * r, state.context.numpy()[user]])
            expected = float(model.head(tf.constant(x[None], tf.float32)))
            assert scores[user, item] == pytest.approx(expected, abs=1e-4)


def test_what_cannot_be_built_is_one_sentence(tools):
    with pytest.raises(ValueError, match=r"expected a weight for `losses\.binary` or `losses\.listwise`"):
        registry.entry("din").build(registry.entry("din").options(), SIZES, LossOptions())
    large = dataclasses.replace(SIZES, items=30_001)
    with pytest.raises(ValueError, match=r"expected at most 30,000 items, not 30,001"):
        registry.entry("ease").build(registry.entry("ease").options(), large, LossOptions())


def test_query_recommender_adds_up_to_its_formula(tools, inputs):
    model = make("query_recommender", tools.small_table(), tools.small_sales(), dropout=0)
    model.count(SHOPPERS)
    model.refresh_item_text()
    state = model.encode_user(inputs)
    found = model.raw_scores(state).numpy()
    titles = [{"hiking", "boots"}, {"trail", "boots", "red"}, {"green", "tea"}, set("登山靴") | {"登山", "山靴"}]
    titles += [{"tea", "pot"}, set()]
    idf = {word: np.log(7 / (1 + sum(word in held for held in titles))) for word in ("red", "boots")}
    share = tools.small_sales().sum(0) + 0.1
    near = model.evidence_path(state.positions, kept=model.item_encoder.kept()).numpy()
    for user, asked in enumerate(([], ["red", "boots"], [])):
        cover = [sum(idf[w] for w in asked if w in held) / max(sum(idf[w] for w in asked), 1e-9) for held in titles]
        expected = model.vectors.numpy() @ state.vector.numpy()[user]
        expected += model.cover_scale.numpy() * np.array(cover) + near[user]
        expected += model.prior_scale.numpy() * np.log(share / share.sum())
        expected -= model.length_scale.numpy() * len(asked) * np.log([max(len(held), 1) for held in titles])
        expected += model.repeat_scale.numpy() * np.isin(np.arange(ITEMS), state.positions.numpy()[user])
        np.testing.assert_allclose(found[user], expected, atol=2e-4)
    assert near[0].any() and not near[1].any()


def test_query_recommender_reads_a_query_in_spite_of_a_typo(tools, inputs):
    model = make("query_recommender", tools.small_table(), tools.small_sales(), neighbours=0)

    def best(query):
        asked = {**inputs, features.QUERY_TEXT_XF: tf.constant([query] * 3)}
        return model.score_catalogue(model.encode_user(asked)).numpy().argmax(1).tolist()

    for query in ("red trail", "red trial", "rde trail"):
        assert best(query) == [1, 1, 1]
    assert best("登山鞋") == best("登靴") == [3, 3, 3]


def test_query_recommender_wants_texts(tools):
    with pytest.raises(ValueError, match=r"has no texts; expected `ItemTable\.texts`"):
        make("query_recommender", tools.small_table(texts=None), tools.small_sales())
