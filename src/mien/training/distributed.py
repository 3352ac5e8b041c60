"""Train in several processes, on one machine or many, started by torchrun.

Every process makes the same whole batch, computes the logits of its share, and gathers those of the others.
So the order of the faces, their augmentation, the loss and all figures equal those of a single process.
Different are only the rounding of summed gradients, dropout's masks, and, on CPUs, BatchNorm.

A single process is a team of one; the methods of `Team` then do nothing special.
"""

from __future__ import annotations

import atexit
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mien.errors import InputError, MienError
from mien.models.device import pick_device

#: DistributedDataParallel's argument for sending buffers before each step; it was renamed after torch 2.11.
_SENDS_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)

Item = TypeVar("Item")
Result = TypeVar("Result")


class FollowedError(MienError):
    """Another process of the team reports the error: this one ends with the same exit code and no message."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code


def is_first() -> bool:
    """Whether this process is the first of its team: the only one that writes files and messages."""
    return int(os.environ.get("RANK", "0")) == 0


def join(device: str = "auto") -> Team:
    """Join the team that torchrun started this process in; without torchrun, a team of one.

    Waits until all processes are there.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; in a team on CUDA each process takes the GPU of
            its local rank.

    Raises:
        InputError: the device is not available, or it is `mps` in a team.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = pick_device(device)
    if size == 1:
        return Team(chosen)
    if device == "mps":
        raise InputError("--device mps is one GPU, for one process: train without torchrun")
    if chosen.type == "mps":
        chosen = pick_device("cpu")
    if chosen.type == "cuda":
        chosen = pick_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
    if not distributed.is_initialized():
        if chosen.type == "cpu":
            distributed.init_process_group("gloo")
        else:
            distributed.init_process_group("cpu:gloo,cuda:nccl", device_id=chosen)
        atexit.register(distributed.destroy_process_group)
    team = _Group(chosen, distributed.get_rank(), size)
    with team.bound():
        # Wait for all: the first process writes files soon, and the others must have read before.
        team.agree(0)
    return team


