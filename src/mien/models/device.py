"""Choose the device of a network and the precision of its arithmetic."""

from __future__ import annotations

import torch
from torch import nn

from mien.errors import InputError

_NAMES = "auto, cpu, cuda, cuda:N or mps"


def pick_device(name: str = "auto") -> torch.device:
    """Choose the device to compute on, and prepare it.

    On CUDA, TF32 is turned off: torch uses it by default for convolutions, and scores would then differ
    from those on other machines. bfloat16 autocast is not affected. A device with a number, such as
    `cuda:1`, becomes the process's default device, so that nothing takes memory on `cuda:0`.

    Args:
        name: `cpu`, `cuda`, `cuda:N`, `mps` (Apple's GPU), or `auto`: CUDA if available, else `mps` if
            available, else the CPU.

    Raises:
        InputError: the name is unknown, or the device is not available.
    """
    try:
        device = torch.device(_best() if name == "auto" else name)
    except RuntimeError:
        raise InputError(f"device {name!r} is not known: use {_NAMES}") from None
    if device.type == "cuda" and not (
        torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    ):
        raise InputError(
            f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA GPUs that torch "
            "can use; use --device cpu, or install a CUDA build of torch"
        )
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"device {name!r} is not supported: use {_NAMES}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            f"device {name!r}: torch finds no GPU of Apple on this machine; use --device cpu"
        )
    if device.type == "cuda":
        _make_float32_exact()
        if device.index is not None:
            torch.cuda.set_device(device)
    return device


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def memory_for_faces(device: torch.device) -> int:
    """The bytes that faces may take on a device: half of a GPU's free memory, or 1 GB of a CPU's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] // 2)
    if device.type == "mps":
        return (torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()) // 2
    return 1_000_000_000


def _make_float32_exact() -> None:
    """Turn TF32 off, both in torch's old settings and in the new ones.

    All must agree, those of convolutions and RNNs too: otherwise torch raises an error whenever an old
    setting is read, and `torch.onnx.export` reads them.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has bfloat16 arithmetic; emulated bfloat16 is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        supported = getattr(torch.cpu, probe, None)
        if supported is not None and supported():
            return True
    return False


def on_device(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device; weights of convolutions become channels-last, the fastest layout for them."""
    # torch's type stubs have no overload of `to` with both arguments.
    moved: nn.Module = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved
