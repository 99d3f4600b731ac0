"""What a SavedModel says of itself, read without TensorFlow."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory, text_format

from serving import protos
from serving.release.errors import ReleaseError
from serving.results import Metadata, SignatureSpec, TensorSpec

#: Of SavedModel itself; nobody calls it.
_INTERNAL = "__saved_model"
_TAG = "serve"
_SHARD = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")

#: What is needed of `tensorflow/core/protobuf/saved_model.proto` and `meta_graph.proto`: the same numbers and types, a
#: map as the list of entries that it is on the wire.
_FILE = """
name: "saved_model.proto" package: "release" syntax: "proto3" dependency: "tensorflow.proto"
message_type {
  name: "SavedModel"
  field { name: "meta_graphs" number: 2 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".release.MetaGraphDef" }
}
message_type {
  name: "MetaGraphDef"
  field { name: "meta_info_def" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".release.MetaInfoDef" }
  field { name: "signature_def" number: 5 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".release.Named" }
  field { name: "asset_file_def" number: 6 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".release.AssetFileDef" }
}
message_type { name: "MetaInfoDef" field { name: "tags" number: 4 label: LABEL_REPEATED type: TYPE_STRING } }
message_type { name: "AssetFileDef" field { name: "filename" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING } }
message_type {
  name: "Named"
  field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".release.SignatureDef" }
}
message_type {
  name: "SignatureDef"
  field { name: "inputs" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".release.Tensor" }
  field { name: "outputs" number: 2 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".release.Tensor" }
  field { name: "defaults" number: 4 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".release.Tensor" }
}
message_type {
  name: "Tensor"
  field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".tensorflow.TensorInfo" }
}
"""


def _message_class() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in protos.DESCRIPTORS.file:
        pool.AddSerializedFile(file.SerializeToString())
    pool.Add(text_format.Parse(_FILE, descriptor_pb2.FileDescriptorProto()))
    return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName("release.SavedModel"))


_SavedModel = _message_class()


@dataclass(frozen=True)
class SavedModel:
    """What a SavedModel says of itself.

    Attributes:
      path: its folder.
      signatures: name -> inputs and outputs.
      optional: name -> inputs that a request may leave out, since the signature has defaults for them.
    """

    path: pathlib.Path
    signatures: Mapping[str, SignatureSpec]
    optional: Mapping[str, frozenset[str]]

    @classmethod
    def read(cls, path: pathlib.Path) -> SavedModel:
        """Reads signatures, and sees whether all files are there.

        Args:
          path: folder of the SavedModel.

        Raises:
          ReleaseError: for what is no SavedModel to serve, or lacks files.
        """
        graph = _meta_graph(path)
        _check_files(path, [asset.filename for asset in graph.asset_file_def])
        signatures, optional = {}, {}
        for named in graph.signature_def:
            if not named.key.startswith(_INTERNAL):
                signatures[named.key] = SignatureSpec(_specs(named.value.inputs), _specs(named.value.outputs))
                optional[named.key] = frozenset(entry.key for entry in named.value.defaults)
        if not signatures:
            raise ReleaseError(f"{path}: has no signature; expected a SavedModel to serve.")
        return cls(path, signatures, optional)

    @property
    def context_columns(self) -> tuple[str, ...]:
        """The context columns that its signatures declare."""
        metadata = Metadata(0, dict(self.signatures))
        return tuple(sorted({column for name in self.signatures for column in metadata.context_columns(name)}))

    def check_variables(self) -> None:
        """Reads every variable, whose checksums tell whether files are whole; imports TensorFlow.

        Raises:
          ReleaseError: for one that cannot be read.
        """
        index = self.path / "variables" / "variables.index"
        if not index.exists():
            return
        import tensorflow as tf

        try:
            reader = tf.train.load_checkpoint(str(self.path / "variables" / "variables"))
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
        except (tf.errors.OpError, IndexError, RuntimeError, ValueError) as error:
            what = " ".join(str(error).split())
            raise ReleaseError(f"{self.path}: its variables cannot be read ({what[:300]}).") from None


def _meta_graph(path: pathlib.Path) -> Any:
    file = path / "saved_model.pb"
    try:
        content = _SavedModel.FromString(file.read_bytes())
    except FileNotFoundError:
        raise ReleaseError(f"{path}: holds no saved_model.pb; expected a SavedModel.") from None
    except OSError as error:
        raise ReleaseError(f"{file}: cannot be read ({error.strerror}).") from None
    except message.DecodeError:
        raise ReleaseError(f"{file}: is corrupt; expected a SavedModel.") from None
    for graph in content.meta_graphs:
        if _TAG in graph.meta_info_def.tags:
            return graph
    raise ReleaseError(f"{file}: has no graph with the tag {_TAG!r}; expected a SavedModel to serve.")


def _check_files(path: pathlib.Path, assets: list[str]) -> None:
    missing = [f"assets/{name}" for name in assets if not (path / "assets" / name).is_file()]
    variables = path / "variables"
    if variables.is_dir() and any(variables.iterdir()):
        if not (variables / "variables.index").is_file():
            missing.append("variables/variables.index")
        matches = [match for file in variables.iterdir() if (match := _SHARD.fullmatch(file.name))]
        total = max((int(match[2]) for match in matches), default=1)
        shards = {int(match[1]) for match in matches}
        missing += [
            f"variables/variables.data-{number:05}-of-{total:05}" for number in range(total) if number not in shards
        ]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ReleaseError(f"{path}: lacks {missing[0]}{more}; expected a whole SavedModel.")


def _specs(tensors: Any) -> dict[str, TensorSpec]:
    return {
        tensor.key: TensorSpec(
            protos.DATA_TYPE_NAMES.get(tensor.value.dtype, f"dtype {tensor.value.dtype}"),
            None
            if tensor.value.tensor_shape.unknown_rank
            else tuple(dim.size for dim in tensor.value.tensor_shape.dim),
        )
        for tensor in tensors
    }
