"""An adapter whose tables and rejects hold neither raw ids of persons nor unredacted texts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pandas as pd

from serving.privacy.errors import PrivacyError
from serving.privacy.privacy import Privacy
from serving.privacy.redaction import redact
from tfx_pipeline.raw_tables import values
from tfx_pipeline.raw_tables.adapter import Adapter
from tfx_pipeline.raw_tables.paths import Path
from tfx_pipeline.raw_tables.rejects import DataError, Rejects


class Protected(Adapter):
    """What another adapter reads, protected as `data.privacy` says before anything else sees it.

    Events' user_id, session_id and query, users' user_id and free_text, and reviews' user_id and text are protected;
    declared context columns and items are left. Rows are told apart and rejected by what they were, so nothing that is
    counted changes. In rejected rows all other texts are redacted too, since columns may have slipped, and of a line
    with too few or too many fields only their number is kept.

    Args:
      adapter: that reads the data set.

    Raises:
      DataError: if the key cannot be used.
    """

    def __init__(self, adapter: Adapter) -> None:
        super().__init__(adapter.settings, adapter.directory)
        self._adapter = adapter
        try:
            self._privacy = Privacy(adapter.settings.privacy)
        except PrivacyError as error:
            raise DataError(f"data.privacy: {error}") from None

    def files(self) -> list[Path]:
        return self._adapter.files()

    def event_files(self) -> list[Path]:
        return self._adapter.event_files()

    def read_events(self, file: Path, rejects: Rejects) -> Iterator[pd.DataFrame]:
        with self._raw(rejects) as raw:
            for chunk in self._adapter.read_events(file, raw):
                yield self._protected(chunk)

    def items(self, rejects: Rejects) -> pd.DataFrame:
        with self._raw(rejects) as raw:
            return self._adapter.items(raw)

    def users(self, rejects: Rejects) -> pd.DataFrame:
        with self._raw(rejects) as raw:
            return self._protected(self._adapter.users(raw)).sort_values("user_id", ignore_index=True)

    def reviews(self, rejects: Rejects) -> pd.DataFrame:
        with self._raw(rejects) as raw:
            return self._protected(self._adapter.reviews(raw))

    def relations(self, rejects: Rejects) -> pd.DataFrame:
        with self._raw(rejects) as raw:
            return self._adapter.relations(raw)

    def _protected(self, rows: pd.DataFrame) -> pd.DataFrame:
        rules = {name: rule for name, rule in self._privacy.rules.items() if name in rows}
        return rows.assign(**{name: values.texts(rows[name], rule) for name, rule in rules.items()})

    @contextlib.contextmanager
    def _raw(self, rejects: Rejects) -> Iterator[Rejects]:
        """Rejects for the adapter, which `rejects` gets protected when the adapter is done."""
        raw = Rejects(rejects.keep_rows)
        yield raw
        rejects.merge(raw, self._protected_row)

    def _protected_row(self, row: dict[str, Any]) -> dict[str, Any]:
        protected: dict[str, Any] = {}
        for name, value in row.items():
            rule = self._privacy.rules.get(self._adapter.called_in_files.get(name, name))
            if isinstance(value, list):  # fields of a line, each of which may be anything
                protected[f"number of {name}"] = len(value)
            elif rule and not pd.isna(value):
                protected[name] = rule(values.text_of(value))
            else:
                protected[name] = redact(value) if isinstance(value, str) else value
        return protected
