"""Rows and requests under the settings, and what importing the package brings in."""

import ast
import pathlib
import pickle
import subprocess
import sys

import pytest

from serving.privacy.errors import PrivacyError
from serving.privacy.privacy import Privacy
from serving.privacy.pseudonyms import Pseudonyms
from serving.privacy.settings import PrivacySettings
from serving.requests import Event, Request

KEY = bytes(range(40))
PACKAGE = pathlib.Path(__file__).parents[3] / "serving" / "privacy"
ROW = {
    "user_id": " 7 ", "session_id": "7-1", "item_id": "a@b.com", "event_type": "search", "timestamp": 5,
    "query": "lamp for a@b.com", "free_text": "13812345678", "text": "call 4155550199", "country": "a@b.com",
}  # fmt: skip
REQUEST = Request(
    user_id="7",
    profile_text="likes tea; 13812345678",
    query="lamp for a@b.com",
    request_time=9,
    history=[Event("i", "view", 1)],
    context={"country": "a@b.com"},
    candidates=["13812345678"],
    candidate_text=["Lamp 13812345678"],
)


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "key").write_bytes(KEY)
    return PrivacySettings(enabled=True, key_file=str(tmp_path / "key"))


def test_rows_and_requests_end_alike(settings):
    name = Pseudonyms(KEY).of
    privacy = Privacy(settings)
    protected = privacy.protect_event(ROW)
    assert protected == {
        **ROW, "user_id": name("7"), "session_id": name("7-1"), "query": "lamp for [email]", "free_text": "[phone]",
        "text": "call [phone]",
    }  # fmt: skip
    request = privacy.protect_request(REQUEST)
    assert (request.user_id, request.query) == (protected["user_id"], protected["query"])
    assert request.profile_text == "likes tea; [phone]"
    unchanged = ("request_time", "history", "context", "candidates", "candidate_text")
    assert all(getattr(request, field) == getattr(REQUEST, field) for field in unchanged)
    assert privacy.protect_event(protected) == protected and privacy.protect_request(request) == request


def test_off_changes_nothing_and_needs_no_key(monkeypatch):
    monkeypatch.delenv("SHOP_PSEUDONYM_KEY_FILE", raising=False)
    privacy = Privacy(PrivacySettings())
    assert privacy.protect_event(ROW) == ROW and privacy.protect_request(REQUEST) == REQUEST
    with pytest.raises(PrivacyError, match="no key of pseudonyms is named"):
        Privacy(PrivacySettings(enabled=True))


def test_only_the_fields_that_are_named_are_redacted(settings):
    privacy = Privacy(PrivacySettings(True, ("query",), settings.key_file))
    protected = privacy.protect_event(ROW)
    assert (protected["query"], protected["free_text"]) == ("lamp for [email]", "13812345678")
    assert privacy.protect_request(REQUEST).profile_text == REQUEST.profile_text


def test_nothing_passes_because_of_its_type(settings):
    privacy = Privacy(settings)
    assert privacy.protect_event({"user_id": None, "query": None}) == {"user_id": None, "query": None}
    for field in ("user_id", "query"):
        with pytest.raises(PrivacyError, match=f"`{field}` is of type int; expected a text"):
            privacy.protect_event({field: 13812345678})


def test_pickled_it_takes_no_key_along(settings):
    pickled = pickle.dumps(Privacy(settings))
    assert KEY not in pickled
    assert pickle.loads(pickled).protect_event(ROW) == Privacy(settings).protect_event(ROW)


def test_neither_tensorflow_nor_a_library_is_needed():
    modules = [f"serving.privacy.{file.stem}" for file in PACKAGE.glob("*.py") if file.stem != "__init__"]
    code = f"import sys, {', '.join(modules)}; print(sorted({{m.split('.')[0] for m in sys.modules}}))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=PACKAGE.parents[1]).stdout
    loaded = set(ast.literal_eval(said.decode()))
    assert "serving" in loaded and not loaded & {"tensorflow", "pandas", "numpy", "redis", "tfx_pipeline", "tfx"}
