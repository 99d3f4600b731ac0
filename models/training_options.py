"""What a configuration says of how a training step finds its gradients; readable without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

from models.options import choice, number


@dataclass(frozen=True)
class AdversarialOptions:
    """Training on perturbed embeddings (`models.adversarial`).

    Attributes:
      kind: `none`, `fgm` (along the gradient of the loss, so it needs labels) or `vat` (along what changes the
        distribution over the catalogue most).
      epsilon: length of a perturbation, as a share of the length of what it perturbs.
      weight: of the loss on what is perturbed, beside the loss itself.
    """

    kind: str = choice("none", "fgm", "vat")
    epsilon: float = number(0.1, 0, 1e3)
    weight: float = number(1.0, 0, 1e6)


@dataclass(frozen=True)
class ContrastiveOptions:
    """A loss that pulls together two views of a user's history (`models.contrastive`, `models.augmentation`).

    Attributes:
      weight: of the loss; 0 switches it off.
      temperature: of its softmax over cosines.
      crop: share of the events that a crop keeps; 0 leaves crops out.
      mask: share of the events whose item is hidden; 0 leaves masks out.
      reorder: share of the events, side by side, that are shuffled; 0 leaves that out.
    """

    weight: float = number(0.0, 0, 1e6)
    temperature: float = number(0.2, 1e-3, 1e3)
    crop: float = number(0.6, 0, 1)
    mask: float = number(0.3, 0, 0.99)
    reorder: float = number(0.6, 0, 1)
