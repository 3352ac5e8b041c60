"""A model file as a function from uint8 faces to calibrated probabilities, by ONNX Runtime without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.card import ModelCard
from mien.errors import InputError, MienError, one_line
from mien.recognise.model_file import checked_card, read_model_file

if TYPE_CHECKING:
    import onnxruntime

#: Faces in one run of the graph: larger batches are not faster, and this bounds the memory.
BATCH = 64


class FaceModel:
    """An open model file. It is thread-safe, and may be pickled: unpickling opens it again.

    >>> import numpy as np
    >>> from mien.recognise.naming import packaged_model
    >>> model = FaceModel.open(packaged_model())
    >>> model(np.zeros((2, *model.card.input.shape), np.uint8)).shape == (2, len(model.card.expressions))
    True
    """

    def __init__(
        self,
        card: ModelCard,
        session: onnxruntime.InferenceSession,
        opened: tuple[bytes, str, int | None] | None = None,
    ) -> None:
        """Use `open` instead; `opened` has its arguments (content, device, threads), for pickling."""
        self.card = card
        self._session = session
        self._opened = opened
        self._columns = {o.name: o.shape[1] for o in session.get_outputs()}

    @classmethod
    def open(
        cls,
        source: str | Path | bytes,
        device: str = "cpu",
        threads: int | None = None,
        where: str | None = None,
    ) -> FaceModel:
        """Check a model file, then open it with ONNX Runtime.

        Args:
            source: a path, or the content of a model file.
            device: `cpu`, `cuda`, `cuda:N`, or `auto`: CUDA if ONNX Runtime supports it, else the CPU.
            threads: threads that compute one batch; None is one for each core.
            where: the file's name in messages; by default its path.

        Raises:
            InputError: the file is not a model file of mien, damaged or of another version; or the device
                or `threads` is not usable.
        """
        where = where or ("the model" if isinstance(source, bytes) else str(source))
        content = source if isinstance(source, bytes) else read_model_file(Path(source))
        card = checked_card(content, where)
        session = _session(content, where, device, threads)
        _check_ends(session, card, where)
        return cls(card, session, (content, device, threads))

    def __reduce__(self) -> tuple[Any, ...]:
        if self._opened is None:
            raise TypeError("a FaceModel that `open` did not make cannot be pickled")
        return FaceModel.open, self._opened

    def __call__(self, faces_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify faces.

        Args:
            faces_NCHW: uint8 (N, *card.input.shape); N may be 0.

        Returns:
            float32 (N, K): calibrated probabilities, in the order of `card.expressions`.

        Raises:
            InputError: the faces have another dtype or shape.
            MienError: ONNX Runtime fails, or the answers are not finite.
        """
        return self._run("probabilities", faces_NCHW)

    def logits(self, faces_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, *card.input.shape) -> float32 (N, K): logits before temperature and softmax.

        Raises:
            InputError, MienError: as for a call of the model.
        """
        return self._run("logits", faces_NCHW)

    def features(self, faces_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, *card.input.shape) -> float32 (N, D): the input of the network's last layer.

        Raises:
            InputError, MienError: as for a call of the model.
        """
        return self._run("features", faces_NCHW)

    def _run(self, output: str, faces_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        shape = self.card.input.shape
        if faces_NCHW.dtype != np.uint8 or faces_NCHW.shape[1:] != shape:
            raise InputError(
                f"{self.card.name}: faces of {faces_NCHW.dtype} {faces_NCHW.shape} were given; "
                f"it takes uint8 (N, {', '.join(map(str, shape))})"
            )
        answers = np.empty((len(faces_NCHW), self._columns[output]), dtype=np.float32)
        for start in range(0, len(faces_NCHW), BATCH):
            part = slice(start, start + BATCH)
            faces = np.ascontiguousarray(faces_NCHW[part])
            try:
                (answers[part],) = self._session.run([output], {"faces": faces})
            except Exception as error:  # the runtime raises many kinds
                raise MienError(
                    f"{self.card.name}: ONNX Runtime cannot compute it ({_reason(error)})"
                ) from error
        if not np.isfinite(answers).all():
            raise MienError(
                f"{self.card.name}: its answers are not finite numbers; its weights are damaged, "
                "make it again with `mien export`"
            )
        return answers


def _check_ends(session: onnxruntime.InferenceSession, card: ModelCard, where: str) -> None:
    """Refuse a graph whose input or outputs differ from its card."""
    try:
        takes = [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()]
        gives = {o.name: (o.type, o.shape[1:]) for o in session.get_outputs()}
    except UnicodeDecodeError:  # a name in the graph is not UTF-8
        takes, gives = [], {}
    scores = ("tensor(float)", [len(card.expressions)])
    kind, columns = gives.pop("features", ("", []))
    if (
        takes != [("faces", "tensor(uint8)", list(card.input.shape))]
        or gives != {"probabilities": scores, "logits": scores}
        or (kind, len(columns)) != ("tensor(float)", 1)
        or not isinstance(columns[0], int)
    ):
        raise InputError(
            f"{where}: its graph does not match its card; make it again with `mien export`"
        )


def session_options(threads: int | None) -> onnxruntime.SessionOptions:
    """Options of an ONNX session; `threads` is 1 or more, None for one each core.

    Raises:
        InputError: `threads` is below 1.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal only: errors are raised, so they need not be logged too
    if threads is not None:
        if threads < 1:
            raise InputError(f"threads={threads}: give 1 or more")
        options.intra_op_num_threads = threads
    return options


def _session(
    content: bytes, where: str, device: str, threads: int | None
) -> onnxruntime.InferenceSession:
    import onnxruntime

    providers = _providers(device, onnxruntime.get_available_providers())
    options = session_options(threads)
    try:
        # ONNX Runtime's own fallback to the CPU would print to standard output.
        session = onnxruntime.InferenceSession(
            content, options, providers=providers, enable_fallback=0
        )
    except Exception as error:  # the runtime raises many kinds
        raise InputError(
            f"{where}: ONNX Runtime {onnxruntime.__version__} cannot open it ({_reason(error)}); "
            "make it again with `mien export`"
        ) from error
    if device.startswith("cuda") and "CUDAExecutionProvider" not in session.get_providers():
        raise _no_cuda(device)
    return session


def _providers(device: str, available: list[str]) -> list[Any]:
    """The execution providers of ONNX Runtime for a device, in order of preference."""
    kind, colon, number = str(device).partition(":")
    if kind not in ("auto", "cpu", "cuda") or (
        colon and not (kind == "cuda" and number.isdecimal())
    ):
        raise InputError(f"device {device!r} is not known: use auto, cpu, cuda or cuda:N")
    has_cuda = "CUDAExecutionProvider" in available
    if kind == "cuda" and not has_cuda:
        raise _no_cuda(device)
    if kind == "cpu" or not has_cuda:
        return ["CPUExecutionProvider"]
    # TF32 has 10 bits of mantissa: without it, answers agree with those of other machines.
    cuda = {"device_id": number or "0", "use_tf32": "0"}
    return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]


def _reason(error: Exception) -> str:
    return one_line(error)[:200]


def _no_cuda(device: str) -> InputError:
    return InputError(
        f"device {device!r}: ONNX Runtime finds no CUDA GPU here; use cpu, or put onnxruntime-gpu in "
        "the place of onnxruntime"
    )
