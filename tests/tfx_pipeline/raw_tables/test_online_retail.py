"""UCI Online Retail, on an extract made by hand with every kind of line that is dropped or rejected."""

import gzip
import pickle
import re
import zipfile

import numpy as np
import openpyxl
import pandas as pd
import pytest

from tfx_pipeline.raw_tables import excel, make_adapter
from tfx_pipeline.raw_tables.adapter import EVENT_COLUMNS, ITEM_COLUMNS
from tfx_pipeline.raw_tables.online_retail import COLUMNS
from tfx_pipeline.raw_tables.read import read
from tfx_pipeline.raw_tables.rejects import DataError, Rejects
from tfx_pipeline.settings import DataSettings

SETTINGS = DataSettings(adapter="online_retail", context=("country",), max_reject_share=0.5)
LINES = [
    # kept
    ("536365", "85123A", "WHITE HANGING  HEART ", 6, "2010-12-01 08:26:00", 2.55, 17850.0, "United Kingdom"),
    ("536365", "85123a", "WHITE HANGING HEART", 4, "2010-12-01 08:26:00", 2.05, 17850.0, "United Kingdom"),
    ("536366", "71053", "white lantern", 1, "2010-12-01 08:28:00", 3.39, 17850.0, "Austria"),
    ("536367", 71053, "A WHITE LANTERN", 2, "2010-12-02 09:00:00", 3.59, 13047.0, "Spain"),
    ("536368", "71053", None, 2, "2010-12-02 09:01:00", 4.0, 13047.0, "France"),
    ("536369", "85123A", "DAMAGED", 2, "2010-12-03 00:00:00", 2.95, 13048.0, "France"),
    # dropped: no CustomerID (also where it is a cancellation or a postage), cancellations
    ("536370", "71053", "WHITE LANTERN", 2, "2010-12-01 08:26:00", 3.39, None, "France"),
    ("C536371", "POST", "POSTAGE", -1, "2010-12-01 08:26:00", 18.0, None, "France"),
    ("C536372", "71053", "WHITE LANTERN", -1, "2010-12-01 08:26:00", 3.39, 13047.0, "Spain"),
    ("c536372", "POST", "POSTAGE", -1, "2010-12-01 08:26:00", 18.0, 13047.0, "Spain"),
    # dropped: non-positive quantity or price (also of a code that is no product)
    ("536373", "71053", "WHITE LANTERN", 0, "2010-12-01 08:26:00", 3.39, 13047.0, "Spain"),
    ("536373", "71053", "WHITE LANTERN", 1, "2010-12-01 08:26:00", 0.0, 13047.0, "Spain"),
    ("536373", "M", "Manual", 1, "2010-12-01 08:26:00", 0.0, 13047.0, "Spain"),
    # dropped: codes that are no product
    *(
        ("536374", code, "no product", 1, "2010-12-01 08:26:00", 1.0, 13047.0, "Spain")
        for code in ("POST", "D", "m", "DOT", "C2", "BANK CHARGES", "pads", "CRUK", "AMAZONFEE", "S", "B",
                     "gift_0001_20", "GIFT_0001_30")
    ),
    # rejected
    ("536375", None, "WHITE LANTERN", 1, "2010-12-01 08:26:00", 1.0, 13047.0, "Spain"),
    ("536375", "71053", "WHITE LANTERN", 1, "soon", 1.0, 13047.0, "Spain"),
    ("536375", "71053", "WHITE LANTERN", "many", "2010-12-01 08:26:00", 1.0, 13047.0, "Spain"),
    ("536375", "71053", "WHITE LANTERN", 1, "2010-12-01 08:26:00", None, 13047.0, "Spain"),
    (None, "71053", "WHITE LANTERN", 1, "2010-12-01 08:26:00", 1.0, 13047.0, "Spain"),
]  # fmt: skip
COUNTS = {
    ("events", "dropped", "cancellation"): 2,
    ("events", "dropped", "no CustomerID"): 2,
    ("events", "dropped", "non-positive quantity or price"): 3,
    ("events", "dropped", "non-product code"): 13,
    ("events", "merged", "identical events"): 1,
    ("events", "noted", "times without a zone, taken as UTC"): 30,
    ("events", "rejected", "missing InvoiceNo"): 1,
    ("events", "rejected", "missing StockCode"): 1,
    ("events", "rejected", "unparsable InvoiceDate"): 1,
    ("events", "rejected", "unparsable Quantity"): 1,
    ("events", "rejected", "unparsable UnitPrice"): 1,
}


@pytest.fixture
def csv_file(tmp_path):
    file = tmp_path / "online_retail.csv"
    pd.DataFrame(LINES, columns=COLUMNS, dtype=object).to_csv(file, index=False)
    return file


