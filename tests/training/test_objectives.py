"""The losses, against their formulas."""

import pytest
import torch

from mien.errors import InputError
from mien.recipe import ModelSpec, Objective, Recipe, override
from mien.training.objectives import build_objective

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0], [0.0, 3.0, 1.0], [1.0, 1.0, 1.0]])
LABELS = torch.tensor([0, 0, 1, 0])


def nats(targets):
    return -(targets * LOGITS.log_softmax(1)).sum(1)


def test_cross_entropy_is_the_mean_of_minus_log_p():
    loss = build_objective(Objective(), LABELS, 3)(LOGITS, LABELS)
    torch.testing.assert_close(loss, nats(torch.eye(3)[LABELS]).mean())


def test_smoothing_mixes_the_label_with_all_classes():
    loss = build_objective(Objective(label_smoothing=0.3), LABELS, 3)(LOGITS, LABELS)
    torch.testing.assert_close(loss, nats(0.7 * torch.eye(3)[LABELS] + 0.1).mean())


def test_balanced_weights_give_each_class_the_same_say():
    loss = build_objective(Objective(class_weights="balanced"), LABELS, 3)(LOGITS, LABELS)
    each = nats(torch.eye(3)[LABELS])
    torch.testing.assert_close(loss, (each[[0, 1, 3]].mean() + each[2]) / 2)


def test_a_class_without_faces_takes_no_part_in_balanced_smoothing():
    objective = build_objective(Objective(class_weights="balanced", label_smoothing=0.3), LABELS, 4)
    logits = torch.zeros(4, 4, requires_grad=True)
    objective(logits, LABELS).backward()
    # Nothing pulls towards the fourth class, of which there is no face: its logit only sinks.
    assert (logits.grad[:, 3] > 0).all()


def test_an_unknown_objective_is_refused_with_the_known_one():
    recipe = Recipe("mine", ModelSpec("basic-cnn"))
    with pytest.raises(InputError, match=r"cross-entropi.*'cross-entropy'"):
        override(recipe, ["objective.name=cross-entropi"])


def test_logit_adjustment_adds_the_logarithm_of_each_share():
    shares = torch.tensor([0.75, 0.25, 1.0])  # the third has no face: it is left as it is
    loss = build_objective(Objective(logit_adjustment=2.0), LABELS, 3)(LOGITS, LABELS)
    adjusted = LOGITS + 2 * shares.log()
    expected = -adjusted.log_softmax(1)[range(4), LABELS].mean()
    torch.testing.assert_close(loss, expected)


def test_logit_adjustment_of_distributions_goes_by_their_mean():
    targets = torch.tensor([[0.5, 0.5, 0], [1, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]])
    loss = build_objective(Objective(logit_adjustment=1.0), LABELS, 3, targets)(LOGITS, targets)
    adjusted = (LOGITS + targets.mean(0).log()).log_softmax(1)
    torch.testing.assert_close(loss, -(targets * adjusted).sum(1).mean())
