"""Tables on a file system that only TensorFlow reads, held against the same tables on disk."""

import gzip
import io
import itertools
import pathlib
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tfx_pipeline.example_gen.stages import shard_count
from tfx_pipeline.raw_tables import files, make_adapter
from tfx_pipeline.raw_tables.paths import RemotePath, path_of
from tfx_pipeline.raw_tables.read import read
from tfx_pipeline.raw_tables.rejects import DataError, Rejects
from tfx_pipeline.settings import DataSettings, TableSettings

_number = itertools.count()

EVENTS = "user_id,item_id,event_type,timestamp,quantity\n" + "".join(
    f"u{n % 7},i{n % 5},click,{1_300_000_000 + n},{n % 3}\n" for n in range(40)
)
SHOP = {
    "events/1.csv": EVENTS + "u1,i9,click,1300000001,1\nu1,i1,click,soon,1\nu1,i1\n",
    "events/2.csv.gz": gzip.compress(EVENTS.replace("\nu", "\nw").encode()),
    "events/_SUCCESS": "",
    "items.parquet": None,
    "users.csv": "user_id,free_text,country\nu1,teapots,Ghana\nu1,again,Ghana\n",
}  # fmt: skip
SETTINGS = DataSettings(
    events=TableSettings("events/*"),
    items=TableSettings("items.parquet"),
    users=TableSettings("users.csv"),
    context=("country",),
    max_reject_share=0.5,
)


@pytest.fixture
def remote():
    """A folder that no other test has."""
    folder = RemotePath(f"ram://paths-{next(_number)}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def upload(local: pathlib.Path, remote: RemotePath) -> None:
    for file in local.rglob("*"):
        if file.is_file():
            target = f"{remote}/{file.relative_to(local).as_posix()}"
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            tf.io.gfile.copy(str(file), target)


@pytest.fixture
def shop(tmp_path, remote):
    local = tmp_path / "shop"
    (local / "events").mkdir(parents=True)
    for name, content in SHOP.items():
        if content is not None:
            (local / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(5)], "title": list("abcde"), "price": [1.5, 2, 3, 4, 5]})
    items.to_parquet(local / "items.parquet", row_group_size=2)
    upload(local, remote)
    return local, remote


def test_the_same_shop_gives_the_same_tables_and_rejects(shop):
    local, remote = shop
    here, there = read(SETTINGS, local), read(SETTINGS, str(remote))
    assert len(here.events) > 70 and here.rejects.counts[("events", "rejected", "unparsable timestamp")] == 1
    for name in ("events", "items", "users", "reviews", "relations"):
        pd.testing.assert_frame_equal(getattr(there, name), getattr(here, name))
    assert there.rejects.counts == here.rejects.counts
    here.rejects.write(local / "rejects.jsonl")
    there.rejects.write(f"{remote}/rejects.jsonl")
    assert (remote / "rejects.jsonl").open("rb").read() == (local / "rejects.jsonl").read_bytes() != b""
    listed = [str(file).removeprefix(f"{remote}/") for file in make_adapter(SETTINGS, str(remote)).files()]
    assert listed == [str(file.relative_to(local)) for file in make_adapter(SETTINGS, local).files()]


def test_chunks_are_streamed(remote, monkeypatch):
    file = remote / "e.csv"
    with file.open("wb") as stream:
        stream.write(b"a\n" + b"0123456789\n" * 200_000)
    asked = []
    plain = tf.io.gfile.GFile.read
    monkeypatch.setattr(tf.io.gfile.GFile, "read", lambda self, n=-1: asked.append(n) or plain(self, n))
    chunks = files.read_chunks(file, files.Layout("events", {"a": "a"}, ("a",)), Rejects(), chunk_rows=1000)
    assert len(next(chunks)) == 1000
    assert 0 < sum(asked) < 600_000 and min(asked) > 0
    assert sum(map(len, chunks)) == 199_000


