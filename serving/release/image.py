"""A container image of tensorflow/serving with one version in it."""

from __future__ import annotations

import pathlib
import re
import shutil

from google.protobuf import text_format

from serving.client.model_config import ModelConfig, server_config
from serving.release import files
from serving.release.errors import ReleaseError
from serving.release.saved_model import SavedModel
from serving.release.state import CANARY, STABLE

BASE = "tensorflow/serving:2.15.1"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DOCKERFILE = """\
# {base}, and version {version} of {model}:
#
#   docker build -t {model}:{version} . && docker run -p 8500:8500 -p 8501:8501 {model}:{version}
#
# Flags behind the image's name are the server's: --enable_batching=true, say.
FROM {base}
COPY models.config /config/models.config
COPY models /models
USER 65534:65534
# A label in the first configuration needs the last flag.
ENTRYPOINT ["/usr/bin/tensorflow_model_server", "--port=8500", "--rest_api_port=8501", \
"--model_config_file=/config/models.config", "--allow_version_labels_for_unavailable_models=true"]
CMD []
"""


def write_image(model: str, version: int, source: pathlib.Path, out: pathlib.Path, digest: str = "") -> None:
    """Writes a Dockerfile and its build context, whole or not at all.

    Args:
      model: name under which it is served, with the labels stable and canary.
      version: its number.
      source: folder of the SavedModel.
      out: folder that is made.
      digest: of the base image (sha256:…), so that another one under its tag is not taken; "" for the tag alone.

    Raises:
      ReleaseError: for what is no digest or no SavedModel, a name that no folder can have, or a folder that is there.
    """
    if digest and not _DIGEST.fullmatch(digest):
        raise ReleaseError(f"--digest is {digest!r}; expected sha256: and 64 hexadecimal digits.")
    if not _NAME.fullmatch(model):
        raise ReleaseError(f"the model's name {model!r} cannot be a folder's; expected letters, digits, `.`, `_`, `-`.")
    if out.exists():
        raise ReleaseError(f"{out}: is there already; expected a folder that is to be made.")
    SavedModel.read(source)
    hidden = out.with_name(f".{out.name}.part")
    config = ModelConfig(model, f"/models/{model}", (version,), labels={STABLE: version, CANARY: version})
    base = f"{BASE}@{digest}" if digest else BASE
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if hidden.exists():
            shutil.rmtree(hidden)
        shutil.copytree(source, hidden / "models" / model / str(version))
        text = text_format.MessageToString(server_config([config]), as_utf8=True)
        (hidden / "models.config").write_text(text, encoding="utf-8")
        dockerfile = _DOCKERFILE.format(base=base, model=model, version=version)
        (hidden / "Dockerfile").write_text(dockerfile, encoding="utf-8")
        for path in (hidden, *hidden.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)  # for the user of the image
        files.sync_folder(hidden)
        hidden.rename(out)
        files.sync(out.parent)
    except (OSError, shutil.Error) as error:
        raise ReleaseError(f"{out}: cannot be written ({error}).") from None
