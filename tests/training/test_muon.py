"""Muon, against PyTorch's own for matrices and against its AdamW for the rest."""

import copy

import pytest
import torch
from torch import nn

from mien.training.muon import Muon, orthogonal

SETTINGS = {"lr": 0.02, "weight_decay": 0.1}


def walk(parameters, optimizers, steps=7):
    """Some steps with the same gradients for whoever asks."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for optimizer in optimizers:
            optimizer.step()


def starting(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (7, 7)])
def test_a_matrix_moves_as_torch_s_muon_moves_it(shape):
    ours, theirs = starting(shape), starting(shape)
    walk(ours, [Muon(ours, momentum=0.9, **SETTINGS)])
    walk(
        theirs,
        [torch.optim.Muon(theirs, momentum=0.9, adjust_lr_fn="match_rms_adamw", **SETTINGS)],
    )
    # Theirs multiplies in bfloat16, which has 8 bits: some 2 % of a step.
    moved = ours[0] - starting(shape)[0]
    assert (ours[0] - theirs[0]).norm() < 0.03 * moved.norm()


def plainly(matrix, steps=5):
    """The quintic on the whole matrix in float64, as Jordan et al. print it."""
    wide = matrix.double() if matrix.shape[0] <= matrix.shape[1] else matrix.double().T
    wide = wide / wide.norm()
    for _ in range(steps):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * gram + 2.0315 * gram @ gram) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


def of_low_rank(rows, columns):
    generator = torch.Generator().manual_seed(3)
    thin = torch.randn(rows, 20, generator=generator) @ torch.randn(
        20, columns, generator=generator
    )
    return thin + 1e-3 * torch.randn(rows, columns, generator=generator)


@pytest.mark.parametrize(
    "matrix",
    [
        torch.randn(16, 144, generator=torch.Generator().manual_seed(2)),
        torch.randn(144, 16, generator=torch.Generator().manual_seed(2)),
        torch.randn(64, 64, generator=torch.Generator().manual_seed(2)),
        of_low_rank(64, 576),
    ],
    ids=["wide", "tall", "square", "low rank"],
)
def test_the_small_form_is_the_same_polynomial(matrix):
    expected = plainly(matrix)
    found = orthogonal([matrix])[0].double()
    assert found.shape == matrix.shape
    assert (found - expected).norm() < 2e-4 * expected.norm()


def test_matrices_of_one_shape_move_together_as_each_would_alone():
    shapes = ((8, 4, 3, 3), (6, 10), (8, 36), (8, 4, 3, 3), (5,))
    together, alone = starting(*shapes), starting(*shapes)
    walk(together, [Muon(together, **SETTINGS)])
    walk(alone, [Muon([parameter], **SETTINGS) for parameter in alone])
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_many_matrices_together_are_the_same_polynomial_of_each():
    """Of several lengths of one shorter side, wide and tall, and of sides that are padded."""
    generator = torch.Generator().manual_seed(4)
    shapes = [(64, 576), (7, 300), (64, 288), (128, 64), (64, 64), (32, 9), (48, 50), (64, 576)]
    matrices = [torch.randn(shape, generator=generator) for shape in shapes]
    matrices[-1] = of_low_rank(64, 576)
    for matrix, found in zip(matrices, orthogonal(matrices), strict=True):
        expected = plainly(matrix)
        assert found.shape == matrix.shape
        assert (found.double() - expected).norm() < 2e-4 * expected.norm()


def test_the_layout_of_a_convolution_changes_nothing():
    shapes = ((8, 4, 3, 3), (4, 8, 3, 3), (8, 1, 3, 3), (8, 4, 1, 1))
    plain = starting(*shapes)
    last = [nn.Parameter(weight.detach().to(memory_format=torch.channels_last)) for weight in plain]
    walk(plain, [Muon(plain, **SETTINGS)])
    walk(last, [Muon(last, **SETTINGS)])
    for one, other in zip(plain, last, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_the_state_of_earlier_versions_goes_on():
    """They kept the same values by the same names; `step` on the CPU."""
    parameters = starting((4, 6), (4,))
    optimizer = Muon(parameters, **SETTINGS)
    walk(parameters, [optimizer], steps=1)
    state = copy.deepcopy(optimizer.state_dict())["state"]
    assert set(state[0]) == {"momentum"}
    assert set(state[1]) == {"step", "mean", "square"}
    assert state[1]["step"].shape == ()
    assert state[1]["step"].device.type == "cpu"


def test_a_convolution_is_the_matrix_of_its_filters():
    convolution, matrix = starting((8, 4, 3, 3))[0], starting((8, 36))[0]
    assert torch.equal(convolution.flatten(1), matrix)
    walk([convolution], [Muon([convolution], **SETTINGS)])
    walk([matrix], [Muon([matrix], **SETTINGS)])
    assert torch.equal(convolution.flatten(1), matrix)


def test_what_is_no_matrix_moves_as_torch_s_adamw_moves_it():
    ours, theirs = starting((9,), ()), starting((9,), ())
    walk(ours, [Muon(ours, betas=(0.8, 0.95), **SETTINGS)])
    walk(theirs, [torch.optim.AdamW(theirs, betas=(0.8, 0.95), **SETTINGS)])
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_the_step_of_a_matrix_is_about_as_large_as_one_of_adamw():
    weight = starting((64, 32, 3, 3))[0]
    before = weight.detach().clone()
    walk([weight], [Muon([weight], lr=0.01)], steps=1)
    step = (weight.detach() - before).square().mean().sqrt()
    assert 0.1 < step / 0.01 < 0.3  # AdamW's steps have 0.2 to 0.4 of the rate in practice


def test_singular_values_come_near_to_one():
    for shape in [(16, 64), (64, 16)]:
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        values = torch.linalg.svdvals(orthogonal([matrix])[0])
        assert values.min() > 0.5
        assert values.max() < 1.3


def test_no_gradient_is_no_step_and_zero_gradients_stay_finite():
    still, zero = starting((4, 4), (4, 4))
    before = still.detach().clone()
    zero.grad = torch.zeros(4, 4)
    Muon([still, zero], lr=0.1).step()
    assert torch.equal(still, before)
    assert zero.isfinite().all()


def test_it_goes_on_from_its_state():
    shapes = ((6, 3, 3, 3), (6,))
    whole, halves = starting(*shapes), starting(*shapes)
    walk(whole, [Muon(whole, **SETTINGS)], steps=3)
    first = Muon(halves, **SETTINGS)
    walk(halves, [first], steps=3)
    second = Muon(halves, **SETTINGS)
    second.load_state_dict(first.state_dict())
    third = Muon(whole, **SETTINGS)
    walk(halves, [second], steps=2)
    walk(whole, [third], steps=2)
    assert not torch.equal(halves[0], whole[0])  # without the state it would go elsewhere
    again = starting(*shapes)
    optimizer = Muon(again, **SETTINGS)
    walk(again, [optimizer], steps=3)
    walk(again, [optimizer], steps=2)
    for one, other in zip(halves, again, strict=True):
        assert torch.equal(one, other)
