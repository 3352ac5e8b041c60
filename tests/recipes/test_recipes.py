"""Every registered recipe, by contract; and the published settings of the reference systems."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from mien import models, recipes, train
from mien.api.inputs import chosen_recipe
from mien.errors import InputError
from mien.expressions import SEVEN
from mien.recipe import SplitRule
from mien.recipes import catalogue
from mien.registry import Registry
from mien.training import Augment, Optimizer, Schedule, from_dict, to_dict


@pytest.mark.parametrize("name", recipes.names())
class TestEveryRecipe:
    def test_goes_by_its_own_name(self, name):
        assert recipes.find(name).name == name

    def test_passes_the_checks_that_overrides_pass(self, name):
        recipe = recipes.find(name)
        if recipe.init_share:  # it begins from a run that the user names
            recipe = replace(recipe, init="runs/earlier")
        assert from_dict(json.loads(json.dumps(to_dict(recipe))), name) == recipe

    def test_its_network_can_be_built_for_its_input(self, name):
        recipe = recipes.find(name)
        models.create(recipe.model.name, recipe.input, len(SEVEN), recipe.model.options)

    def test_its_docstring_says_what_was_published(self, name):
        assert "Published:" in recipes.evidence(name)


#: The reference systems' own figures, as percentages and nats, beside the names they go by here.
PUBLISHED = {
    "basic-cnn": ("A", {"validation_accuracy": 57, "train_accuracy": 59}),
    "basic-cnn-bn": (
        "A",
        {
            "validation_accuracy": 60,
            "validation_loss": 1.8,
            "train_accuracy": 90,
            "train_loss": 0.26,
        },
    ),
    "four-block-cnn": ("B", {"test_accuracy": 63.33, "test_loss": 1.1434}),
    "dropout-cnn": ("C", {}),
    "dropout-cnn-sgd": ("C", {}),
    "simple-cnn": ("D", {}),
    "simple-cnn-v2": ("D", {}),
    "improved-cnn": ("D", {"validation_accuracy": 57.11, "train_accuracy": 67.87, "gap": 10.76}),
    "enhanced-cnn": ("D", {"validation_accuracy": 61.54, "train_accuracy": 71.53, "gap": 9.99}),
    "enhanced-cnn-v2": (
        "D",
        {
            "test_accuracy": 58.32,
            "best_validation_accuracy": 61.15,
            "validation_accuracy": 60.31,
            "train_accuracy": 64.53,
            "gap": 4.22,
        },
    ),
    "efficientnet-b0": ("E", {"best_validation_accuracy": 64, "train_accuracy": 69}),
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_recipe_states_what_its_system_published(name):
    system, figures = PUBLISHED[name]
    entry = recipes.entry(name)
    assert entry.system == system
    stated = {
        field: value if field.endswith("loss") else 100 * value
        for field, value in entry.published.figures().items()
    }
    assert stated == pytest.approx(figures)


def test_the_reference_recipes_come_system_by_system():
    assert recipes.reference_names() == list(PUBLISHED)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_figures_agree_with_each_other(name):
    published = recipes.entry(name).published
    if published.gap is not None:
        assert published.train_accuracy - published.validation_accuracy == pytest.approx(
            published.gap
        )


def test_a_recipe_registers_with_and_without_a_system(monkeypatch):
    monkeypatch.setattr(catalogue, "_RECIPES", Registry("recipe"))

    @catalogue.register
    def my_own():
        """Mine."""

    @catalogue.register(system="Z", published=catalogue.Published(test_accuracy=0.5))
    def their_own():
        """Theirs."""

    assert catalogue.names() == ["my-own", "their-own"]
    assert catalogue.reference_names() == ["their-own"]
    assert (catalogue.entry("my-own").system, catalogue.entry("my-own").published.figures()) == (
        None,
        {},
    )
    assert catalogue.entry("their-own").published.figures() == {"test_accuracy": 0.5}
    assert catalogue.evidence("their-own") == "Theirs."


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


@pytest.mark.parametrize("name", ["dropout-cnn", "dropout-cnn-sgd"])
def test_system_c_is_as_published(name):
    recipe = recipes.find(name)
    augment = recipe.augment
    assert augment.flip > 0
    assert augment.rotation > 0
    assert augment.scale[0] < 1 < augment.scale[1]
    assert recipe.early_stopping < recipe.epochs
    assert recipe.optimizer.name == ("sgd" if name.endswith("sgd") else "adam")


def test_system_d_is_as_published():
    first, fourth, fifth = map(recipes.find, ("simple-cnn", "enhanced-cnn", "enhanced-cnn-v2"))
    for name in [name for name in PUBLISHED if PUBLISHED[name][0] == "D"]:
        assert recipes.find(name).input.shape == (3, 128, 128)
    assert first.batch_size == 16
    assert first.optimizer.lr > fourth.optimizer.lr
    assert first.optimizer.weight_decay < fourth.optimizer.weight_decay
    assert (fourth.batch_size, fourth.epochs) == (32, 10)
    assert fourth.optimizer == Optimizer("adam", lr=5e-5, weight_decay=5e-4)
    assert (fifth.batch_size, fifth.epochs) == (32, 15)
    assert fifth.optimizer == Optimizer("adam", lr=4e-5, weight_decay=8e-4)
    assert fifth.model.name == fourth.model.name
    network = models.create(fifth.model.name, fifth.input, 7, fifth.model.options)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.35, 0.6, 0.4]


def test_system_e_is_as_published():
    recipe = recipes.find("efficientnet-b0")
    assert recipe.model.options["backbone"] == "efficientnet_b0"
    assert (recipe.init, recipe.freeze_epochs) == ("hub", 0)
    assert recipe.input.shape == (3, 224, 224)
    assert recipe.input.mean == (0.485, 0.456, 0.406)
    assert recipe.input.std == (0.229, 0.224, 0.225)
    assert recipe.augment == Augment(flip=0.5, rotation=10)
    assert recipe.optimizer == Optimizer("adam", lr=1e-3)
    assert recipe.schedule == Schedule()
    assert (recipe.epochs, recipe.batch_size, recipe.select) == (15, 32, "loss")
    assert recipes.entry("efficientnet-b0").published.faces == 28_821 + 7_066


def test_an_unknown_recipe_is_refused_with_near_names():
    with pytest.raises(InputError, match="did you mean four-block-cnn"):
        recipes.find("four-bloc-cnn")


def test_a_run_in_place_of_a_recipe_is_told_where_its_recipe_is(tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(InputError, match=r"is a run, not a recipe: give .*recipe\.json"):
        train(tmp_path, "synthetic:70")


def test_a_recipe_s_name_comes_before_a_run_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "mien-s").mkdir()
    (tmp_path / "mien-s" / "recipe.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert chosen_recipe("mien-s", []).name == "mien-s"


@pytest.mark.parametrize("name", ["n" * 300, "a\0b"])
def test_a_name_that_no_path_may_have_is_an_unknown_recipe(name):
    with pytest.raises(InputError, match="there is no recipe"):
        chosen_recipe(name, [])


def test_measured_figures_are_those_of_the_results(capsys):
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text("utf-8")
    assert set(recipes.MEASURED) <= set(recipes.names())
    for name, found in recipes.MEASURED.items():
        assert f"{100 * found.accuracy:.2f} " in page, name


def test_recipes_are_listed_side_by_side(capsys):
    from mien import cli

    assert cli.run(["recipes", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["recipes"]}
    assert set(rows) == set(recipes.names())
    small = recipes.find("speedrun-cpu")
    network = models.create(small.model.name, small.input, len(SEVEN), small.model.options)
    assert rows["speedrun-cpu"]["parameters"] == sum(p.numel() for p in network.parameters())
    assert rows["speedrun-cpu"]["measured"]["accuracy"] == recipes.MEASURED["speedrun-cpu"].accuracy
    assert rows["mien-l"]["measured"] is None
    assert cli.run(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    (line,) = [line for line in lines if "efficientnet-lite0 " in line and "M" in line.split()]
    assert line.split()[1] == f"{rows['efficientnet-lite0']['parameters']:,}"
