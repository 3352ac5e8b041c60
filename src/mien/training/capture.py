"""A network's pass as few large pieces of work: torch.compile, and CUDA graphs where there is CUDA.

A GPU then does not wait for Python between small operators. Compiling takes a minute: `--compile` asks for it.

Shapes: B faces, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def captured(
    network: nn.Module, inputs_BCHW: Tensor, dtype: torch.dtype
) -> tuple[Callable[[Tensor], Tensor], str | None]:
    """A network that computes the same, compiled.

    It is tried once, forwards and backwards, which leaves the network as it was.

    Args:
        network: in training mode.
        inputs_BCHW: float32, a batch as it will be called with.
        dtype: as for autocast.

    Returns:
        What to call in its place, and a sentence for people where it cannot be compiled: that is then the network.
    """
    kept = [buffer.clone() for buffer in network.buffers()]
    device = inputs_BCHW.device.type
    try:
        compiled = torch.compile(network, mode="reduce-overhead", dynamic=False)
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            answers = compiled(inputs_BCHW)
        answers.float().sum().backward()
    except Exception as error:  # of whatever compiles on this machine
        reason = next(iter(str(error).strip().splitlines()), "")
        return network, (
            f"--compile: torch cannot compile this network here ({type(error).__name__}: {reason}); "
            "it is trained as it is"
        )
    finally:
        with torch.no_grad():
            for buffer, before in zip(network.buffers(), kept, strict=True):
                buffer.copy_(before)
        for parameter in network.parameters():
            parameter.grad = None
    return _marking(compiled), None


def _marking(compiled: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Each call is a step of its own: what a CUDA graph returned before is not needed any more."""

    def forward(inputs_BCHW: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return compiled(inputs_BCHW)

    return forward