def test_a_workbook(remote, tmp_path):
    columns = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
    lines = [
        [536365 + n, "85123A", "HEART", 1, pd.Timestamp("2010-12-01 08:26"), 2.5, 17850.0, "EIRE"] for n in range(9)
    ]
    pd.DataFrame(lines, columns=columns).to_excel(tmp_path / "retail.xlsx", index=False)
    pd.DataFrame(lines, columns=columns).to_csv(tmp_path / "retail.csv", index=False)
    settings = DataSettings(adapter="online_retail")
    expected = read(settings, tmp_path / "retail.csv").events
    (tmp_path / "retail.csv").unlink()
    upload(tmp_path, remote)
    for where in (remote, remote / "retail.xlsx"):
        pd.testing.assert_frame_equal(read(settings, str(where)).events, expected)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("events/1.csv", lambda content: b""),
        ("events/1.csv", lambda content: content.replace(b"timestamp", b"time")),
        ("events/1.csv", lambda content: content + "u1,caf\xe9,click,1,1\n".encode("latin-1")),
        ("events/2.csv.gz", cut),
        ("events/2.csv.gz", lambda content: b"no gzip"),
        ("items.parquet", cut),
        ("items.parquet", lambda content: b""),
        ("items.parquet", None),
        ("events/3.json", lambda content: b"{}"),
        ("events/3.parquet", lambda content: b""),
    ],
)
def test_errors_are_the_local_ones_and_name_the_path(shop, name, damage):
    local, remote = shop
    content = b""
    if (local / name).is_file():
        content = (local / name).read_bytes()
        (local / name).unlink()
        tf.io.gfile.remove(f"{remote}/{name}")  # ram:// would append
    if damage is not None:
        (local / name).write_bytes(damage(content))
        with (remote / name).open("wb") as stream:
            stream.write(damage(content))
    sentences = []
    for folder in (local, remote):
        with pytest.raises(DataError) as error:
            read(SETTINGS, str(folder))
        sentences.append(str(error.value).replace(str(folder), "FOLDER"))
    assert sentences[0] == sentences[1]
    assert sentences[0].startswith("FOLDER/") and "\n" not in sentences[0]


@pytest.mark.parametrize("adapter", ["tables", "online_retail"])
def test_folders_that_cannot_be_read(remote, adapter):
    settings = DataSettings(adapter=adapter)
    with pytest.raises(DataError, match=rf"^{remote}/nowhere: is not there; expected "):
        read(settings, f"{remote}/nowhere/")
    with pytest.raises(
        DataError, match=r"^nosuch://bucket/tables: cannot be read \(File system scheme 'nosuch' not im"
    ):
        read(settings, "nosuch://bucket/tables")


def test_a_file_system_that_fails_midway_is_one_sentence(shop, monkeypatch):
    def lost(self, n=-1):
        raise tf.errors.UnavailableError(None, None, "connection lost.\nmore of it")

    _, remote = shop
    adapter = make_adapter(SETTINGS, str(remote))
    monkeypatch.setattr(tf.io.gfile.GFile, "read", lost)
    for name in ("1.csv", "2.csv.gz"):
        with pytest.raises(DataError) as error:
            list(adapter.read_events(remote / "events" / name, Rejects()))
        assert str(error.value) == f"{remote}/events/{name}: cannot be read (connection lost) after line 0."


def test_the_size_of_remote_files_decides_the_shards(remote):
    for name in ("a", "b"):
        with (remote / name).open("wb") as stream:
            stream.write(bytes(20 << 20))
    assert shard_count([remote / "a", remote / "b"]) == 10  # 40 MiB at 4 MiB a shard


def test_rejects_are_written_there(remote):
    rejects = Rejects()
    rejects.reject("events", "größer", {"line": 7})
    for _ in range(2):  # the second time in the place of the first
        rejects.write(f"{remote}/new/rejects.jsonl")
    assert tf.io.gfile.listdir(f"{remote}/new") == ["rejects.jsonl"]
    with tf.io.gfile.GFile(f"{remote}/new/rejects.jsonl") as file:
        assert file.read() == '{"table": "events", "kind": "rejected", "reason": "größer", "line": 7}\n'
    with pytest.raises(OSError, match="not implemented"):
        rejects.write("nosuch://bucket/rejects.jsonl")


