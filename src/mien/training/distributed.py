"""One training by several processes, on one machine or on many, as torchrun starts them.

Every process makes the same whole batch, computes the answers of its share of it, and is told those of
the others. So the order of the faces, their augmentation, the loss and every figure are those of one
process; what differs is the rounding of summed gradients, dropout's masks, and, on CPUs, BatchNorm.

A process alone is a team of one, to which all of this is nothing.
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

#: What torch calls the sending of buffers before each step; it got another name after 2.11.
_SENDS_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)

Item = TypeVar("Item")
Result = TypeVar("Result")


class FollowedError(MienError):
    """What another process of the team says: this one ends with it and stays silent."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def join(device: str = "auto") -> Team:
    """The team that torchrun started this process in, once all are there; else a team of one.

    Args:
        device: `auto`, `cpu`, `cuda` (then each process of a machine takes a GPU of its own), `cuda:N`, `mps`.
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
        team.agree(0)  # nobody begins before all have looked at what is there
    return team


class Team:
    """One process: what several would have to agree on, it does by itself.

    Attributes:
        device: where this process computes.
        rank: 0 .. size - 1; the first one writes and speaks.
        size: the number of processes.
    """

    def __init__(self, device: torch.device, rank: int = 0, size: int = 1) -> None:
        self.device = device
        self.rank = rank
        self.size = size

    def lead(self, act: Callable[[], Result]) -> Result:
        """What `act` returns in the first process, the only one that does it; it must be picklable."""
        return act()

    def alike(self, error: MienError) -> MienError:
        """An error that every process meets at the same place; the first one says it."""
        return error

    def agree(self, *numbers: int) -> tuple[int, ...]:
        """The largest of each that any process has."""
        return numbers

    def synchronised(self, network: nn.Module) -> nn.Module:
        """The network with BatchNorm that normalises by the whole batch, where the device can do that."""
        return network

    def spread(self, network: nn.Module) -> nn.Module:
        """A module that computes what the network does of a batch, each process a share of it.

        Its backward pass leaves the gradients of the whole batch in the network of every process.
        """
        return network

    def align(self, network: nn.Module) -> None:
        """Take over the first process's buffers: BatchNorm's statistics may be each process's own."""

    def map(self, act: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """`act` of every item, in order; each is done by one process, and all get all results."""
        return [act(item) for item in items]

    @contextmanager
    def bound(self) -> Iterator[None]:
        """Within it, the end of another process is an error of one sentence."""
        yield


class _Group(Team):
    """Several processes, each with a connection to the others."""

    def lead(self, act: Callable[[], Result]) -> Result:
        said: list[Any] = [None, 1]
        try:
            if self.rank == 0:
                said = [act(), 0]
        except MienError as error:
            said = [None, error.exit_code]
            raise
        finally:
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
        if self.device.type == "cpu":  # torch has no such kernel there
            return network
        from timm.layers.norm_act import convert_sync_batchnorm  # knows timm's layers and torch's

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
                "another process of this training ended, and it cannot go on without it; its torchrun "
                "says why; start all again with --resume, from the last state that was saved"
            ) from error


class _WithUnused(nn.Module):
    """A network and one parameter that it does not use: where there is none, torch complains."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.network = network
        self.unused = nn.Parameter(torch.zeros((), device=device))

    def forward(self, inputs_BCHW: Tensor) -> Any:
        return self.network(inputs_BCHW)


class _Spread(nn.Module):
    """Computes a share of each batch by DistributedDataParallel, and gathers all answers."""

    def __init__(self, network: nn.Module, team: Team) -> None:
        super().__init__()
        self._team = team
        # Looking for unused parameters lets a recipe freeze some at times; and only then do gradients
        # keep their places in what is summed, so that a resumed training sums them in the same order.
        # BatchNorm's buffers are alike in all processes but on CPUs: see `synchronised`.
        settings: dict[str, Any] = {} if team.device.type == "cpu" else {_SENDS_BUFFERS: False}
        self._parallel = DistributedDataParallel(
            _WithUnused(network, team.device), find_unused_parameters=True, **settings
        )

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        """(B, ...) -> float32 (B, K), the same in every process."""
        team, count = self._team, len(inputs_BCHW)
        share = -(-count // team.size)  # all equal: the last face is repeated where one is missing
        inputs_SCHW = inputs_BCHW[team.rank * share :][:share]
        if missing := share - len(inputs_SCHW):
            copies = [inputs_BCHW[-1:]] * missing
            inputs_SCHW = torch.cat([inputs_SCHW, *copies])
        # So far all processes drew the same random numbers; dropout's are each one's own.
        own_seed = torch.randint(2**62, (team.size,))[team.rank]
        torch.manual_seed(int(own_seed))
        answers_SK = self._parallel(inputs_SCHW).float()
        everyones: Tensor = _Gather.apply(answers_SK, team)
        return everyones[:count]


class _Gather(torch.autograd.Function):
    """The rows of all processes, in order; a gradient goes back to whoever computed the row."""

    @staticmethod
    def forward(ctx: Any, rows_SK: Tensor, team: Team) -> Tensor:
        ctx.team, ctx.share = team, len(rows_SK)
        everyones = rows_SK.new_empty(team.size * len(rows_SK), *rows_SK.shape[1:])
        distributed.all_gather_into_tensor(everyones, rows_SK.contiguous())
        return everyones

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        own = gradient[ctx.team.rank * ctx.share :][: ctx.share]
        return own * ctx.team.size, None  # DistributedDataParallel takes the mean, we want the sum
