"""Compile a network's passes with torch.compile, and with CUDA graphs if the device is CUDA.

A GPU then does not wait for Python between small operators. Compiling takes a minute, so it is optional: `--compile`.

Shapes: B faces, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def captured(
    network: nn.Module, inputs_BCHW: Tensor, dtype: torch.dtype
) -> tuple[Callable[[Tensor], Tensor], str | None]:
    """Compile a network, and try it once forwards and backwards; the network itself is not changed.

    Args:
        network: the network, in training mode.
        inputs_BCHW: float32 (B, C, H, W), a batch of the shape of all later ones.
        dtype: the type for autocast.

    Returns:
        (function, fault): the compiled network and None; or, if it cannot be compiled, the network
        itself and the reason in one sentence.
    """
    kept = [buffer.clone() for buffer in network.buffers()]
    device = inputs_BCHW.device.type
    try:
        compiled = torch.compile(network, mode="reduce-overhead", dynamic=False)
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            answers = compiled(inputs_BCHW)
        answers.float().sum().backward()
    except Exception as error:  # compilers and drivers raise many kinds of errors
        reason = next(iter(str(error).strip().splitlines()), "")
        return network, (
            f"--compile: torch cannot compile this network here ({type(error).__name__}: {reason}); "
            "it is trained without"
        )
    finally:
        with torch.no_grad():
            for buffer, before in zip(network.buffers(), kept, strict=True):
                buffer.copy_(before)
        for parameter in network.parameters():
            parameter.grad = None
    return _marking(compiled), None


def _marking(compiled: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Mark each call as a new step, so that CUDA graphs may reuse the memory of earlier results."""

    def forward(inputs_BCHW: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return compiled(inputs_BCHW)

    return forward
