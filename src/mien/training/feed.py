"""Give training faces as batches on the device: all faces are kept there if they fit, else they are streamed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from mien.data.store import FaceView
from mien.models.device import memory_for_faces


class FaceFeed:
    """Faces and labels by position in the training split.

    Attributes:
        labels: int64 (N,) on the device.
        resident: whether all pixels are kept on the device.
    """

    def __init__(self, faces: FaceView, device: torch.device, budget: int | None = None) -> None:
        """Move the labels, and the pixels if they fit, to the device.

        Args:
            faces: the training faces.
            device: the device of the training.
            budget: the most bytes of pixels to keep on the device; default: `memory_for_faces`.
        """
        self._faces = faces
        self._device = device
        self.labels = torch.from_numpy(faces.labels).to(device)
        if budget is None:
            budget = memory_for_faces(device)
        size = len(faces) * faces.store.pixels[0].nbytes
        self.resident = size <= budget
        self._pixels = torch.from_numpy(faces.pixels()).to(device) if self.resident else None

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, positions_B: Tensor) -> tuple[Tensor, Tensor]:
        """Get faces, uint8 (B, C, H, W), and labels, int64 (B,), on the device.

        Args:
            positions_B: int64 (B,) on the CPU, positions in the training split.
        """
        on_device = without_waiting(positions_B, self._device)
        if self._pixels is not None:
            return self._pixels[on_device], self.labels[on_device]
        indices = self._faces.indices[positions_B.numpy()]
        faces_BCHW = torch.from_numpy(self._faces.store.read(indices))
        return without_waiting(faces_BCHW, self._device), self.labels[on_device]

    def batches(self, positions: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `batch` for each, in order; streamed batches are read one ahead, in a thread."""
        if self._pixels is not None:
            whole = torch.cat([*positions]).to(self._device) if positions else torch.empty(0)
            for on_device in torch.split(whole, [len(part) for part in positions]):
                yield self._pixels[on_device], self.labels[on_device]
            return
        ahead: Future[tuple[Tensor, Tensor]] | None = None
        with ThreadPoolExecutor(1, "mien-feed") as reader:
            for positions_B in positions:
                ready, ahead = ahead, reader.submit(self._read_ahead, positions_B)
                if ready is not None:
                    yield ready.result()
            if ahead is not None:
                yield ahead.result()

    def _read_ahead(self, positions_B: Tensor) -> tuple[Tensor, Tensor]:
        if self._device.type == "cuda":
            # Each thread has its own current device; this one would otherwise take memory on cuda:0.
            torch.cuda.set_device(self._device)
        return self.batch(positions_B)


def without_waiting(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to a device; to CUDA without waiting, through pinned memory.

    A copy from ordinary memory would wait until the GPU has finished all its work.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
