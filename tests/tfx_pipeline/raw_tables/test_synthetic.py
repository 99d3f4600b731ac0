"""The synthetic shop: whole, repeatable, as hard as it says, and readable as raw tables."""

import dataclasses
import json
import pathlib
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import yaml

import configs
from tfx_pipeline import settings as pipeline_settings
from tfx_pipeline.raw_tables import synthetic, synthetic_oracle, synthetic_words
from tfx_pipeline.raw_tables.rejects import DataError, Rejects
from tfx_pipeline.raw_tables.synthetic_pool import Pool
from tfx_pipeline.raw_tables.synthetic_world import START, ShopSettings
from tfx_pipeline.raw_tables.tables import Tables
from tfx_pipeline.settings import SettingsError

SMALL = ShopSettings(users=400, items=200, days=60, seed=1)
TINY = ShopSettings(users=40, items=100, days=20, seed=5)


@pytest.fixture(scope="module")
def shop():
    return synthetic.generate(SMALL)


@pytest.fixture(scope="module")
def default_shop():
    return synthetic.generate(ShopSettings())


def seconds(times):
    return times.map(pd.Timestamp.timestamp).astype("int64")


def chinese(texts):
    return texts.str.contains("[\u4e00-\u9fff]")


def test_same_settings_same_shop_and_another_seed_another(shop):
    again = synthetic.generate(SMALL)
    for table in ("events", "items", "users", "reviews", "relations", "impressions"):
        left, right = getattr(shop, table), getattr(again, table)
        if table == "items":
            np.testing.assert_array_equal(np.stack(left["image_embedding"]), np.stack(right["image_embedding"]))
            left, right = left.drop(columns="image_embedding"), right.drop(columns="image_embedding")
        pd.testing.assert_frame_equal(left, right)
    other = synthetic.generate(dataclasses.replace(SMALL, seed=2))
    assert list(other.items["title"]) != list(shop.items["title"])
    assert set(other.events["query"]) != set(shop.events["query"])


def test_references_hold(shop):
    events, items, users = shop.events, shop.items, shop.users
    assert items["item_id"].is_unique and users["user_id"].is_unique and items["title"].is_unique
    assert set(events["user_id"]) <= set(users["user_id"])
    search = events["event_type"] == "search"
    assert (events.loc[search, "item_id"] == "").all() and (events.loc[search, "query"] != "").all()
    assert (events.loc[~search, "query"] == "").all()
    assert set(events.loc[~search, "item_id"]) <= set(items["item_id"])
    assert events.groupby("session_id")["user_id"].nunique().max() == 1
    assert set(shop.reviews["item_id"]) <= set(items["item_id"])
    bought = set(zip(*events.loc[events["event_type"] == "purchase", ["user_id", "item_id"]].to_numpy().T, strict=True))
    assert set(zip(shop.reviews["user_id"], shop.reviews["item_id"], strict=True)) <= bought
    assert not shop.relations.duplicated().any()
    assert (shop.relations["item_id"] != shop.relations["related_item_id"]).all()
    assert set(shop.relations["item_id"]) | set(shop.relations["related_item_id"]) <= set(items["item_id"])
    assert set(shop.relations["relation"]) == {"also_bought", "same_brand", "accessory_of"}
    brand = items.set_index("item_id")["brand"]
    same = shop.relations[shop.relations["relation"] == "same_brand"]
    assert (brand[same["item_id"]].to_numpy() == brand[same["related_item_id"]].to_numpy()).all()


def test_every_event_follows_what_it_needs(shop):
    events = shop.events
    assert set(events["event_type"]) == {"search", "impression", "click", "view", "cart", "purchase"}
    at = events.assign(at=seconds(events["timestamp"]))
    first = at.pivot_table(index=["session_id", "item_id"], columns="event_type", values="at", aggfunc=["min", "count"])
    assert first["count"].max().max() == 1
    times = first["min"].drop(index="", level="item_id")
    for later, earlier in (("click", "impression"), ("view", "click"), ("cart", "view"), ("purchase", "cart")):
        done = times[times[later].notna()]
        assert len(done) and (done[later] > done[earlier]).all()
    opening = at.groupby("session_id").first()
    searching = set(at.loc[at["event_type"] == "search", "session_id"])
    assert set(opening.index[opening["event_type"] == "search"]) == searching
    bought = events["event_type"] == "purchase"
    price = shop.items.set_index("item_id")["price"]
    np.testing.assert_array_equal(events.loc[bought, "price"], price[events.loc[bought, "item_id"]])
    assert (events.loc[bought, "quantity"] >= 1).all() and events.loc[bought, "quantity"].max() > 1


