"""Where and how exactly a network computes."""

from __future__ import annotations

import torch
from torch import nn

from mien.errors import InputError

_NAMES = "auto, cpu, cuda, cuda:N or mps"


def pick_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA where there is one, else Apple's GPU (`mps`), else the CPU. One that is named must be there.

    On CUDA, float32 is set to mean float32: torch's default for convolutions is TF32, with which
    a score would differ from the same score on another machine. bfloat16 autocast is not touched.
    `cuda:1` becomes the process's own device, so that nothing takes memory on `cuda:0`.
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
    """Bytes that faces may take on a device: half of a GPU's free memory, a gigabyte of a CPU's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] // 2)
    if device.type == "mps":
        return (torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()) // 2
    return 1_000_000_000


def _make_float32_exact() -> None:
    """Turn TF32 off, in torch's older settings and in the newer ones.

    Where the two disagree, or convolutions and RNNs do, every read of an older one raises, and
    `torch.onnx.export` reads them.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 itself; emulated, it is slower than float32."""
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
    """Move a network, its convolutions' weights laid out channels last (what the kernels like)."""
    # torch's stubs know no `to` with both arguments.
    moved: nn.Module = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved
