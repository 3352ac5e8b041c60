"""The machine of a training: precision, description and memory."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mien.errors import InputError
from mien.models.device import has_bfloat16
from mien.version import __version__


def autocast_type(precision: str, device: torch.device, network: nn.Module) -> torch.dtype:
    """Choose the dtype of a network's forward pass.

    `auto` is bfloat16 if the hardware has it; on a CPU not for networks with depthwise convolutions, which are
    about half as fast in it. Otherwise it is float16 on CUDA devices of compute capability 7.x, which have tensor
    cores for float16 only (such as the T4 of free notebooks), and float32 on all others.

    Args:
        precision: `auto`, `float32`, `bfloat16` or `float16`.
        device: the device of the network.
        network: the network.

    Raises:
        InputError: float16 on a CPU.
    """
    if precision == "auto":
        slow = device.type == "cpu" and any(map(_is_depthwise, network.modules()))
        if has_bfloat16(device) and not slow:
            return torch.bfloat16
        halves = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == 7
        return torch.float16 if halves else torch.float32
    if precision == "float16" and device.type == "cpu":
        raise InputError(
            "precision=float16 is for GPUs, and this is a CPU: use precision=auto, or --device cuda"
        )
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[
        precision
    ]


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels


def describe(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Describe software, hardware and precision, so that others can judge or repeat a run: plain values for JSON."""
    return {
        "mien": __version__,
        "git": _git_state(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        **({"cuda": _cuda()} if device.type == "cuda" else {}),
        "threads": torch.get_num_threads(),
        "precision": str(dtype).removeprefix("torch."),
    }


def _cuda() -> dict[str, Any]:
    """Versions of the CUDA toolkit, of cuDNN and of the driver; None for an unknown one."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(  # noqa: S603 (fixed arguments)
            command, capture_output=True, text=True, check=True, timeout=30
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        said = []
    return {
        "toolkit": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "driver": said[0] if said else None,
    }


def peak_device_memory(device: torch.device) -> int | None:
    """Peak memory of a GPU's tensors so far, in bytes; on Apple's GPUs the memory in use now; None on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return torch.mps.driver_allocated_memory() if device.type == "mps" else None


def processor() -> str:
    """Name of the CPU, or its architecture if the system does not know the name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_state() -> dict[str, Any] | None:
    """Commit of the checkout that mien runs from, and whether it has changes; None if mien is installed."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        return subprocess.run(  # noqa: S603 (fixed arguments)
            ["git", "-C", str(root), *arguments],  # noqa: S607 (the user's own git)
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
