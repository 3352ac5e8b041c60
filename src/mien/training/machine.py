"""The machine a training runs on: its precision, its description."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mien.models.device import has_bfloat16
from mien.version import __version__


def autocast_type(precision: str, device: torch.device, network: nn.Module) -> torch.dtype:
    """The dtype of a network's forward pass; `auto` is bfloat16 where the hardware has it.

    Not on a CPU for networks of depthwise convolutions, which take it about twice as long in bfloat16.
    """
    if precision == "auto":
        slow = device.type == "cpu" and any(map(_is_depthwise, network.modules()))
        return torch.bfloat16 if has_bfloat16(device) and not slow else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels


def describe(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """What another person needs to know to judge or repeat a run."""
    return {
        "mien": __version__,
        "git": _git_state(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "precision": str(dtype).removeprefix("torch."),
    }


def peak_memory() -> int | None:
    """The largest resident set of this process so far, in bytes; None where the system has no say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def processor() -> str:
    """The CPU's own name, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_state() -> dict[str, Any] | None:
    """Commit of the checkout that mien runs from, and whether it was changed; None if installed."""
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