def test_times_lie_in_the_range_and_after_the_item_appeared(shop):
    for table in (shop.events, shop.reviews):
        at = seconds(table["timestamp"])
        assert at.min() >= START and at.max() < START + SMALL.days * 86_400
    seen = shop.items.set_index("item_id")["first_seen"].dropna()
    assert 0.1 < len(seen) / len(shop.items) < 0.3
    of_item = shop.events[shop.events["item_id"].isin(seen.index)]
    assert len(of_item) and (of_item["timestamp"].to_numpy() >= seen[of_item["item_id"]].to_numpy()).all()
    sessions = shop.events.groupby("session_id")["timestamp"].agg(["min", "max"])
    assert (sessions["max"] - sessions["min"]).max() < pd.Timedelta(hours=1)
    order = shop.events.drop_duplicates("session_id").sort_values(["user_id", "timestamp"])
    gaps = order.groupby("user_id")["timestamp"].diff().dropna()
    assert gaps.min() >= pd.Timedelta(hours=1)


def test_cold_users_come_later_with_a_sentence_or_demographics_only(default_shop):
    users, events = default_shop.users, default_shop.events
    first = events.groupby("user_id")["timestamp"].min()
    boundary = pd.Timestamp(START + int(0.8 * 90 * 86_400), unit="s", tz="UTC")
    late = users[users["user_id"].map(first) >= boundary]
    text, told = late["free_text"] != "", late["country"] != ""
    for kind in (text & ~told, ~text & told, text & told):
        assert kind.sum() >= 5
    assert chinese(users["free_text"]).sum() > 200
    assert set(users["gender"]) == {"", *synthetic_words.GENDERS}


def test_both_languages_in_titles_queries_and_reviews(shop):
    assert chinese(shop.items["title"]).all() and shop.items["title"].str.contains("[a-z]{3}").all()
    queries = shop.events.loc[shop.events["event_type"] == "search"]
    share = chinese(queries["query"]).mean()
    assert 0.4 <= share <= 0.55
    assert shop.difficulty.chinese_share == pytest.approx(share, abs=0.01)
    assert 0.2 < chinese(shop.reviews["text"]).mean() < 0.8
    # a user sticks to a language
    assert chinese(queries["query"]).groupby(queries["user_id"]).nunique().max() == 1


def test_ratings_go_with_utility(default_shop):
    shop = default_shop
    rows = pd.Series(np.arange(len(shop.sessions.ids)), shop.sessions.ids)
    items = pd.Series(np.arange(len(shop.items)), shop.items["item_id"])
    bought = shop.events[shop.events["event_type"] == "purchase"]
    bought = bought[["user_id", "item_id", "session_id"]].drop_duplicates(["user_id", "item_id"], keep=False)
    joined = shop.reviews.merge(bought, on=["user_id", "item_id"])
    scores = synthetic.oracle_scores(shop, rows[joined["session_id"]].to_numpy(), items[joined["item_id"]].to_numpy())
    assert len(joined) > 300 and np.corrcoef(scores, joined["rating"])[0, 1] > 0.3
    assert set(shop.reviews["rating"]) == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_people_buy_their_habits_again(default_shop):
    sessions = default_shop.sessions
    due = pd.Series(default_shop.catalogue.ids[sessions.habit[sessions.habit >= 0]])
    users = pd.Series(sessions.user_ids[sessions.habit >= 0])
    assert due.groupby(users).nunique().max() == 1 and due.groupby(users).size().median() >= 2
    bought = default_shop.events[default_shop.events["event_type"] == "purchase"]
    again = bought.groupby(["user_id", "item_id"])["session_id"].nunique()
    assert (again >= 2).sum() >= 50


@pytest.mark.parametrize("settings", [ShopSettings(), ShopSettings(seed=2), SMALL, dataclasses.replace(SMALL, seed=2)])
def test_difficulty_is_as_frozen(settings, request):
    shop = request.getfixturevalue("default_shop") if settings == ShopSettings() else synthetic.generate(settings)
    figures = shop.difficulty
    assert 0.75 <= figures.click_auc <= 0.85
    assert figures.session_popularity <= 0.5 * figures.session_oracle
    assert figures.catalogue_popularity <= 0.5 * figures.catalogue_oracle
    assert figures.session_chance < figures.session_words < figures.session_oracle
    assert figures.search_share >= 0.5 and figures.intent_share >= 0.8
    assert 0.05 <= figures.unseen_share <= 0.25
    assert 0.2 <= figures.ambiguous_share <= 0.5
    if settings == ShopSettings():
        assert 60_000 <= len(shop.events) <= 80_000
        assert figures.click_auc == pytest.approx(0.8146, abs=0.0005)
        assert figures.session_oracle == pytest.approx(0.6168, abs=0.0005)


