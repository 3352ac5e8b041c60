"""A trained network as a plain function: uint8 faces in, probabilities out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.expressions import Expressions
from mien.input_spec import InputSpec
from mien.models.device import on_device, pick_device
from mien.models.networks import create
from mien.models.own import refuse_unknown
from mien.models.preparing import prepare
from mien.models.weights import load_weights
from mien.runs import RunFolder


class Classifier:
    """Calls a network on uint8 faces (B, C, H, W) of any size, in float32 and evaluation mode.

    Always float32, whatever the training's precision: the figure that selects a checkpoint is then
    the figure that `evaluate` reports and that an exported model repeats.
    """

    def __init__(self, network: nn.Module, spec: InputSpec, expressions: Expressions) -> None:
        self.network = network
        self.spec = spec
        self.expressions = expressions

    @torch.inference_mode()
    def logits(self, faces_BCHW: Tensor) -> Tensor:
        """uint8 (B, C, H, W) on the network's device -> float32 logits (B, K)."""
        training = self.network.training
        self.network.eval()
        try:
            logits_BK: Tensor = self.network(prepare(faces_BCHW, self.spec))
        finally:
            self.network.train(training)
        return logits_BK.float()

    def __call__(self, faces_BCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (B, C, H, W) -> float32 probabilities (B, K), each row summing to 1."""
        device = next(self.network.parameters()).device
        # A copy, for arrays from a memory map are read-only and torch has no read-only tensors.
        faces = torch.tensor(faces_BCHW, device=device)
        probabilities: NDArray[np.float32] = self.logits(faces).softmax(dim=1).cpu().numpy()
        return probabilities


def load_classifier(run: RunFolder, device: str = "auto") -> Classifier:
    """The best network of a run. InputError where its weights are missing, damaged or do not fit."""
    refuse_unknown(run)
    recipe = run.recipe()
    model = recipe.model
    network = create(model.name, recipe.input, len(recipe.expressions), model.options)
    load_weights(network, run.best_weights)
    network = on_device(network, pick_device(device)).eval()
    return Classifier(network, recipe.input, recipe.expressions)
