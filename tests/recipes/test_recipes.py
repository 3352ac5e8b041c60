"""Every registered recipe, by contract; and the published settings of the reference systems."""

import json

import pytest

from mien import models, recipes
from mien.data.splits import SplitRule
from mien.errors import InputError
from mien.expressions import SEVEN
from mien.training import Augment, Optimizer, Schedule, from_dict, to_dict


@pytest.mark.parametrize("name", recipes.names())
class TestEveryRecipe:
    def test_goes_by_its_own_name(self, name):
        assert recipes.find(name).name == name

    def test_passes_the_checks_that_overrides_pass(self, name):
        recipe = recipes.find(name)
        assert from_dict(json.loads(json.dumps(to_dict(recipe))), name) == recipe

    def test_its_network_can_be_built_for_its_input(self, name):
        recipe = recipes.find(name)
        models.create(recipe.model.name, recipe.input, len(SEVEN), recipe.model.options)

    def test_its_docstring_says_what_was_published(self, name):
        assert "Published:" in recipes.evidence(name)


def test_system_a_is_as_published():
    first, second = recipes.find("basic-cnn"), recipes.find("basic-cnn-bn")
    for recipe in (first, second):
        assert recipe.split == SplitRule(holdout=0.2)
        assert (recipe.epochs, recipe.batch_size) == (15, 64)
        assert recipe.optimizer == Optimizer("adam", lr=1e-3)
        assert recipe.augment == Augment()
    assert second.model.name == "basic-cnn-bn"


def test_system_b_is_as_published():
    recipe = recipes.find("four-block-cnn")
    assert recipe.split == SplitRule()
    assert (recipe.epochs, recipe.batch_size) == (50, 64)
    assert recipe.optimizer == Optimizer("adam", lr=1e-3)
    assert recipe.augment == Augment(flip=0.5, rotation=10)
    assert recipe.schedule == Schedule("plateau", factor=0.5, patience=2)
    assert (recipe.input.mean, recipe.input.std) == ((0.5,), (0.5,))  # values in -1..1
    assert recipe.select == "accuracy"


def test_an_unknown_recipe_is_refused_with_near_names():
    with pytest.raises(InputError, match="did you mean four-block-cnn"):
        recipes.find("four-bloc-cnn")