def test_clicks_come_at_their_probability(default_shop):
    shown = default_shop.impressions
    for what in ("click", "purchase"):
        share = shown[f"{what}_probability"]
        bins = pd.qcut(share, 10, labels=False)
        got, meant = shown[what].groupby(bins).mean(), share.groupby(bins).mean()
        spread = 4 * np.sqrt(meant * (1 - meant) / (len(shown) / 10))
        assert (np.abs(got - meant) < spread).all()


def test_oracle_scores_are_the_clicks_logit_without_position(shop):
    shown = shop.impressions
    top = shown[shown["position"] == 0]
    scores = synthetic.oracle_scores(shop, top["session"].to_numpy(), top["item"].to_numpy())
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), top["click_probability"], rtol=1e-9)
    grid = synthetic.oracle_scores(shop, top["session"].to_numpy()[:5], np.tile(np.arange(200), (5, 1)))
    np.testing.assert_allclose(grid[np.arange(5), top["item"].to_numpy()[:5]], scores[:5])
    lower = shown[shown["position"] == 7]
    assert lower["click_probability"].mean() < top["click_probability"].mean()


def test_auc_and_ndcg_by_hand():
    assert synthetic_oracle.auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True])) == 0.875
    scores = np.array([[4.0, 3.0, 2.0, 1.0]])
    relevant = np.array([[False, True, False, True]])
    everything = np.ones((1, 4), bool)
    ideal = 1 + 1 / np.log2(3)
    expected = (1 / np.log2(3) + 1 / np.log2(5)) / ideal
    assert synthetic_oracle.ndcg_at(scores, relevant, everything)[0] == pytest.approx(expected)
    without_first = np.array([[False, True, True, True]])
    expected = (1 + 1 / np.log2(4)) / ideal
    assert synthetic_oracle.ndcg_at(scores, relevant, without_first)[0] == pytest.approx(expected)


def test_titles_have_every_product_and_no_synonym(default_shop):
    titles = " ".join(default_shop.items["title"]).lower()
    seen = set(titles.split())
    for product in synthetic_words.PRODUCTS:
        assert product.name[0] in titles and product.name[1] in titles
    for english, chinese_word in [p.synonym for p in synthetic_words.PRODUCTS] + [
        synonym for _, synonym in synthetic_words.ATTRIBUTES
    ]:
        assert not seen & set(english.split()) and chinese_word not in titles


def test_pool_draws_by_weight_what_is_there():
    pool = Pool(np.array([0, 0, 0, 1, -1]), np.array([1.0, 3.0, 100.0, 1.0, 50.0]), np.array([0, 10, 99, 0, 0]))
    rng = np.random.default_rng(0)
    drawn = pool.draw(rng, np.zeros(20_000, np.int64), np.full(20_000, 50))
    shares = np.bincount(drawn, minlength=5) / 20_000
    np.testing.assert_allclose(shares, [0.25, 0.75, 0, 0, 0], atol=0.02)
    assert (pool.draw(rng, np.zeros(50, np.int64), np.full(50, 5)) == 0).all()
    assert (pool.draw(rng, np.ones(50, np.int64), np.full(50, 5)) == 3).all()


def test_written_tables_are_read_by_the_adapter_without_a_reject(tmp_path, shop):
    assert synthetic.write(SMALL, tmp_path / "shop")
    config = yaml.safe_load((pathlib.Path(configs.__file__).parent / "data" / "synthetic.yaml").read_text())
    data = pipeline_settings.from_dict(config).data
    tables, rejects = Tables(data, tmp_path / "shop"), Rejects()
    events = pd.concat([c for f in tables.event_files() for c in tables.read_events(f, rejects)], ignore_index=True)
    assert rejects.counts == {} and len(events) == len(shop.events)
    np.testing.assert_array_equal(events["timestamp"], seconds(shop.events["timestamp"]))
    pd.testing.assert_series_equal(events["price"], shop.events["price"])
    items = tables.items(rejects)
    np.testing.assert_array_equal(items["first_seen"], shop.catalogue.first_seen)
    assert list(items["title"]) == list(shop.items["title"])
    users = tables.users(rejects)
    assert list(users["country"]) == list(shop.users["country"])
    assert len(tables.reviews(rejects)) == len(shop.reviews)
    assert len(tables.relations(rejects)) == len(shop.relations)
    assert rejects.counts == {}
    stored = pd.read_parquet(tmp_path / "shop" / "items.parquet")["image_embedding"]
    np.testing.assert_array_equal(np.stack(stored), np.stack(shop.items["image_embedding"]))
    oracle = pd.read_parquet(tmp_path / "shop" / "oracle.parquet")
    np.testing.assert_array_equal(oracle["click_probability"], shop.impressions["click_probability"])
    described = json.loads((tmp_path / "shop" / "oracle.json").read_text())
    assert described["difficulty"] == dataclasses.asdict(shop.difficulty)
    assert synthetic.read_settings(tmp_path / "shop") == SMALL


