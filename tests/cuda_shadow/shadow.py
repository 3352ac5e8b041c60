"""A CUDA device that is not there: its tensors say cuda:0, lie in the CPU's memory and are computed there.

Every operator is looked at as a device would look at it: its tensors have to be there, a generator has to be its own,
numpy cannot read it. Operators are counted, and copies and answers that a program waits for, by the line of mien that
asks for them. It cannot see cuDNN's kernels, several devices, numerics or time.

The library of runtime.c has to be loaded before torch (LD_PRELOAD).
"""

from __future__ import annotations

import traceback
from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda:0")
#: Operators that may meet tensors of two devices. Indices are copied to the device, which a program waits for.
_BETWEEN = {"copy_", "_to_copy", "index", "index_put", "index_put_", "_index_put_impl_"}
#: Operators whose result, or its shape, is known only once the device has come so far.
_ASKING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero"}
#: Operators that compute nothing, beside all that return a view.
_IDLE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view"}

#: Operators on the device by name, and waits for it as (operator, line).
operators: Counter[str] = Counter()
waits: Counter[tuple[str, str]] = Counter()


class ShadowTensor(Tensor):
    """A tensor of the device. `held` is the CPU's tensor with its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> ShadowTensor:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=DEVICE,
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"ShadowTensor({self.held!r})"

    def new_tensor(self, data: Any, **options: Any) -> Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": self.device, **options})

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class Shadow(TorchDispatchMode):
    """Within it, what is made on the device or copied there is a ShadowTensor. Each thread needs its own."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "aten" and func._can_decompose():  # in inference mode they come whole
            with self:
                return func.decompose(*args, **(kwargs or {}))
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    values = tree_leaves((args, kwargs))
    on_device = any(isinstance(value, ShadowTensor) for value in values)
    asked = kwargs.get("device")
    goes_there = on_device if asked is None else torch.device(asked).type == "cuda"
    if not on_device and not goes_there:
        return func(*args, **kwargs)
    name = func._schema.name.removeprefix("aten::")
    _refuse(name, values, goes_there)
    _count(func, name, args, kwargs, goes_there)
    if name == "_local_scalar_dense":
        return args[0].held.item()
    plain_args, plain_kwargs = tree_map(_held, (args, kwargs))
    if asked is not None:
        plain_kwargs["device"] = torch.device("cpu")
    result = func(*plain_args, **plain_kwargs)
    written = func._schema.arguments[0].alias_info if func._schema.arguments else None
    if written is not None and written.is_write and isinstance(args[0], Tensor):
        return args[0]
    return tree_map(_on_device, result) if goes_there else result


def _held(value: Any) -> Any:
    return value.held if isinstance(value, ShadowTensor) else value


def _on_device(value: Any) -> Any:
    is_plain = isinstance(value, Tensor) and not isinstance(value, ShadowTensor)
    return ShadowTensor(value) if is_plain else value


def _refuse(name: str, values: list[Any], goes_there: bool) -> None:
    """Say as CUDA does what it would not compute."""
    for value in values:
        if isinstance(value, torch.Generator) and (value.device.type == "cuda") != goes_there:
            raise RuntimeError(
                f"Expected a '{'cuda' if goes_there else 'cpu'}' device type for generator but "
                f"found '{value.device.type}' ({name})"
            )
        is_foreign = isinstance(value, Tensor) and not isinstance(value, ShadowTensor)
        if is_foreign and value.dim() > 0 and goes_there and name not in _BETWEEN:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, "
                f"cuda:0 and cpu! ({name} in {_place()})"
            )
    if name == "index" and not isinstance(values[0], ShadowTensor):
        raise RuntimeError("indices should be either on cpu or on the same device (cpu)")


def _count(
    func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], there: bool
) -> None:
    arguments = func._schema.arguments
    is_view = any(one.alias_info is not None and not one.alias_info.is_write for one in arguments)
    if not is_view and name not in _IDLE:
        operators[name] += 1
    if name in _ASKING or _is_waiting(name, args, kwargs, there):
        waits[name, _place()] += 1


def _is_waiting(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], there: bool) -> bool:
    """Whether a copy holds the program up: all but those to the device from memory that is pinned."""
    if name == "_to_copy":
        source, starts_there = args[0], isinstance(args[0], ShadowTensor)
        is_patient = kwargs.get("non_blocking") and hasattr(source, "pinned")
        return starts_there != there and not is_patient
    if name == "copy_":
        target, source = args[:2]
        is_patient = args[2:] == (True,) and hasattr(source, "pinned")
        return isinstance(target, ShadowTensor) != isinstance(source, ShadowTensor) and not (
            is_patient or source.dim() == 0
        )
    if name in _BETWEEN:
        indices = [one for one in args[1] if isinstance(one, Tensor)]
        return any(not isinstance(one, ShadowTensor) or one.dtype == torch.bool for one in indices)
    return False


def _place() -> str:
    """The line of mien that is at work."""
    for frame in reversed(traceback.extract_stack()):
        if "/src/mien/" in frame.filename:
            return f"{frame.filename.rpartition('/src/mien/')[2]}:{frame.lineno}"
    return "torch"


def install(capability: tuple[int, int] = (8, 0)) -> None:
    """Let torch believe in one device, and lead its ways around the dispatcher through it."""
    torch.cuda._lazy_init = lambda: None
    said = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_name": "a device that is not there",
        "get_device_capability": capability,
        "is_bf16_supported": capability >= (8, 0),
        "mem_get_info": (14_000_000_000, 16_000_000_000),
        "max_memory_allocated": 1_000_000,
    }
    for name, answer in said.items():
        setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)
    for name in ("manual_seed", "manual_seed_all", "set_device", "synchronize"):
        setattr(torch.cuda, name, lambda *_: None)
    torch.backends.cudnn.enabled = False  # its operators are unknown to a CPU
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    plain_tensor, plain_as_tensor, plain_save = torch.tensor, torch.as_tensor, torch.save

    def tensor(data: Any, *, device: Any = None, **options: Any) -> Tensor:
        made = plain_tensor(data, **options)
        return made if device is None else made.to(device)

    def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
        made = plain_as_tensor(data, dtype=dtype)
        return made if device is None else made.to(device)

    def save(content: Any, *arguments: Any, **options: Any) -> None:
        plain_save(tree_map(lambda one: _held(one), content), *arguments, **options)

    def pin_memory(self: Tensor, device: Any = None) -> Tensor:
        made = self.clone()
        made.pinned = True
        return made

    torch.tensor, torch.as_tensor, torch.save = tensor, as_tensor, save
    Tensor.pin_memory = pin_memory
