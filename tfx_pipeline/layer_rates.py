"""A learning rate of their own for some of the weights that an AdamW moves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

#: What Adam and the decoupled weight decay take from their coefficients that is in proportion to the rate.
_RATES = ("lr", "lr_t", "wd_t")


class LayerRates(tf.keras.optimizers.legacy.Optimizer):
    """In front of a decoupled AdamW among a class's bases: moves and decays chosen weights at a multiple of the rate.

    A multiplied gradient would change nothing, because Adam divides it by its own size.

    Reference: Clark et al., ELECTRA (2020), whose fine-tuning decays rates by layer.
    """

    _factors: dict[str, float]

    def set_factors(self, factors: Iterable[tuple[tf.Variable, float]]) -> None:
        """Weights and the factors of their rates; the others keep the rate."""
        self._factors = {_key(variable): factor for variable, factor in factors}

    def _resource_apply_dense(self, grad: Any, var: Any, apply_state: Any = None) -> Any:
        return super()._resource_apply_dense(grad, var, apply_state=self._scaled(var, apply_state))

    def _resource_apply_sparse(self, grad: Any, var: Any, indices: Any, apply_state: Any = None) -> Any:
        return super()._resource_apply_sparse(grad, var, indices, apply_state=self._scaled(var, apply_state))

    def _scaled(self, var: Any, apply_state: Any) -> Any:
        factor = self._factors.get(_key(var))
        if factor is None:
            return apply_state
        place = (var.device, var.dtype.base_dtype)
        found = (apply_state or {}).get(place) or self._fallback_apply_state(*place)
        return {place: {name: value * factor if name in _RATES else value for name, value in found.items()}}


def _key(variable: Any) -> str:
    """What a variable has in common with its copies on several devices."""
    if hasattr(variable, "_distributed_container"):
        variable = variable._distributed_container()
    key: str = variable._unique_id
    return key