def test_write_is_repeatable_and_whole(tmp_path, monkeypatch):
    assert synthetic.write(TINY, tmp_path / "a") and synthetic.write(TINY, tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted([*(f"{table}.parquet" for table in synthetic.TABLES), "oracle.json"])
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()

    before = (tmp_path / "a" / "events.parquet").stat().st_mtime_ns
    assert not synthetic.write(TINY, tmp_path / "a")
    assert (tmp_path / "a" / "events.parquet").stat().st_mtime_ns == before

    other = dataclasses.replace(TINY, seed=6)
    with monkeypatch.context() as patch:
        patch.setattr(synthetic_oracle, "measure", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            synthetic.write(other, tmp_path / "a")
    assert synthetic.read_settings(tmp_path / "a") == TINY  # killed on the way: the old shop stands
    assert synthetic.write(other, tmp_path / "a")
    assert synthetic.read_settings(tmp_path / "a") == other
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]

    (tmp_path / "a" / "users.parquet").unlink()
    assert synthetic.write(other, tmp_path / "a") and (tmp_path / "a" / "users.parquet").exists()


def test_chunks_of_users_join_to_one_shop(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "USERS_PER_CHUNK", 15)
    shop = synthetic.generate(TINY)
    assert shop.users["user_id"].is_unique and len(shop.users) == TINY.users
    assert pd.Index(shop.sessions.ids).is_unique
    at = shop.events.groupby("session_id")["timestamp"].min()
    np.testing.assert_array_equal(seconds(at[shop.sessions.ids]), shop.sessions.time)
    clicked = shop.impressions[shop.impressions["click"]]
    pairs = set(zip(shop.sessions.ids[clicked["session"]], shop.catalogue.ids[clicked["item"]], strict=True))
    clicks = shop.events[shop.events["event_type"] == "click"]
    assert pairs == set(zip(clicks["session_id"], clicks["item_id"], strict=True))
    synthetic.write(TINY, tmp_path / "shop")
    pd.testing.assert_series_equal(
        pd.read_parquet(tmp_path / "shop" / "events.parquet")["session_id"], shop.events["session_id"]
    )


def test_ten_times_the_users_take_ten_times_the_events_but_not_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "USERS_PER_CHUNK", 100)
    monkeypatch.setattr(synthetic, "MEASURED_SESSIONS", 300)
    rows, peaks = [], []
    for users in (300, 3000):
        tracemalloc.start()
        synthetic.write(ShopSettings(users=users, items=100, days=30), tmp_path / str(users))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        rows.append(json.loads((tmp_path / str(users) / "oracle.json").read_text())["rows"]["events"])
    assert 8 < rows[1] / rows[0] < 12
    assert peaks[1] < 1.5 * peaks[0]


def test_bad_requests_end_in_one_sentence(tmp_path, capsys):
    with pytest.raises(SettingsError, match="`items` is 30; expected at least 100"):
        ShopSettings(items=30)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="is a file; expected a folder"):
        synthetic.write(TINY, tmp_path / "file")
    with pytest.raises(DataError, match="holds other files"):
        synthetic.write(TINY, tmp_path)
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(DataError, match="holds no synthetic shop"):
        synthetic.read_settings(tmp_path)
    assert synthetic.main(["--out", str(tmp_path / "new"), "--users", "3"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "`users` is 3" in error
    arguments = ["--out", str(tmp_path / "new"), "--users", "40", "--items", "100", "--days", "20", "--seed", "5"]
    assert synthetic.main(arguments) == 0 and "wrote" in capsys.readouterr().out
    assert synthetic.main(arguments) == 0 and "nothing to do" in capsys.readouterr().out
