"""What a configuration says of the gateway."""

from __future__ import annotations

import dataclasses
import pathlib
from dataclasses import dataclass, field
from typing import Any

from models import settings_reader
from models.options import choice, number
from serving.client import Tls
from serving.privacy.settings import PrivacySettings
from serving.store.options import StoreOptions

FREE_TEXT, QUERIES, TITLES = "free_text", "queries", "titles"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ListenSettings:
    """Where applications call.

    Attributes:
      host: address that is listened on; any but a loopback one needs `access.tokens`.
      port: 0 for a free one.
      certificate, key: PEM files for TLS; "" for none.
    """

    host: str = "127.0.0.1"
    port: int = number(8080, 0, 65535)
    certificate: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("`listen` has only one of `certificate` and `key`; expected both or neither.")


@dataclass(frozen=True)
class AccessSettings:
    """Who may call, and how often.

    Attributes:
      tokens: file of tokens (`serving.gateway.tokens`); "" lets everybody in who reaches a loopback address.
      rate: requests a second of a token that says no other.
      burst: requests that it may make at once after a pause.
    """

    tokens: str = ""
    rate: float = number(100.0, 0.01, 1e6)
    burst: int = number(200, 1, 1e6)


@dataclass(frozen=True)
class LimitSettings:
    """What one client may take of the gateway.

    Attributes:
      body_bytes: of a request's body.
      head_seconds: until the head of a request is there.
      body_seconds: until its body is there.
      write_seconds: that a client may take to read what it is sent.
      idle_seconds: that a connection is kept between requests.
      in_flight: requests that are answered at once; further ones are refused.
    """

    body_bytes: int = number(262_144, 1024, 1e8)
    head_seconds: float = number(5.0, 0.01, 3600)
    body_seconds: float = number(5.0, 0.01, 3600)
    write_seconds: float = number(10.0, 0.01, 3600)
    idle_seconds: float = number(30.0, 0.01, 3600)
    in_flight: int = number(256, 1, 1e5)


@dataclass(frozen=True)
class TlsSettings:
    """How the model server is made sure of (`serving.client.Tls`).

    Attributes:
      enabled: encrypt.
      root_certificates, certificate, key: PEM files, "" for none.
      server_name: that the server's certificate must bear.
    """

    enabled: bool = False
    root_certificates: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""

    def tls(self) -> Tls | None:
        """For the client."""
        files = (self.root_certificates or None, self.certificate or None, self.key or None)
        return Tls(*files, self.server_name) if self.enabled else None


@dataclass(frozen=True)
class ModelSettings:
    """The model server.

    Attributes:
      address: of its gRPC port, or of several replicas with commas between them.
      name: of the model, where there is no experiment to say it.
      label, version: of it, likewise; "" and 0 for the newest.
      timeout_ms: milliseconds that a call may take, retries included, until a fallback answers.
      retries: where a replica is gone.
      poll_seconds: between looks at the server: version, context columns, whether it is there.
      tls: of the connection.
      token_file: holds the bearer token to send; "" for none.
    """

    address: str = "localhost:8500"
    name: str = "ranker"
    label: str = ""
    version: int = number(0, 0, 2**63 - 1)
    timeout_ms: float = number(300.0, 1, 60_000)
    retries: int = number(2, 0, 10)
    poll_seconds: float = number(5.0, 0.05, 3600)
    tls: TlsSettings = field(default_factory=TlsSettings)
    token_file: str = ""


@dataclass(frozen=True)
class StoreSettings:
    """The store of shoppers.

    Attributes:
      url: as `serving.store.open_store` takes it.
      url_file: file that holds it, in place of `url`, since it may have a password.
      timeout_ms: milliseconds that reading may take until an answer is made without the history.
      write_timeout_ms: milliseconds that writing may take until events are refused.
      options: how much is kept, and how long.
    """

    url: str = "memory://"
    url_file: str = ""
    timeout_ms: float = number(100.0, 1, 60_000)
    write_timeout_ms: float = number(1000.0, 1, 60_000)
    options: StoreOptions = field(default_factory=StoreOptions)


@dataclass(frozen=True)
class ProfileTextSettings:
    """What goes into a request's `profile_text`: the same as in training (`decisions.profile_text` of the pipeline).

    Attributes:
      sources: in this order, of `free_text`, `queries` and `titles` (of label events; needs `items` with a column
        `title`). The store keeps no reviews.
      max_items: newest entries taken of each of queries and titles.
      max_chars: the text is cut after so many characters.
      label_event_types: event types whose items count for `titles` (`decisions.label_event_types`).
    """

    sources: tuple[str, ...] = choice(FREE_TEXT, QUERIES, TITLES, default=(FREE_TEXT, QUERIES))
    max_items: int = number(6, 0, 1000)
    max_chars: int = number(400, 0, 1e5)
    label_event_types: tuple[str, ...] = ("purchase",)


