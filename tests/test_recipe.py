"""Recipes from outside are checked by name, type and range."""

import json

import pytest

from mien.errors import InputError
from mien.training import Augment, ModelSpec, Recipe, from_dict, override, to_dict

RECIPE = Recipe(name="r", model=ModelSpec("four-block-cnn"), augment=Augment(flip=0.5))


def test_fields_of_every_depth_and_kind_can_be_set():
    changed = override(
        RECIPE,
        [
            "epochs=3",
            "optimizer.lr=3e-4",
            "optimizer.name=sgd",
            "augment.scale=0.9,1.1",
            "split.holdout=0.2",
            "ema=0.999",
            "clip_norm=none",
            "model.dropout=0.3",
        ],
    )
    assert (changed.epochs, changed.optimizer.lr, changed.optimizer.name) == (3, 3e-4, "sgd")
    assert changed.augment == Augment(flip=0.5, scale=(0.9, 1.1))
    assert (changed.split.holdout, changed.ema, changed.clip_norm) == (0.2, 0.999, None)
    assert changed.model.options == {"dropout": "0.3"}  # the network's builder knows its type
    assert RECIPE.epochs == 50


def test_a_recipe_survives_json():
    changed = override(RECIPE, ["augment.scale=0.9,1.1", "ema=0.99"])
    assert from_dict(json.loads(json.dumps(to_dict(changed))), "recipe.json") == changed


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("epoch=3", ["'epoch'", "did you mean epochs"]),
        ("optimiser.lr=3", ["'optimiser'", "did you mean optimizer"]),
        ("optimizer.rate=3", ["'rate'", "known: backbone_lr, betas"]),
        ("epochs.lr=3", ["'epochs'"]),
        ("epochs=three", ["epochs='three'", "integer"]),
        ("epochs=0", ["epochs='0'", "greater than 0"]),
        ("epochs=2.5", ["epochs='2.5'"]),
        ("epochs", ["FIELD=VALUE"]),
        ("optimizer.name=adagrad", ["adagrad", "'adam', 'adamw', 'muon' or 'sgd'"]),
        ("optimizer=sgd", ["optimizer is a group", "optimizer.lr"]),
        ("augment.flip=1.5", ["augment.flip='1.5'", "less than or equal to 1"]),
        ("augment.scale=1.2,0.8", ["smaller factor"]),
        ("augment.scale=1.2", ["augment.scale"]),
        ("split.holdout=1.5", ["holdout"]),
        ("split.seed=-1", ["split.seed"]),
        ("clip_norm=inf", ["clip_norm='inf'", "finite"]),
        ("optimizer.lr=inf", ["optimizer.lr='inf'", "finite"]),
        ("optimizer.betas=0.9,1", ["optimizer.betas"]),
        ("input.mean=nan", ["finite"]),
        ("expressions=a,b", ["--labels"]),
        ("input.channels=2", ["1 or 3 channels"]),
        ("input.std=0", ["above 0"]),
        ("input.mean=0.1,0.2", ["1 or 1 values"]),
        ("optimizer.nesterov=true", ["momentum"]),
        ("optimizer.backbone_lr=0", ["greater than 0"]),
        ("freeze_epochs=2", ["freeze random weights"]),
    ],
)
def test_mistakes_are_refused_in_one_sentence(assignment, words):
    with pytest.raises(InputError) as refusal:
        override(RECIPE, [assignment])
    assert all(word in str(refusal.value) for word in words), str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_none_is_a_value_where_a_field_has_it_and_nothing_elsewhere():
    changed = override(RECIPE, ["objective.class_weights=balanced", "clip_norm=1"])
    back = override(changed, ["objective.class_weights=none", "clip_norm=none", "ema=none"])
    assert back.objective.class_weights == "none"
    assert back.clip_norm is None
    assert back.ema is None


def test_a_recipe_file_with_an_unknown_field_is_refused():
    content = to_dict(RECIPE) | {"epcohs": 3}
    with pytest.raises(InputError, match=r"recipe.json: .*'epcohs'.*epochs"):
        from_dict(content, "recipe.json")


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["epochs=31", "epochs=30"], "epochs is given twice, as 31 and as 30"),
        (["model.dropout=0.1", "model.options.dropout=0.2"], "twice, as 0.1 and as 0.2"),
        (["init=a.safetensors", "init=none"], "init is given twice"),
    ],
)
def test_a_field_with_two_values_is_refused_instead_of_taking_the_last(assignments, said):
    with pytest.raises(InputError, match=said):
        override(RECIPE, assignments)
    assert override(RECIPE, ["epochs=30", "epochs = 30"]).epochs == 30


def test_a_text_alone_is_one_change():
    assert override(RECIPE, "epochs=30").epochs == 30
