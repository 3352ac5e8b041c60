"""mien diagnose: trials that change one thing each, as many as a budget allows, and verdicts that rest on figures."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mien import api, recipes
from mien.cli import run as mien
from mien.data.splits import split
from mien.errors import InputError
from mien.recipe import SplitRule
from mien.runs import RunFolder
from mien.studies import verdicts
from mien.studies.diagnose import diagnose
from mien.studies.plan import BASES, Pace, choose_base, plan
from mien.studies.trials import subset, with_shuffled_labels
from mien.training import to_dict


@pytest.fixture(scope="module")
def splits():
    return split(api.load("synthetic:400"), SplitRule(holdout=0.25))


@pytest.fixture
def recipe():
    return replace(recipes.find("basic-cnn"), epochs=2, precision="float32")


class TestFacesOfATrial:
    def test_shares_are_nested_and_keep_the_labels_shares(self, splits):
        small, large = (subset(splits.train, share) for share in (0.25, 0.5))
        assert set(small.rows) < set(large.rows) < set(splits.train.rows)
        whole, half = (np.bincount(faces.labels, minlength=7) for faces in (splits.train, large))
        assert np.abs(half - whole / 2).max() <= 1

    def test_shuffled_labels_are_the_same_labels_on_other_faces(self, splits):
        shuffled = with_shuffled_labels(splits.train)
        assert np.bincount(shuffled.labels).tolist() == np.bincount(splits.train.labels).tolist()
        assert (shuffled.labels == splits.train.labels).mean() < 0.5
        assert shuffled.rows.tolist() == splits.train.rows.tolist()
        assert shuffled.store.fingerprint != splits.train.store.fingerprint

    def test_shuffling_leaves_validation_labels_alone(self, splits):
        store = with_shuffled_labels(splits.train).store
        held = splits.validation.indices
        assert (store.labels[held] == splits.validation.labels).all()


class TestPlan:
    @pytest.mark.parametrize("base", BASES)
    @pytest.mark.parametrize("name", recipes.names())
    def test_trials_have_names_of_their_own_and_the_recipe_itself_comes_first(self, name, base):
        steps = plan(recipes.find(name), base)
        assert len({step.trial.name for step in steps}) == len(steps)
        assert steps[0].trial.recipe == recipes.find(name)
        assert steps[0].trial.share == base

    def test_votes_do_not_tell_the_true_labels_of_shuffled_ones(self):
        recipe = recipes.find("mien-people")
        recipe = replace(recipe, targets=replace(recipe.targets, votes="votes.csv"))
        for trial in (step.trial for step in plan(recipe, 1.0)):
            assert (trial.recipe.targets.votes is None) == trial.shuffled
            assert trial.recipe.select == ("accuracy" if trial.shuffled else "people")

    def test_initial_weights_fit_the_networks_own_width_only(self):
        recipe = recipes.find("basic-cnn")
        assert {step.factor for step in plan(recipe, 1.0)} >= {"capacity"}
        begun = replace(recipe, init="runs/base")
        assert {step.factor for step in plan(begun, 1.0)} == {
            step.factor for step in plan(recipe, 1.0)
        } - {"capacity"}

    @pytest.mark.parametrize("name", ["basic-cnn-bn", "enhanced-cnn-v2"])
    def test_every_trial_but_those_of_several_things_changes_one(self, name):
        recipe = recipes.find(name)
        for step in plan(recipe, 0.5):
            changed = [
                field
                for field, value in to_dict(step.trial.recipe).items()
                if field != "model" and value != to_dict(recipe)[field]
            ]
            options = step.trial.recipe.model.options
            changed += [o for o in options if options[o] != recipe.model.options.get(o, options[o])]
            own_share = step.trial.share != 0.5
            if step.trial.label not in ("as it is", "all of these together"):
                assert (
                    len(changed)
                    + step.trial.shuffled
                    + own_share
                    - (own_share and "epochs" in changed)
                    <= 1
                ), step.trial.label

    def test_regularisation_is_stronger_than_what_the_recipe_has(self):
        recipe = recipes.find("enhanced-cnn-v2")
        by_name = {step.trial.name: step.trial.recipe for step in plan(recipe, 1.0)}
        assert by_name["weight-decay"].optimizer.weight_decay > recipe.optimizer.weight_decay
        more = by_name["dropout-after-pools"].model.options["conv_dropout"]
        assert more > recipe.model.options["conv_dropout"]

    def test_a_smaller_share_is_trained_for_as_many_steps(self):
        recipe = recipes.find("basic-cnn")
        trials = {step.trial.name: step.trial for step in plan(recipe, 0.5)}
        assert trials["data-25"].recipe.epochs == 2 * recipe.epochs
        assert trials["data-10"].recipe.epochs == 4 * recipe.epochs  # and no more than four times
        assert trials["data-100"].recipe.epochs == recipe.epochs


class TestBudget:
    def test_a_larger_budget_buys_a_larger_share(self, recipe, splits):
        pace = Pace(seconds_per_unit=1e-4)
        bases = [
            choose_base(recipe, budget, pace, splits.train, splits.validation)
            for budget in (20, 60, 100, 1e6)
        ]
        assert bases == sorted(bases)
        assert bases[-1] == 1.0
        assert bases[0] < 1.0

    def test_an_impossible_budget_is_refused_with_the_least_that_would_do(self, recipe, splits):
        with pytest.raises(InputError, match=r"--budget 0.5: .* take about \d+ minutes here"):
            choose_base(recipe, 30, Pace(1.0), splits.train, splits.validation)

    def test_time_grows_with_faces_epochs_and_width(self, recipe, splits):
        pace = Pace(1e-4)
        steps = {step.trial.name: step.trial for step in plan(recipe, 0.5)}

        def seconds(name):
            return pace.seconds(steps[name], splits.train, splits.validation)

        assert seconds("width-x-0.25") < seconds("width-x-0.5") < seconds("as-it-is")
        assert seconds("as-it-is") < seconds("data-100")


class TestLabelNoise:
    def test_the_gap_divides_exactly_between_rejected_and_accepted_labels(self):
        """1,000 training faces, 200 of them rejected; 500 validation faces, 100 of them."""

        def evaluation(right):
            predicted = np.where(right, 0, 1)
            return SimpleNamespace(
                probabilities={"none": np.eye(2)[predicted]}, labels=np.zeros(len(right), int)
            )

        train_right = np.r_[np.ones(180), np.zeros(20), np.ones(640), np.zeros(160)] > 0
        held_right = np.r_[np.ones(30), np.zeros(70), np.ones(240), np.zeros(160)] > 0
        rejected = np.r_[np.ones(200), np.zeros(800), np.ones(100), np.zeros(400)] > 0
        faces = SimpleNamespace(indices=np.arange(1000))
        baseline = SimpleNamespace(
            trial=SimpleNamespace(faces=lambda _: faces),
            train=evaluation(train_right),
            validation=evaluation(held_right),
        )
        noise = verdicts.label_noise(
            SimpleNamespace(
                votes=SimpleNamespace(rejected=lambda: rejected),
                baseline=baseline,
                train=faces,
                validation=SimpleNamespace(indices=np.arange(1000, 1500)),
            )
        )
        assert noise.share == pytest.approx(0.2)
        assert noise.train == pytest.approx((0.9, 0.8))
        assert noise.validation == pytest.approx((0.3, 0.6))
        gap = 0.82 - 0.54
        assert noise.part == pytest.approx(0.2 * (0.9 - 0.3) / gap)
        assert noise.stands_out

    def test_labels_that_are_learnt_by_heart_as_any_other_do_not_stand_out(self):
        """A third of the labels is rejected, and makes up a third of the gap."""
        noise = verdicts.LabelNoise(0.33, (0.286, 0.730), (0.189, 0.635), part=0.33)
        assert not noise.stands_out


class TestNoVerdict:
    @staticmethod
    def diagnosis(faces, right):
        """A baseline that is right on the first so many of the validation faces; a seventh is each label."""
        labels = np.arange(faces) % 7
        predicted = np.where(np.arange(faces) < right, labels, (labels + 1) % 7)
        validation = SimpleNamespace(probabilities={"none": np.eye(7)[predicted]}, labels=labels)
        return SimpleNamespace(baseline=SimpleNamespace(validation=validation))

    def test_a_network_at_chance_is_not_diagnosed(self):
        found = verdicts.verdicts(self.diagnosis(faces=14, right=3))
        assert [item.culprit for item in found] == [None] * 4
        assert all("14 validation faces" in item.verdict for item in found)
        assert verdicts.learnt_nothing(self.diagnosis(faces=1400, right=210)) is not None

    def test_one_that_has_learnt_is(self):
        assert verdicts.learnt_nothing(self.diagnosis(faces=700, right=420)) is None

    def test_few_faces_leave_a_trial_open_even_where_all_answers_agree(self):
        assert "about 200 of them" in verdicts._blurred((0.0, 0.0), 14)
        assert "± 5.0 points; about 1,400" in verdicts._blurred((-0.05, 0.05), 500)
        assert verdicts._blurred((-0.02, 0.03), 500) is None


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A diagnosis with room for all but the most."""
    out = tmp_path_factory.mktemp("study") / "diagnosis"
    arguments = ["--data", "synthetic:300", "--set", "epochs=2", "--set", "precision=float32"]
    status = mien(["diagnose", "basic-cnn", *arguments, "--budget", "600", "--out", str(out)])
    assert status == 0
    return out


