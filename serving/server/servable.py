"""One SavedModel, loaded and ready to run."""

from __future__ import annotations

import contextlib
import ctypes
import pathlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import grpc
import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops of text models
from google.protobuf import message
from tensorflow.core.protobuf import config_pb2, saved_model_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.framework import ops
from tensorflow.python.saved_model import loader_impl

from serving.server.errors import ServingError, invalid_argument
from serving.server.signature import Signature


class Runner(Protocol):
    """What answers requests."""

    #: By name.
    signatures: dict[str, Signature]

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout_ms: int | None = None
    ) -> list[np.ndarray]:
        """As `Servable.run`."""


class LoadedRunner(Runner, Protocol):
    """A version that is loaded: a `Servable`, or one whose runs are joined."""

    def close(self) -> None:
        """As `Servable.close`."""


class Servable:
    """One SavedModel in a Session of its own.

    Runs through TF_SessionRun, the call below TensorFlow Serving's own: it neither casts nor checks shapes, computes
    only what is asked for, and refuses with the same texts. `tf.saved_model.load` does none of that.

    Args:
      path: version directory.
      tags: of the meta graph, usually ("serve",).
      session_config: number of threads and so on.

    Raises:
      ServingError: when the directory does not hold a SavedModel that loads; with TensorFlow Serving's own code and
        text where there is none, where it does not parse, and where none has the tags.
    """

    def __init__(
        self,
        path: str | pathlib.Path,
        tags: Sequence[str] = ("serve",),
        session_config: tf.compat.v1.ConfigProto | None = None,
    ) -> None:
        loader = _read(pathlib.Path(path), tags)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=session_config)
        try:
            with graph.as_default():
                saver, _ = loader.load_graph(graph, tags)
                loader.restore_variables(self._session, saver)
                loader.run_init_ops(self._session, tags)
            meta_graph = loader.get_meta_graph_def_from_tags(tags)
            #: By name.
            self.signatures = {name: Signature(proto) for name, proto in meta_graph.signature_def.items()}
            names = {
                name
                for signature in self.signatures.values()
                for name in [*signature.inputs.values(), *signature.outputs.values()]
                if ":" in name
            }
            tensors = {name: graph.get_tensor_by_name(name) for name in names}
            #: Tensor name -> DataType number, of every input and output.
            self.dtypes: dict[str, int] = {name: tensor.dtype.as_datatype_enum for name, tensor in tensors.items()}
            self._tensors = {name: tensor._as_tf_output() for name, tensor in tensors.items()}
            self._session._extend_graph()
        except Exception as error:
            self._session.close()
            raise ServingError.wrap(error) from error

    def check(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> None:
        """Refuses names that no tensor has.

        Raises:
          ServingError: INVALID_ARGUMENT.
        """
        for name in fetches:
            if name not in self._tensors:
                raise invalid_argument(
                    f"Tried to fetch data for '{name}', which produces no output.  To run to a node but not fetch any "
                    f"data, pass '{name}' as an argument to the 'target_node_names' argument of the Session::Run API."
                )
        for name in feeds:
            if name not in self._tensors:
                raise invalid_argument(
                    f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
                )

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout_ms: int | None = None
    ) -> list[np.ndarray]:
        """Runs the graph.

        Args:
          feeds: tensor name -> array, strings as objects (bytes).
          fetches: tensor names.
          timeout_ms: after which the run stops with DEADLINE_EXCEEDED.

        Returns:
          One array a fetch.

        Raises:
          ServingError: with the Session's own code and text.
        """
        self.check(feeds, fetches)
        options = None
        try:
            if timeout_ms is not None:
                serialized = config_pb2.RunOptions(timeout_in_ms=timeout_ms).SerializeToString()
                options = pywrap_tf_session.TF_NewBufferFromString(serialized)
            return pywrap_tf_session.TF_SessionRun_wrapper(
                self._session._session,
                options,
                {self._tensors[name]: array for name, array in feeds.items()},
                [self._tensors[name] for name in fetches],
                [],
                None,
            )
        except Exception as error:
            raise ServingError.wrap(error) from error
        finally:
            if options is not None:
                pywrap_tf_session.TF_DeleteBuffer(options)

    def close(self) -> None:
        """Frees the model's memory; no request may be under way."""
        graph = self._session.graph
        self._session.close()
        self._tensors = {}
        del self._session
        ops.dismantle_graph(graph)  # it holds itself in cycles, and a full collection takes a second
        _give_memory_back()


def _give_memory_back() -> None:
    """Hands what was freed to the system: glibc keeps it, in an arena for each of many threads."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _read(path: pathlib.Path, tags: Sequence[str]) -> loader_impl.SavedModelLoader:
    """The SavedModel of a directory, which has a meta graph with the tags; the order of checks is TensorFlow's."""
    files = [path / name for name in ("saved_model.pb", "saved_model.pbtxt") if (path / name).is_file()]
    if not files:
        raise ServingError(
            grpc.StatusCode.NOT_FOUND,
            f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}. "
            "Check that the directory exists and that you have the right permissions for accessing it.",
        )
    binary = files[0].suffix == ".pb"
    try:
        whole = not binary or _is_whole(files[0])
        loader = loader_impl.SavedModelLoader(str(path)) if whole else None
    except (OSError, UnicodeDecodeError):
        loader = None
    except Exception as error:
        raise ServingError.wrap(error) from error
    if loader is None:
        kind = "binary" if binary else "text"
        raise ServingError(grpc.StatusCode.DATA_LOSS, f"Can't parse {files[0]} as {kind} proto")
    try:
        loader.get_meta_graph_def_from_tags(tags)
    except RuntimeError:
        raise ServingError(
            grpc.StatusCode.NOT_FOUND,
            f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. To inspect available "
            "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`",
        ) from None
    return loader


def _is_whole(file: pathlib.Path) -> bool:
    """Whether a SavedModel parses to its end; Python's protobuf takes what looks like a group's end for its own."""
    content = tf.io.gfile.GFile(str(file), "rb").read()
    try:
        return saved_model_pb2.SavedModel().MergeFromString(content) == len(content)
    except message.DecodeError:
        return False