class Team:
    """A team of one process; `_Group` is a team of several, with the same methods.

    Attributes:
        device: the device of this process.
        rank: 0 .. size - 1; rank 0 writes files and messages.
        size: the number of processes.
    """

    def __init__(self, device: torch.device, rank: int = 0, size: int = 1) -> None:
        self.device = device
        self.rank = rank
        self.size = size

    def lead(self, act: Callable[[], Result]) -> Result:
        """Call `act` in the first process only; all processes get its result, which must be picklable.

        If `act` raises a MienError, the first process raises it and the others raise `FollowedError`.
        """
        return act()

    def alike(self, error: MienError) -> MienError:
        """Make an error, met by every process at the same place, silent in all but the first."""
        return error

    def agree(self, *numbers: int) -> tuple[int, ...]:
        """The maximum of each number over all processes; every process has to call this."""
        return numbers

    def synchronised(self, network: nn.Module) -> nn.Module:
        """Convert BatchNorm to normalise by the whole batch, if the device can; CPUs cannot."""
        return network

    def spread(self, network: nn.Module) -> nn.Module:
        """A module that computes the logits of a whole batch; each process computes a share of them.

        Its backward pass leaves the gradients of the whole batch in the network of every process.
        """
        return network

    def align(self, network: nn.Module) -> None:
        """Copy the first process's buffers to all, because BatchNorm's statistics may differ between them."""

    def map(self, act: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Call `act` for each item, divided among the processes; all get all results, in order."""
        return [act(item) for item in items]

    @contextmanager
    def bound(self) -> Iterator[None]:
        """In this block, the end of another process raises a MienError with one sentence."""
        yield


class _Group(Team):
    """A team of several processes, connected by torch.distributed; see `Team` for the methods."""

    def lead(self, act: Callable[[], Result]) -> Result:
        said: list[Any] = [None, 1]
        try:
            if self.rank == 0:
                said = [act(), 0]
        except MienError as error:
            said = [None, error.exit_code]
            raise
        finally:  # after an error too: the other processes wait for this
            distributed.broadcast_object_list(said, src=0)
        result, exit_code = said
        if exit_code:
            raise FollowedError(exit_code)
        return result  # type: ignore[no-any-return]

    def alike(self, error: MienError) -> MienError:
        return error if self.rank == 0 else FollowedError(error.exit_code)

    def agree(self, *numbers: int) -> tuple[int, ...]:
        largest = torch.tensor(numbers)
        distributed.all_reduce(largest, op=distributed.ReduceOp.MAX)
        return tuple(largest.tolist())

    def synchronised(self, network: nn.Module) -> nn.Module:
        if self.device.type == "cpu":  # torch has no synchronised BatchNorm for CPUs
            return network
        from timm.layers.norm_act import convert_sync_batchnorm  # handles timm's layers and torch's

        converted: nn.Module = convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted

    def spread(self, network: nn.Module) -> nn.Module:
        return _Spread(network, self)

    def align(self, network: nn.Module) -> None:
        for buffer in network.buffers():
            distributed.broadcast(buffer, src=0)

    def map(self, act: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        own = [act(item) for item in items[self.rank :: self.size]]
        everyone: list[Any] = [None] * self.size
        distributed.all_gather_object(everyone, own)
        return [everyone[n % self.size][n // self.size] for n in range(len(items))]

    @contextmanager
    def bound(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if not (isinstance(error, distributed.DistError) or "gloo" in str(error)):
                raise
            if self.rank != 0:
                raise FollowedError(1) from error
            raise MienError(
                "another process of this training ended, so this one cannot continue; its torchrun reports "
                "the reason; start all processes again with --resume"
            ) from error


class _WithUnused(nn.Module):
    """A network with one unused parameter: torch warns if it looks for unused parameters and finds none."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.network = network
        self.unused = nn.Parameter(torch.zeros((), device=device))

    def forward(self, inputs_BCHW: Tensor) -> Any:
        return self.network(inputs_BCHW)


class _Spread(nn.Module):
    """Computes a share of each batch with DistributedDataParallel, and gathers the logits of all shares."""

    def __init__(self, network: nn.Module, team: Team) -> None:
        super().__init__()
        self._team = team
        # `find_unused_parameters` lets a recipe freeze layers for some epochs. It also keeps the order of
        # summed gradients fixed, so that a resumed training rounds in the same way. Buffers are sent only on
        # CPUs: elsewhere they are equal in all processes, see `synchronised`.
        settings: dict[str, Any] = {} if team.device.type == "cpu" else {_SENDS_BUFFERS: False}
        self._parallel = DistributedDataParallel(
            _WithUnused(network, team.device), find_unused_parameters=True, **settings
        )

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        """Compute the logits of a batch (B, C, H, W): float32 (B, K), the same in every process."""
        team, count = self._team, len(inputs_BCHW)
        share = -(-count // team.size)  # equal shares: the last face is repeated if one is missing
        inputs_SCHW = inputs_BCHW[team.rank * share :][:share]
        if missing := share - len(inputs_SCHW):
            copies = [inputs_BCHW[-1:]] * missing
            inputs_SCHW = torch.cat([inputs_SCHW, *copies])
        # All processes share one random state; dropout needs different masks, so each gets its own seed here.
        own_seed = torch.randint(2**62, (team.size,))[team.rank]
        torch.manual_seed(int(own_seed))
        answers_SK = self._parallel(inputs_SCHW).float()
        everyones: Tensor = _Gather.apply(answers_SK, team)
        return everyones[:count]


class _Gather(torch.autograd.Function):
    """Concatenates the rows of all processes; in the backward pass each gets the gradient of its own rows."""

    @staticmethod
    def forward(ctx: Any, rows_SK: Tensor, team: Team) -> Tensor:
        ctx.team, ctx.share = team, len(rows_SK)
        everyones = rows_SK.new_empty(team.size * len(rows_SK), *rows_SK.shape[1:])
        distributed.all_gather_into_tensor(everyones, rows_SK.contiguous())
        return everyones

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        own = gradient[ctx.team.rank * ctx.share :][: ctx.share]
        # DistributedDataParallel averages over processes; the sum is needed.
        return own * ctx.team.size, None
