"""What a configuration may say, and what the files it names may hold."""

import hashlib
import pathlib
import stat

import hypothesis
import pytest
import yaml
from hypothesis import strategies as st

from models.settings_reader import SettingsError
from serving.gateway import tokens as tokens_lib
from serving.gateway.gateway import Gateway
from serving.gateway.profile_text import profile_text
from serving.gateway.rate_limiter import RateLimiter
from serving.gateway.settings import AccessSettings, GatewaySettings, ProfileTextSettings
from serving.gateway.tokens import Token, Tokens
from serving.requests import Event
from serving.store.profile import Profile, Query

EXAMPLE = pathlib.Path(__file__).parents[3] / "configs/serving/gateway.yaml"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "gateway.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_example_says_what_holds_anyway():
    example, default = GatewaySettings.read(EXAMPLE), GatewaySettings()
    assert pathlib.Path(example.rules).resolve() == EXAMPLE.with_name("rules.yaml")
    for name in vars(default):
        if name not in ("rules", "items", "region_column"):
            assert getattr(example, name) == getattr(default, name), name


def test_paths_count_from_the_file(write, tmp_path):
    path = write("rules: rules.yaml\nitems: /elsewhere/items.csv\nprivacy: {key_file: key}\nlogs: {exposures: e}\n")
    settings = GatewaySettings.read(path)
    assert settings.rules == str(tmp_path / "rules.yaml")
    assert settings.items == "/elsewhere/items.csv"
    assert settings.privacy.key_file == str(tmp_path / "key")
    assert (settings.logs.exposures, settings.logs.outcomes) == (str(tmp_path / "e"), "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("modle: {}", "unknown key `modle`"),
        ("model: {adress: x}", "unknown key `model.adress`"),
        ("model: {timeout_ms: 0}", "`model.timeout_ms` is 0; expected a number from 1 to 60000"),
        ("listen: {host: 0.0.0.0}", "expected a file of tokens, or one of 127.0.0.1"),
        ("listen: {certificate: a.pem}", "expected both or neither"),
        ("rules: rules.yaml", "`rules` is given and `items` empty"),
        ("region_column: town", "expected one of `context_columns` (country)"),
        ("profile_text: {sources: [titles]}", "has titles and `items` is empty"),
        ("profile_text: {sources: [reviews]}", "expected one of free_text, queries, titles"),
        ("score_buckets: [-1, -2]", "expected rising numbers"),
        ("score_buckets: [0, 1]", "the first below 0"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(write, text, expected):
    with pytest.raises(SettingsError) as caught:
        GatewaySettings.read(write(text))
    assert expected in str(caught.value) and str(caught.value).startswith(str(write(text)))


@pytest.mark.parametrize(
    "text",
    [
        "access: {tokens: none.yaml}",
        "experiment: none.yaml",
        "rules: none.yaml\nitems: none.csv",
        "fallback: {popular: none.txt}",
        "privacy: {enabled: true, key_file: none}",
        "model: {token_file: none}",
        "model: {tls: {enabled: true, root_certificates: none.pem}}",
        "model: {address: nowhere}",
        "store: {url_file: none}",
        "store: {url: 'mysql://x'}",
    ],
)
def test_a_file_that_is_not_there_ends_the_start(write, text):
    with pytest.raises((ValueError, RuntimeError)) as caught:
        Gateway(GatewaySettings.read(write(text)))
    assert "none" in str(caught.value) or "nowhere" in str(caught.value) or "mysql" in str(caught.value)


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_is_kept_as_a_hash_that_only_its_owner_reads(tmp_path):
    file = tmp_path / "tokens.yaml"
    first, second = tokens_lib.add_token(file, "shop"), tokens_lib.add_token(file, "app")
    text = file.read_text(encoding="utf-8")
    assert first not in text and second not in text
    assert hashlib.sha256(first.encode()).hexdigest() in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.yaml"]
    tokens = Tokens.read(file)
    assert tokens.find(first).name == "shop" and tokens.find(second).name == "app"
    assert tokens.find(first[:-1]) is None and tokens.find("") is None and tokens.find("ü\ud800") is None


def test_what_is_in_the_file_stays(tmp_path):
    file = tmp_path / "tokens.yaml"
    file.write_text(f"# our callers\ntokens:\n  - {{name: old, sha256: '{'0' * 64}', rate: 5}}\n", encoding="utf-8")
    for name in ("new", "no", "1.50"):
        tokens_lib.add_token(file, name)
    assert file.read_text(encoding="utf-8").startswith("# our callers\n")
    found = [(token.name, token.rate) for token in Tokens.read(file).tokens]
    assert found == [("old", 5), ("new", 0), ("no", 0), ("1.50", 0)]


@pytest.mark.parametrize("name", ["shop", "", "a b", "../x", "a" * 65, "{x"])
def test_names_that_are_taken_or_odd_are_refused(tmp_path, name):
    file = tmp_path / "tokens.yaml"
    tokens_lib.add_token(file, "shop")
    before = file.read_bytes()
    with pytest.raises(SettingsError):
        tokens_lib.add_token(file, name)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        {"tokens": [{"name": "a"}]},
        {"tokens": [{"name": "a", "sha256": "secret"}]},
        {"tokens": [{"name": "a", "sha256": "0" * 64}] * 2},
        {"tokens": [{"name": "a", "sha256": "0" * 64, "token": "x"}]},
    ],
)
def test_a_file_of_tokens_is_read_strictly(tmp_path, content):
    file = tmp_path / "tokens.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(SettingsError):
        Tokens.read(file)


