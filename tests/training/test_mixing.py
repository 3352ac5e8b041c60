"""Mixup and CutMix against the blends written out."""

import pytest
import torch

from mien.recipe import Mixing
from mien.training.mixing import mixed

LABELS = torch.arange(32) % 7


@pytest.fixture
def inputs():
    """Faces of one value each, so that a pixel says which face it came from."""
    return torch.arange(32.0).view(32, 1, 1, 1).expand(32, 1, 48, 48).contiguous()


def partners(inputs, mixed_inputs):
    """Of each face, the other one whose value occurs in it; itself where none does."""
    found = []
    for own, face in zip(inputs[:, 0, 0, 0].tolist(), mixed_inputs, strict=True):
        others = set(face.unique().tolist()) - {own}
        assert len(others) <= 1
        found.append(int(others.pop()) if others else int(own))
    return torch.tensor(found)


def test_without_a_probability_nothing_is_touched(inputs):
    faces, targets = mixed(inputs, LABELS, Mixing(), 7)
    assert faces is inputs
    assert targets is LABELS


def test_about_as_many_batches_are_mixed_as_asked_for(inputs):
    torch.manual_seed(0)
    spec = Mixing(probability=0.3)
    count = sum(mixed(inputs, LABELS, spec, 7)[0] is not inputs for _ in range(300))
    assert 60 < count < 120


@pytest.mark.parametrize("seed", range(5))
def test_mixup_blends_faces_and_targets_by_the_same_share(inputs, seed):
    torch.manual_seed(seed)
    faces, targets = mixed(inputs, LABELS, Mixing("mixup", 1.0, 1.0), 7)
    whole = torch.nn.functional.one_hot(LABELS, 7).float()
    # One partner's value and one share explain every face; solve for the share where it can be seen.
    torch.testing.assert_close(targets.sum(1), torch.ones(32))
    for face, target, own, label in zip(faces, targets, range(32), LABELS, strict=True):
        share = target[label].item()
        if target.max() == 1:  # a partner of the same expression, or itself: any share is right
            continue
        other = (face.mean().item() - share * own) / (1 - share)
        assert other == pytest.approx(round(other), abs=0.01)
        expected = share * whole[own] + (1 - share) * whole[round(other)]
        torch.testing.assert_close(target, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_weighs_targets_by_the_pixels_that_were_taken(inputs, seed):
    torch.manual_seed(seed)
    faces, targets = mixed(inputs, LABELS, Mixing("cutmix", 1.0, 1.0), 7)
    whole = torch.nn.functional.one_hot(LABELS, 7).float()
    own = (faces == inputs).float().mean((1, 2, 3), keepdim=False)[:, None]
    expected = own * whole + (1 - own) * whole[partners(inputs, faces)]
    torch.testing.assert_close(targets, expected)
    taken = faces[0, 0] != inputs[0, 0]
    if taken.any():  # a rectangle
        rows, columns = taken.any(1).nonzero(), taken.any(0).nonzero()
        assert taken[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()


def test_distributions_are_blended_as_labels_are(inputs):
    hard = torch.nn.functional.one_hot(LABELS, 7).float()
    results = []
    for targets in (LABELS, hard):
        torch.manual_seed(3)
        results.append(mixed(inputs, targets, Mixing("mixup", 1.0, 0.4), 7))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
