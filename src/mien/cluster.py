"""Connecting to a Ray cluster: the one that RAY_ADDRESS names, or a private one on this machine."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mien.errors import InputError, extra_required, one_line


@contextmanager
def ray_cluster(extra: str, purpose: str, workers: int | None = None) -> Iterator[Any]:
    """The module `ray`, connected; a cluster that was begun here ends with the block.

    Args:
        extra, purpose: what a message says where Ray is not installed.
        workers: cores of the cluster that is begun on this machine; by default all.

    Raises:
        InputError: the cluster that RAY_ADDRESS names does not answer.
        MissingExtraError: Ray is not installed.
    """
    address = os.environ.get("RAY_ADDRESS", "local")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    if address == "local":  # otherwise Ray replaces 127.0.0.1 by an address that others can reach
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    with extra_required(extra, purpose):
        import ray
    if ray.is_initialized():  # the caller has connected, and shuts it down
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address == "local":
            ray.init(
                address,
                num_cpus=workers,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
        else:
            ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"RAY_ADDRESS={address}: no Ray cluster there ({one_line(error)})"
        ) from error
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:  # Ray's handler would exit with the signal's number, not with 128 + number
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield ray
    finally:
        ray.shutdown()
        if in_main_thread:
            signal.signal(signal.SIGTERM, handler)