# --- rates ------------------------------------------------------------------------------------------------------------


@hypothesis.given(st.floats(0.1, 100), st.integers(1, 20), st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_no_more_than_the_rate_gets_through(rate, burst, gaps):
    now = 0.0
    limiter = RateLimiter(AccessSettings(rate=rate, burst=burst), clock=lambda: now)
    token, let_in = Token("a", "0" * 64), 0
    for gap in gaps:
        now += gap
        wait = limiter.take(token)
        assert (wait == 0) or 0 < wait <= 1 / rate + 1e-9
        let_in += wait == 0
        assert let_in <= burst + now * rate + 1e-6
    # After the wait that is told there is room.
    while (wait := limiter.take(token)) == 0:
        pass
    now += wait + 1e-9
    assert limiter.take(token) == 0


def test_tokens_do_not_share_their_rate():
    limiter = RateLimiter(AccessSettings(rate=1, burst=1), clock=lambda: 0.0)
    assert limiter.take(Token("a", "0" * 64)) == 0
    assert limiter.take(Token("a", "0" * 64)) == 1
    assert limiter.take(Token("b", "1" * 64)) == 0
    assert [limiter.take(Token("c", "2" * 64, rate=4, burst=2)) for _ in range(3)] == [0, 0, 0.25]


# --- the text of a profile --------------------------------------------------------------------------------------------

TITLES = {"i1": "Tea", "i2": "Mug", "i3": ""}
HISTORY = [Event(*event) for event in
           [("i1", "purchase", 1), ("i2", "view", 2), ("gone", "purchase", 3), ("i3", "purchase", 4),
            ("i2", "purchase", 5), ("i1", "purchase", 6)]]  # fmt: skip
PROFILE = Profile("likes tea", {}, (Query("pot", 9), Query("cup", 8), Query("jar", 7)))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "likes tea; pot; cup; jar"),
        ({"sources": ("titles", "free_text")}, "Tea; Mug; likes tea"),
        ({"sources": ("titles",), "max_items": 1}, "Tea"),
        ({"sources": ("queries",), "max_items": 2}, "pot; cup"),
        ({"sources": ("titles",), "label_event_types": ("view",)}, "Mug"),
        ({"max_chars": 14}, "likes tea; pot"),
        ({"sources": ()}, ""),
    ],
)
def test_the_text_is_made_as_in_training(settings, expected):
    assert profile_text(ProfileTextSettings(**settings), PROFILE, HISTORY, TITLES.get) == expected


def test_titles_come_from_the_table_of_items(make_shop, model, tmp_path):
    (tmp_path / "items.csv").write_text("item_id,title\ni1,Green tea\ni2,Mug\n", encoding="utf-8")
    shop = make_shop(items=str(tmp_path / "items.csv"), profile_text={"sources": ("titles",)})
    for item, kind in (("i1", "purchase"), ("i2", "view")):
        shop.post("/v1/events", {"user_id": "u", "item_id": item, "event_type": kind, "timestamp": 5})
    shop.recommend(user_id="u")
    assert model.asked()["profile_text"] == b"Green tea"