def xlsx(file, lines):
    book = openpyxl.Workbook()
    book.active.append(COLUMNS)
    for line in lines:
        moment = pd.to_datetime(line[4], errors="coerce")
        line = [int(v) if isinstance(v, str) and v.isdigit() else v for v in line]  # as UCI's workbook has them
        line[4] = line[4] if pd.isna(moment) else moment.to_pydatetime()
        book.active.append(line)
    book.save(file)
    return file


def test_counts_by_reason(csv_file):
    assert read(SETTINGS, csv_file).rejects.counts == COUNTS


def test_events(csv_file):
    events = read(SETTINGS, csv_file).events
    assert tuple(events) == EVENT_COLUMNS
    assert events.drop(columns=["price"]).values.tolist() == [
        ["17850", "85123A", "purchase", 1291191960, 10.0, "", "536365"],
        ["17850", "71053", "purchase", 1291192080, 1.0, "", "536366"],
        ["13047", "71053", "purchase", 1291280400, 2.0, "", "536367"],
        ["13047", "71053", "purchase", 1291280460, 2.0, "", "536368"],
        ["13048", "85123A", "purchase", 1291334400, 2.0, "", "536369"],
    ]
    # 6 at 2.55 and 4 at 2.05 are 10 at 2.35
    np.testing.assert_allclose(events["price"], [2.35, 3.39, 3.59, 4.0, 2.95])


def test_items_and_users(csv_file):
    tables = read(SETTINGS, csv_file)
    assert tuple(tables.items) == ITEM_COLUMNS
    assert tables.items[["item_id", "title", "price", "item_type", "first_seen"]].values.tolist() == [
        ["71053", "A WHITE LANTERN", 3.59, "product", 1291192080],  # one each: the first by alphabet
        ["85123A", "WHITE HANGING HEART", 2.55, "product", 1291191960],  # twice, once "DAMAGED"; median of three
    ]
    assert tables.users.to_dict("list") == {
        "user_id": ["13047", "13048", "17850"],
        "free_text": ["", "", ""],
        "country": ["France", "France", "United Kingdom"],  # 13047: Spain and France once each
    }
    assert len(tables.reviews) == len(tables.relations) == 0


def test_without_context(csv_file):
    users = read(DataSettings(adapter="online_retail", max_reject_share=0.5), csv_file).users
    assert tuple(users) == ("user_id", "free_text")


def test_gz_folder_and_uci_dates_are_read_alike(csv_file, tmp_path):
    expected = read(SETTINGS, csv_file)
    lines = pd.read_csv(csv_file, dtype=str, keep_default_na=False)
    moments = pd.to_datetime(lines["InvoiceDate"], errors="coerce")
    american = [f"{m.month}/{m.day}/{m.year} {m.hour}:{m.minute:02d}" if not pd.isna(m) else "soon" for m in moments]
    lines["InvoiceDate"] = american
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "data.csv.gz").write_bytes(gzip.compress(lines.to_csv(index=False).encode()))
    (folder / "README.md").write_text("no data")
    same(read(SETTINGS, folder), expected)


def test_xlsx_is_read_as_csv(csv_file, tmp_path):
    same(read(SETTINGS, xlsx(tmp_path / "Online Retail.xlsx", LINES)), read(SETTINGS, csv_file))


@pytest.mark.parametrize("dimension", [None, "A1"])
def test_xlsx_is_read_whole_whatever_size_it_says(csv_file, tmp_path, dimension):
    """UCI's form: mixed texts and numbers, datetimes, gaps; some programs write no or a wrong size of the sheet."""
    file = xlsx(tmp_path / "whole.xlsx", LINES)
    with zipfile.ZipFile(file) as book, zipfile.ZipFile(tmp_path / "sized.xlsx", "w") as changed:
        for name in book.namelist():
            content = book.read(name)
            if name == "xl/worksheets/sheet1.xml":
                size = f'<dimension ref="{dimension}" />'.encode() if dimension else b""
                content, number = re.subn(rb"<dimension [^>]*>", size, content)
                assert number == 1
            changed.writestr(name, content)
    same(read(SETTINGS, tmp_path / "sized.xlsx"), read(SETTINGS, csv_file))


def test_xlsx_is_streamed_with_the_lines_of_excel(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["A note", *COLUMNS])
    for number in range(25):
        book.active.append([None, *LINES[0]] if number != 3 else [])
    book.active.append(["a note of its own"])
    book.save(tmp_path / "retail.xlsx")
    chunks = list(excel.read_chunks(tmp_path / "retail.xlsx", COLUMNS, "events", 10))
    assert [len(chunk) for chunk in chunks] == [10, 10, 5]
    frame = pd.concat(chunks)
    assert list(frame.index) == [2, 3, 4, *range(6, 28)] and frame.index.name == "line"
    assert frame.iloc[0].tolist() == list(LINES[0]) and frame.iloc[-1].isna().all()