def test_streams_seek_as_those_of_files_do(remote, tmp_path):
    content = bytes(range(256)) * 3000
    (tmp_path / "x").write_bytes(content)
    with (remote / "x").open("wb") as stream:
        stream.write(content)
    with (tmp_path / "x").open("rb") as here, (remote / "x").open("rb") as there:
        for offset, whence, number in (
            (0, 0, 10), (-7, 2, 20), (300_000, 0, 5), (-100, 1, 300_000), (0, 2, 1), (17, 0, -1),
        ):  # fmt: skip
            assert there.seek(offset, whence) == here.seek(offset, whence)
            assert there.read(number) == here.read(number)
            assert there.tell() == here.tell()
        with pytest.raises(OSError):
            there.seek(-1)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("a", content)
    with (remote / "z").open("wb") as stream:
        stream.write(archive.getvalue())
    with (remote / "z").open("rb") as stream, zipfile.ZipFile(stream) as zipped:
        assert zipped.read("a") == content
    for name, expected in (("no", FileNotFoundError), ("", IsADirectoryError)):
        with pytest.raises(expected, match="ram://"):
            (remote / name).open("rb")


def test_parts():
    path = path_of("gs://bucket/tables/")
    assert isinstance(path, RemotePath) and path == RemotePath("gs://bucket/tables") and str(path / "a.csv") == (
        "gs://bucket/tables/a.csv"
    )  # fmt: skip
    assert (path.name, str(path.parent), str(path.with_name("x"))) == ("tables", "gs://bucket", "gs://bucket/x")
    assert (path_of("gs://bucket").name, str(path_of("ram://"))) == ("bucket", "ram://")
    assert path_of("a/b") == pathlib.Path("a/b") and path_of(path) is path
    texts = ["a/b.csv", "a-b.csv", "a/b/c", "a"]
    assert [str(p) for p in sorted(RemotePath(f"gs://x/{text}") for text in texts)] == [
        f"gs://x/{path}" for path in sorted(map(pathlib.Path, texts))
    ]


# In ram:// whatever begins a file's path exists; so no name here begins another.
TREE = ("x.csv", "y.csv", "[x].csv", ".x", "a/x.csv", "a/b/x.csv", "b/a/y.csv", "b/.b/x.csv")
PARTS = st.lists(st.sampled_from(["a", "b", "*", "**", "a*", "*.csv", "?.csv", "[xy].csv", "[[]x].csv", "x.csv"]))


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    local, remote = tmp_path_factory.mktemp("trees"), RemotePath("ram://trees")
    for name in TREE:
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        (local / name).touch()
    upload(local, remote)
    return local, remote


@hypothesis_settings(deadline=None, max_examples=100)
@given(PARTS)
def test_glob_is_that_of_pathlib(trees, parts):
    pattern = "/".join(parts)
    found = []
    for root in trees:
        try:
            found.append(sorted(str(path).removeprefix(str(root)) for path in root.glob(pattern)))
        except ValueError:
            found.append("no pattern")
    assert found[0] == found[1]


def test_glob_refuses_what_pathlib_refuses(trees):
    for pattern in ("**.csv", ""):
        for root in trees:
            with pytest.raises(ValueError):
                list(root.glob(pattern))


def test_local_tables_are_read_without_tensorflow(shop):
    local, _ = shop
    (local / "shop.yaml").write_text(
        "name: shop\ndata: {events: {path: events/*}, items: {path: items.parquet}, max_reject_share: 0.5}\n"
        "decisions: {label_event_types: [click]}\n"
    )
    program = (
        "import sys; from tfx_pipeline import check; code = check.main(sys.argv[1:]); "
        "print('code', code, 'tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", program, "--config", str(local / "shop.yaml"), "--data", str(local)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "code 0 False" in done.stdout, done.stdout + done.stderr
