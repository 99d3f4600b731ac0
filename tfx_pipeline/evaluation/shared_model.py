"""How TFMA loads the model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow_model_analysis as tfma
import tensorflow_text  # noqa: F401  registers the ops that an exported text encoder needs


def custom_eval_shared_model(
    eval_saved_model_path: str, model_name: str, eval_config: tfma.EvalConfig, **kwargs: Any
) -> tfma.types.EvalSharedModel:
    """The model as TFMA loads it, with the ops of tensorflow-text registered in whichever process does.

    Evaluator calls it by name. A Beam worker unpickles `_construct`, and so imports this module, before it loads.
    """
    model = tfma.default_eval_shared_model(
        eval_saved_model_path=eval_saved_model_path, model_name=model_name, eval_config=eval_config, **kwargs
    )
    loader = model.model_loader
    return model._replace(
        model_loader=tfma.types.ModelLoader(functools.partial(_construct, loader.construct_fn), loader.tags)
    )


def _construct(construct: Callable[[], Any]) -> Any:
    return construct()