@pytest.mark.slow
class TestDiagnose:
    def test_the_page_says_what_the_trials_gave(self, out):
        content = json.loads((out / "diagnosis.json").read_text())
        assert content["left_out_seconds"] == {}
        assert {finding["factor"] for finding in content["findings"]} == {
            "data", "capacity", "regularisation", "labels",
        }  # fmt: skip
        page = (out / "diagnosis.html").read_text()
        text = (out / "diagnosis.md").read_text()
        for trial in content["trials"]:
            run = RunFolder.open(out / trial["name"])
            scored = run.evaluation("validation")["views"]["none"]["official"]["accuracy"]
            assert trial["validation_accuracy"] == scored
            written = f"{100 * scored:.2f} %"
            assert written in page
            assert written in text
            assert trial["gap"] == pytest.approx(trial["train_accuracy"] - scored)
        for finding in content["findings"]:
            assert finding["verdict"].split("'")[0][:40] in text

    def test_finished_trials_are_kept_and_cost_nothing(self, out):
        before = {path: path.stat().st_mtime_ns for path in out.glob("*/best/weights.safetensors")}
        overrides = ["epochs=2", "precision=float32"]
        again = diagnose(
            "basic-cnn", "synthetic:300", budget=1e-6, out=out, overrides=overrides, watchers=[]
        )
        assert len(again.outcomes) == len(before) > 10
        assert before == {path: path.stat().st_mtime_ns for path in before}

    def test_another_recipe_or_other_data_are_refused(self, out):
        trials = {"overrides": ["epochs=2", "precision=float32"], "budget": 1, "out": out}
        with pytest.raises(InputError, match=r"holds a diagnosis with other recipe\.name"):
            diagnose("four-block-cnn", "synthetic:300", **trials, watchers=[])
        with pytest.raises(InputError, match="holds a diagnosis with other data;"):
            diagnose("basic-cnn", "synthetic:301", **trials, watchers=[])

    def test_what_does_not_fit_the_budget_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Pace, "probe", lambda *_: Pace(1e-3))
        monkeypatch.setattr(Pace, "learn", lambda *_: None)
        found = diagnose(
            "basic-cnn",
            "synthetic:300",
            budget=0.2,
            out=tmp_path / "d",
            overrides=["epochs=1", "precision=float32"],
            watchers=[],
        )
        assert found.left_out
        assert len(found.outcomes) + len(found.left_out) == len(plan(found.recipe, found.base))
        page = (tmp_path / "d" / "diagnosis.html").read_text()
        assert all(step.trial.label in page for step in found.left_out)


def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, capsys):
    out = tmp_path / "d"
    votes = tmp_path / "votes.csv"
    votes.write_text("a,b\n1,2\n")
    for arguments, words in (
        (["--budget", "0"], "give minutes, above 0"),
        (["--budget", "nan"], "give minutes, above 0"),
        (["--votes", str(votes)], "no FER+ votes"),
        (["--votes", str(tmp_path / "none.csv")], "none.csv"),
        (["--set", "epoch=3"], "did you mean epochs"),
        (["--set", "targets.teacher=soft"], "set targets.teacher=none"),
    ):
        status = mien(
            ["diagnose", "basic-cnn", "--data", "synthetic:50", *arguments, "--out", str(out)]
        )
        assert status == 2, arguments
        error = capsys.readouterr().err
        assert words in error
        assert "Traceback" not in error
        assert not out.exists()