@dataclass(frozen=True)
class LogSettings:
    """Folders of the logs that `python -m serving.experiment report` reads; "" writes none.

    Attributes:
      exposures: what was shown to whom.
      outcomes: clicks and purchases among the events.
    """

    exposures: str = ""
    outcomes: str = ""


@dataclass(frozen=True)
class FallbackSettings:
    """What is answered when the model is not there and no rule says what then.

    Attributes:
      popular: file of items, one id a line, best first, that another job may write anew; "" learns them: what the
        model recommends to somebody of whom nothing is known.
      learn_seconds: between such questions.
    """

    popular: str = ""
    learn_seconds: float = number(300.0, 0.05, 86_400)


@dataclass(frozen=True)
class GatewaySettings:
    """Everything about one gateway. Paths count from the folder of the configuration.

    Attributes:
      listen, access, limits: where, by whom and how much is asked.
      model, store: whom the gateway asks.
      experiment: its file; "" asks `model.name` for everybody.
      rules: their file; "" for none.
      items: table of items for the rules, CSV or Parquet; "" where there are no rules.
      item_columns: further text columns of it that rules name.
      context_columns: the declared context columns.
      region_column: the one that a request's `region` stands for in the rules; "" if requests have none.
      profile_text: what a model is told of a shopper in words.
      privacy: what becomes of ids and texts first; the same as in the pipeline.
      logs: of what was shown and what came of it.
      fallback: without a model.
      refresh_seconds: between looks at the files for changes.
      score_buckets: upper limits of the histogram of scores, rising, the first below 0.

    Raises:
      ValueError: when the parts do not fit together.
    """

    listen: ListenSettings = field(default_factory=ListenSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    experiment: str = ""
    rules: str = ""
    items: str = ""
    item_columns: tuple[str, ...] = ()
    context_columns: tuple[str, ...] = ("country",)
    region_column: str = ""
    store: StoreSettings = field(default_factory=StoreSettings)
    profile_text: ProfileTextSettings = field(default_factory=ProfileTextSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    logs: LogSettings = field(default_factory=LogSettings)
    fallback: FallbackSettings = field(default_factory=FallbackSettings)
    refresh_seconds: float = number(1.0, 0.01, 3600)
    score_buckets: tuple[float, ...] = (-20.0, -10.0, -5.0, -2.0, -1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

    def __post_init__(self) -> None:
        if not self.access.tokens and self.listen.host not in _LOOPBACK:
            raise ValueError(
                f"`listen.host` is {self.listen.host!r} and `access.tokens` empty; expected a file of tokens, or one "
                f"of {', '.join(_LOOPBACK)}."
            )
        if self.rules and not self.items:
            raise ValueError("`rules` is given and `items` empty; expected the table of items that they are about.")
        if TITLES in self.profile_text.sources and not self.items:
            raise ValueError("`profile_text.sources` has titles and `items` is empty; expected the table with them.")
        if self.region_column and self.region_column not in self.context_columns:
            columns = ", ".join(self.context_columns) or "none"
            raise ValueError(
                f"`region_column` is {self.region_column!r}; expected one of `context_columns` ({columns})."
            )
        buckets = list(self.score_buckets)
        if not buckets or buckets != sorted(set(buckets)) or buckets[0] >= 0:
            raise ValueError(f"`score_buckets` is {buckets}; expected rising numbers, the first below 0.")

    @classmethod
    def read(cls, path: str | pathlib.Path) -> GatewaySettings:
        """The settings of a YAML file, with paths from its folder.

        Raises:
          SettingsError: if it cannot be used; the sentence names the file and the key.
        """
        path = pathlib.Path(path)
        settings: GatewaySettings = settings_reader.read(cls, path)
        return _placed(settings, path.parent)


#: Settings that are paths, by the section they are in.
_PATHS = {
    "": ("experiment", "rules", "items"),
    "listen": ("certificate", "key"),
    "access": ("tokens",),
    "model": ("token_file",),
    "store": ("url_file",),
    "privacy": ("key_file",),
    "logs": ("exposures", "outcomes"),
    "fallback": ("popular",),
}


def _placed(settings: GatewaySettings, folder: pathlib.Path) -> GatewaySettings:
    def placed(section: Any, names: tuple[str, ...]) -> Any:
        return dataclasses.replace(
            section, **{name: str(folder / value) for name in names if (value := getattr(section, name))}
        )

    tls = placed(settings.model.tls, ("root_certificates", "certificate", "key"))
    settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, tls=tls))
    sections = {name: placed(getattr(settings, name), paths) for name, paths in _PATHS.items() if name}
    return placed(dataclasses.replace(settings, **sections), _PATHS[""])
