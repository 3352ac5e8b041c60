"""A trained network as a plain function from uint8 faces to probabilities."""

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

    It computes in float32 even if the network was trained in another precision, so that the figure that
    selects a checkpoint is also the figure of `evaluate` and of the exported model.

    Attributes:
        network: the network; its mode (training or evaluation) is restored after each call.
        spec: the network's input.
        expressions: the label set, K names.

    >>> from mien.expressions import SEVEN
    >>> network = create("four-block-cnn", InputSpec(), len(SEVEN))
    >>> Classifier(network, InputSpec(), SEVEN)(np.zeros((2, 1, 64, 64), np.uint8)).shape
    (2, 7)
    """

    def __init__(self, network: nn.Module, spec: InputSpec, expressions: Expressions) -> None:
        self.network = network
        self.spec = spec
        self.expressions = expressions

    @torch.inference_mode()
    def logits(self, faces_BCHW: Tensor) -> Tensor:
        """Compute float32 logits (B, K) of faces, uint8 (B, C, H, W), gray or RGB, on the network's device."""
        training = self.network.training  # a network in training is validated between its epochs
        self.network.eval()
        try:
            logits_BK: Tensor = self.network(prepare(faces_BCHW, self.spec))
        finally:
            self.network.train(training)
        return logits_BK.float()

    def __call__(self, faces_BCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute probabilities, float32 (B, K), each row summing to 1.

        Args:
            faces_BCHW: uint8 (B, C, H, W), gray or RGB, 0..255, of any size.
        """
        device = next(self.network.parameters()).device
        # A copy, because arrays from a memory map are read-only and torch has no read-only tensors.
        faces = torch.tensor(faces_BCHW, device=device)
        probabilities: NDArray[np.float32] = self.logits(faces).softmax(dim=1).cpu().numpy()
        return probabilities


def load_classifier(run: RunFolder, device: str = "auto") -> Classifier:
    """Load the best network of a run.

    Args:
        run: the run folder.
        device: see `pick_device`.

    Raises:
        InputError: the weights are missing, damaged or do not fit; the network comes from a file that
            was not imported; or the device is not available.
    """
    refuse_unknown(run)
    recipe = run.recipe()
    model = recipe.model
    network = create(model.name, recipe.input, len(recipe.expressions), model.options)
    load_weights(network, run.best_weights)
    network = on_device(network, pick_device(device)).eval()
    return Classifier(network, recipe.input, recipe.expressions)
