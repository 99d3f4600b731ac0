"""Raw tables of a shop, brought into the data contract: files, adapters, rejects."""

from __future__ import annotations

from tfx_pipeline.raw_tables.adapter import Adapter
from tfx_pipeline.raw_tables.amazon_sequences import AmazonSequences
from tfx_pipeline.raw_tables.online_retail import OnlineRetail
from tfx_pipeline.raw_tables.paths import Path
from tfx_pipeline.raw_tables.protected import Protected
from tfx_pipeline.raw_tables.recbole import RecBole
from tfx_pipeline.raw_tables.tables import Tables
from tfx_pipeline.settings import DataSettings

_ADAPTERS: dict[str, type[Adapter]] = {
    "tables": Tables,
    "online_retail": OnlineRetail,
    "amazon_sequences": AmazonSequences,
    "recbole": RecBole,
}


def make_adapter(settings: DataSettings, directory: str | Path) -> Adapter:
    """The adapter that the settings name, for the files of `directory`; it protects personal data where they say so.

    Raises:
      DataError: if that needs a key which cannot be used.
    """
    adapter = _ADAPTERS[settings.adapter](settings, directory)
    return Protected(adapter) if settings.privacy.enabled else adapter