def same(tables, expected):
    assert tables.rejects.counts == expected.rejects.counts
    for name in ("events", "items", "users"):
        pd.testing.assert_frame_equal(getattr(tables, name), getattr(expected, name))


def test_rejects_name_the_line(csv_file, tmp_path):
    for file in (csv_file, xlsx(tmp_path / "retail.xlsx", LINES)):
        rows = read(SETTINGS, file).rejects._rows
        (row,) = (row for row in rows if row["reason"] == "unparsable InvoiceDate")
        assert (row["file"], row["line"], row["InvoiceDate"]) == (file.name, 29, "soon")


def test_worker_reads_the_same_and_counts_once(csv_file):
    adapter = make_adapter(SETTINGS, csv_file)
    items, rejects = adapter.items(Rejects()), Rejects()
    sent = pickle.dumps(adapter)
    assert len(sent) < 2000  # not what was read
    there = pickle.loads(sent)
    events = pd.concat(there.read_events(csv_file, rejects))
    assert len(events) == 6
    assert rejects.counts == {key: n for key, n in COUNTS.items() if key[1] != "merged"}
    pd.testing.assert_frame_equal(there.items(Rejects()), items)


class TestUnusable:
    def sentence(self, directory, settings=SETTINGS):
        with pytest.raises(DataError) as error:
            read(settings, directory)
        assert "\n" not in str(error.value)
        return str(error.value)

    def test_not_there(self, tmp_path):
        where = tmp_path / "nowhere"
        assert self.sentence(where) == (f"{where}: is not there; expected UCI Online Retail (.csv, .csv.gz or .xlsx).")

    def test_not_exactly_one_file(self, tmp_path):
        assert self.sentence(tmp_path).startswith(f"{tmp_path}: holds 0 files that end in .csv, .csv.gz or .xlsx;")
        for name in ("a.csv", "b.xlsx"):
            (tmp_path / name).touch()
        assert "holds 2 files" in self.sentence(tmp_path)
        assert "(a.csv, b.xlsx); expected exactly one." in self.sentence(tmp_path)

    def test_other_ending(self, tmp_path):
        file = tmp_path / "retail.zip"
        file.touch()
        assert self.sentence(file) == f"{file}: expected a file that ends in .csv, .csv.gz or .xlsx."

    def test_other_columns(self, tmp_path):
        file = tmp_path / "retail.csv"
        file.write_text("Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n" + ",1" * 7)
        assert self.sentence(file).startswith(f"{file}: column 'InvoiceNo' is missing; expected InvoiceNo, StockCode,")

    def test_latin_1(self, csv_file):
        csv_file.write_bytes(csv_file.read_bytes().replace(b"white lantern", b"white lant\xe8rn"))
        assert self.sentence(csv_file) == (
            f"{csv_file}: line 4 is not UTF-8 (byte 0xe8); expected a CSV file in UTF-8."
        )

    def test_unusable_workbooks(self, tmp_path):
        file = tmp_path / "retail.xlsx"
        file.write_text("no workbook")
        assert self.sentence(file) == f"{file}: is damaged or no workbook; expected a whole XLSX file."
        whole = xlsx(file, LINES).read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        assert self.sentence(file) == f"{file}: is damaged or no workbook; expected a whole XLSX file."
        content = bytearray(xlsx(file, LINES * 50).read_bytes())
        with zipfile.ZipFile(file) as book:
            sheet = book.getinfo("xl/worksheets/sheet1.xml")
        middle = sheet.header_offset + sheet.compress_size // 2
        content[middle : middle + 8] = bytes(8)
        file.write_bytes(content)
        assert self.sentence(file) == f"{file}: is damaged within its first sheet; expected a whole XLSX file."
        xlsx(file, [])
        assert self.sentence(file) == f"{file}: has columns but no rows; expected at least one row of events."
        openpyxl.Workbook().save(file)
        assert "its first sheet is empty" in self.sentence(file)
        book = openpyxl.Workbook()
        book.active.append(["InvoiceNo", "StockCode"])
        book.save(file)
        assert self.sentence(file).startswith(f"{file}: column 'Description' is missing; expected InvoiceNo,")

    def test_context_that_is_not_there(self, csv_file):
        settings = DataSettings(adapter="online_retail", context=("age",), max_reject_share=0.5)
        assert self.sentence(csv_file, settings) == (
            "context column 'age' is not in UCI Online Retail; expected none or country."
        )

    def test_too_many_rejects_do_not_count_what_is_dropped(self, csv_file):
        settings = DataSettings(adapter="online_retail", max_reject_share=0.45)
        text = self.sentence(csv_file, settings)
        assert text.startswith("events: 5 of 11 rows (45.5%) are rejected, most for 'missing InvoiceNo' (1); ")
        assert text.endswith("expected at most 45.0% (data.max_reject_share).")
