"""Where a model is served and released: frozen dataclasses, read strictly from YAML."""

from __future__ import annotations

import os
import pathlib
from dataclasses import dataclass, field

from models import settings_reader
from models.options import choice, number
from serving.client.tls import Tls
from serving.release.errors import ReleaseError
from serving.release.watch_settings import WatchSettings

RPC, POLL = "rpc", "poll"
_FILES = ("folder", "config_file", "journal", "experiment", "winner_file", "token_file")


@dataclass(frozen=True)
class TlsSettings:
    """How the servers' gRPC ports are encrypted; files and name as of `serving.client.Tls`.

    Attributes:
      enabled: whether they are.
      root_certificates, certificate, key, server_name: "" for none.
    """

    enabled: bool = False
    root_certificates: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""

    def tls(self) -> Tls | None:
        """As the client wants it; None where it is off.

        Raises:
          ValueError: for a certificate without a key, or a key without a certificate.
        """
        if not self.enabled:
            return None
        return Tls(self.root_certificates or None, self.certificate or None, self.key or None, self.server_name)


@dataclass(frozen=True)
class ReleaseSettings:
    """One model's release. Relative paths count from the settings' file.

    Attributes:
      model: its name on the servers.
      folder: of the versions, as seen from here.
      config_file: the servers' --model_config_file, as seen from here. Other models in it are left as they are,
        comments are not kept.
      servers: host:port of the gRPC port of every server; a name that stands for several, such as that of a headless
        Service, is all of them.
      journal: JSON lines of who served what when; is written.
      base_path: `folder` as the servers see it; "" where they see the same.
      reload: `rpc`, the servers are told (HandleReloadConfigRequest), or `poll`, they look at the file themselves
        (--model_config_file_poll_wait_seconds).
      experiment: of `serving.experiment`, which shares users out to the labels; "" where nothing does.
      winner_file: is written whenever another version becomes stable: its settings, for the next training; "" for none.
      grace_seconds: an old version stays loaded so long after no label names it any more.
      load_seconds: that servers may take to load a version.
      tls, token_file: of the servers.
      watch: what decides about a canary by itself.
    """

    model: str
    folder: str
    config_file: str
    servers: tuple[str, ...]
    journal: str
    base_path: str = ""
    reload: str = choice(RPC, POLL)
    experiment: str = ""
    winner_file: str = ""
    grace_seconds: float = number(60.0, 0.05, 1e6)
    load_seconds: float = number(600.0, 1, 1e6)
    tls: TlsSettings = field(default_factory=TlsSettings)
    token_file: str = ""
    watch: WatchSettings = field(default_factory=WatchSettings)

    def __post_init__(self) -> None:
        if not self.model or not self.folder or not self.config_file or not self.journal:
            raise ValueError("`model`, `folder`, `config_file` or `journal` is empty; expected a text for each.")
        if not self.servers:
            raise ValueError("`servers` is empty; expected host:port of each server.")
        self.tls.tls()

    @classmethod
    def read(cls, path: str | pathlib.Path) -> ReleaseSettings:
        """The settings of a YAML file, with paths that hold from anywhere.

        Raises:
          ReleaseError: if it cannot be used; the sentence names the file and the key.
        """
        file = pathlib.Path(path)
        try:
            content = settings_reader.read_yaml(file)
            home = file.absolute().parent
            _resolve(content, _FILES, home)
            _resolve(content.get("tls"), ("root_certificates", "certificate", "key"), home)
            _resolve(content.get("watch"), ("exposures", "outcomes"), home)
            settings: ReleaseSettings = settings_reader.build(cls, content, str(path))
        except settings_reader.SettingsError as error:
            raise ReleaseError(str(error)) from None
        return settings

    @property
    def served_path(self) -> str:
        """`folder` as the servers see it."""
        return self.base_path or str(pathlib.Path(self.folder).absolute())

    @property
    def lock_file(self) -> pathlib.Path:
        """Beside the configuration, which several models share."""
        config = pathlib.Path(self.config_file)
        return config.with_name(f".{config.name}.lock")


def _resolve(content: object, names: tuple[str, ...], home: pathlib.Path) -> None:
    for name in names:
        if isinstance(content, dict) and isinstance(content.get(name), str) and content[name]:
            content[name] = os.path.normpath(home / content[name])
