"""Reading files: every unusable file ends in one sentence that says what, where and what was expected."""

import gzip
import zlib

import pandas as pd
import pytest

from tfx_pipeline.raw_tables import files
from tfx_pipeline.raw_tables.files import Layout
from tfx_pipeline.raw_tables.rejects import DataError, Rejects

LAYOUT = Layout("events", {"user_id": "user_id", "item_id": "item_id", "price": "price"}, ("user_id", "item_id"))
GOOD = "user_id,item_id,price\nu1,i1,2.5\nu2,i2,\n"


def read(file, layout=LAYOUT, **options):
    rejects = Rejects()
    chunks = list(files.read_chunks(file, layout, rejects, **options))
    return (pd.concat(chunks) if chunks else None), rejects


def sentence(file, layout=LAYOUT):
    """The error of reading a file: one line, with the file's name."""
    with pytest.raises(DataError) as error:
        read(file, layout)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"{file}: ")
    assert text.endswith(".")
    return text.removeprefix(f"{file}: ")


def write(folder, name, content):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize("name", ["e.csv", "e.csv.gz"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_is_read_as_written(tmp_path, name, mark, end):
    content = mark + GOOD.replace("\n", end).encode()
    file = write(tmp_path, name, gzip.compress(content) if name.endswith("gz") else content)
    frame, rejects = read(file)
    assert frame.to_dict("list") == {"user_id": ["u1", "u2"], "item_id": ["i1", "i2"], "price": ["2.5", ""]}
    assert list(frame.index) == [2, 3]
    assert frame.index.name == "line"
    assert rejects.counts == {}


def test_chunks_keep_rows_and_lines(tmp_path):
    rows = "".join(f"u{n},i{n},{n}\n" for n in range(25))
    file = write(tmp_path, "e.csv", "user_id,item_id,price\n" + rows)
    chunks = list(files.read_chunks(file, LAYOUT, Rejects(), chunk_rows=10))
    assert [len(chunk) for chunk in chunks] == [10, 10, 5]
    assert list(pd.concat(chunks)["user_id"]) == [f"u{n}" for n in range(25)]
    assert list(pd.concat(chunks).index) == list(range(2, 27))


def test_lines_count_through_quoted_line_ends_and_empty_lines(tmp_path):
    file = write(tmp_path, "e.csv", 'user_id,item_id,price\n"u\n1",i1,1\n\nu2,i2\nu3,i3,3\n')
    frame, rejects = read(file)
    assert list(frame["user_id"]) == ["u\n1", "u3"]
    assert list(frame.index) == [2, 6]
    assert rejects.counts == {("events", "rejected", "too few fields"): 1}
    assert rejects._rows[0]["line"] == 5


def test_ragged_and_badly_quoted_rows_are_rejected_by_reason(tmp_path):
    file = write(tmp_path, "e.csv", 'user_id,item_id,price\nu1,i1\nu2,i2,1,9\n"u"3,i3,1\nu4,i4,1\n')
    frame, rejects = read(file)
    assert list(frame["user_id"]) == ["u4"]
    assert rejects.counts == {
        ("events", "rejected", "broken CSV quoting"): 1,
        ("events", "rejected", "too few fields"): 1,
        ("events", "rejected", "too many fields"): 1,
    }
    assert [(row["file"], row["line"]) for row in rejects._rows] == [("e.csv", 2), ("e.csv", 3), ("e.csv", 4)]


def test_missing_column(tmp_path):
    text = sentence(write(tmp_path, "e.csv", "user_id,price\nu1,2\n"))
    assert text == "column 'item_id' is missing; expected user_id, item_id; found user_id, price."


def test_missing_renamed_column_also_where_optional(tmp_path):
    layout = Layout("events", {"user_id": "uid", "price": "amount"}, ("user_id",))
    text = sentence(write(tmp_path, "e.csv", "uid,price\nu1,2\n"), layout)
    assert text == "column 'amount' (price) is missing; expected uid; found uid, price."


def test_column_twice(tmp_path):
    text = sentence(write(tmp_path, "e.csv", "user_id,item_id,item_id\nu1,i1,i2\n"))
    assert text == "column 'item_id' is there twice; expected each column once."


@pytest.mark.parametrize(("delimiter", "spoken"), [(";", "a semicolon"), ("\t", "a tab"), ("|", "a bar")])
def test_wrong_delimiter(tmp_path, delimiter, spoken):
    file = write(tmp_path, "e.csv", GOOD.replace(",", delimiter))
    assert sentence(file) == f"line 1 is separated by {spoken}; expected a comma (or set data.events.delimiter)."
    layout = Layout(LAYOUT.table, LAYOUT.columns, LAYOUT.required, delimiter)
    assert list(read(file, layout)[0]["item_id"]) == ["i1", "i2"]


def test_comma_where_something_else_was_declared(tmp_path):
    layout = Layout(LAYOUT.table, LAYOUT.columns, LAYOUT.required, ";")
    text = sentence(write(tmp_path, "e.csv", GOOD), layout)
    assert text == "line 1 is separated by a comma; expected a semicolon (or set data.events.delimiter)."


@pytest.mark.parametrize("content", [b"", gzip.compress(b"")], ids=["plain", "gz"])
def test_no_bytes(tmp_path, content):
    file = write(tmp_path, "e.csv.gz" if content else "e.csv", content)
    assert sentence(file) == "is empty; expected a header line and rows."


def test_no_rows_is_an_error_unless_one_part_of_several(tmp_path):
    file = write(tmp_path, "e.csv", "user_id,item_id,price\n")
    assert sentence(file) == "has columns but no rows; expected at least one row of events."
    layout = Layout(LAYOUT.table, LAYOUT.columns, LAYOUT.required, may_be_empty=True)
    assert read(file, layout)[0] is None


def test_not_utf8_names_the_line(tmp_path):
    file = write(tmp_path, "e.csv", GOOD.encode() + "u3,café,1\n".encode("latin-1"))
    assert sentence(file) == "line 4 is not UTF-8 (byte 0xe9); expected a CSV file in UTF-8."
    assert sentence(write(tmp_path, "h.csv", GOOD.encode("utf-16"))).startswith("line 1 is not UTF-8 (byte 0xff)")


def test_truncated_gz(tmp_path):
    rows = "".join(f"user{n * 7919 % 10007},item{n},{n}\n" for n in range(20_000))
    whole = gzip.compress(("user_id,item_id,price\n" + rows).encode())
    part = whole[: len(whole) // 2]
    line = zlib.decompressobj(31).decompress(part).count(b"\n") + 1
    assert line > 1000
    text = sentence(write(tmp_path, "e.csv.gz", part))
    assert text == f"is truncated, it ends within line {line}; expected a whole gzip file."
    assert sentence(write(tmp_path, "f.csv.gz", whole[:-4])).startswith("is truncated")


def test_damaged_gz(tmp_path):
    assert sentence(write(tmp_path, "e.csv.gz", GOOD)) == "is damaged after line 0; expected a gzip file."
    whole = bytearray(gzip.compress(GOOD.encode()))
    whole[-6] ^= 1  # of the checksum
    assert sentence(write(tmp_path, "f.csv.gz", bytes(whole))).endswith("; expected a gzip file.")


def test_quote_that_does_not_end(tmp_path):
    text = "line 3 opens a quote that does not end; expected a closing quote."
    assert sentence(write(tmp_path, "e.csv", 'user_id,item_id,price\nu1,i1,1\nu2,"i2,1\nu3,i3,1\n')) == text
    long = 'user_id,item_id,price\nu1,i1,1\nu2,"i2,1\n' + "u3,i3,1\n" * 20_000
    assert sentence(write(tmp_path, "f.csv", long)) == text


@pytest.mark.parametrize("quote", ["", '"'])
def test_field_beyond_the_limit(tmp_path, quote):
    text = f"user_id,item_id,price\nu1,i1,1\nu2,{quote}{'i' * 131_073}{quote},1\n"
    expected = "line 3 has a field of more than 131,072 characters; expected shorter ones."
    assert sentence(write(tmp_path, "e.csv", text)) == expected


def test_nul_byte(tmp_path):
    file = write(tmp_path, "e.csv", GOOD + "u\0,i,1\n")
    assert sentence(file) == "line 4 holds a NUL byte; expected text in UTF-8."


def test_parquet(tmp_path):
    file = tmp_path / "e.parquet"
    pd.DataFrame({"price": [2.5, None], "user_id": [17, 18], "item_id": ["i1", None]}).to_parquet(file)
    frame, _ = read(file)
    assert list(frame) == ["user_id", "item_id", "price"]
    assert list(frame["user_id"]) == [17, 18]
    assert list(frame.index) == [1, 2]
    assert frame.index.name == "row"


def test_unusable_parquet(tmp_path):
    file = tmp_path / "e.parquet"
    pd.DataFrame({"user_id": ["u1"], "price": [1.0]}).to_parquet(file)
    assert sentence(file) == "column 'item_id' is missing; expected user_id, item_id; found user_id, price."
    whole = file.read_bytes()
    assert sentence(write(tmp_path, "f.parquet", whole[:-9])).startswith("is damaged or not Parquet;")
    assert sentence(write(tmp_path, "g.parquet", GOOD)).startswith("is damaged or not Parquet;")
    assert sentence(write(tmp_path, "h.parquet", b"")) == "is empty; expected a Parquet file with rows."
    pd.DataFrame({"user_id": ["u1"], "item_id": [["i1", "i2"]]}).to_parquet(file)
    assert sentence(file).startswith("column 'item_id' is list<")
    pd.DataFrame({"user_id": ["u1"], "item_id": [b"caf\xe9"]}).to_parquet(file)
    assert sentence(file) == "a text after row 0 is not UTF-8; expected texts in UTF-8."
    pd.DataFrame({"user_id": [], "item_id": []}).to_parquet(file)
    assert sentence(file) == "has columns but no rows; expected at least one row of events."


class TestFind:
    def error(self, directory, pattern):
        with pytest.raises(DataError) as error:
            files.find(directory, pattern, "events")
        return str(error.value)

    def test_files_sorted_markers_passed_over(self, tmp_path):
        for name in ("b.csv", "a.csv", "_SUCCESS", ".a.csv.crc"):
            write(tmp_path, name, GOOD)
        assert [file.name for file in files.find(tmp_path, "*", "events")] == ["a.csv", "b.csv"]

    def test_directory_not_there(self, tmp_path):
        where = tmp_path / "nowhere"
        assert self.error(where, "e.csv") == f"{where}: is not there; expected the folder that holds events (e.csv)."
        file = write(tmp_path, "file", "")
        assert self.error(file, "e.csv").startswith(f"{file}: is a file; expected the folder")

    def test_nothing_matches(self, tmp_path):
        where = tmp_path / "e*.csv"
        assert self.error(tmp_path, "e*.csv") == (
            f"{where}: matches no file; expected the CSV or Parquet files of events."
        )
        (tmp_path / "events").mkdir()
        assert self.error(tmp_path, "events").startswith(f"{tmp_path / 'events'}: is a folder;")

    def test_both_forms_would_count_twice(self, tmp_path):
        write(tmp_path, "e.csv", GOOD)
        write(tmp_path, "e.parquet", b"")
        assert "matches CSV and Parquet (e.csv, e.parquet)" in self.error(tmp_path, "e.*")

    def test_unknown_ending(self, tmp_path):
        file = write(tmp_path, "e.json", "{}")
        assert self.error(tmp_path, "e.*").startswith(f"{file}: cannot tell its form by its ending;")

    def test_only_below_the_folder(self, tmp_path):
        assert "expected a name or glob below this folder" in self.error(tmp_path, "/etc/*.csv")
        assert "expected a name or glob below this folder" in self.error(tmp_path, "../*.csv")

    def test_no_glob(self, tmp_path):
        text = f"{tmp_path}: the path of events is '**.csv'; expected a glob such as *.csv."
        assert self.error(tmp_path, "**.csv") == text
