"""Soft targets: what teachers say, of which views, for which student; and annotators' votes as targets."""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.data.splits import split
from mien.errors import InputError
from mien.files import write_json
from mien.models import load_classifier
from mien.recipe import SplitRule
from mien.recognise.model import FaceModel
from mien.recognise.naming import packaged_model
from mien.runs import RunFolder
from mien.training import Augment, Objective, Targets, teach, train
from mien.training.augment import augmented
from mien.training.targets import Supervision
from mien.training.teaching import Teaching

AUGMENT = Augment(flip=0.5, rotation=15, shift=0.1, erase=0.5)


@pytest.fixture(scope="module")
def teachers(store, tmp_path_factory):
    """Two short runs on the drawn faces."""
    from mien.training import ModelSpec, Recipe

    splits = split(store, SplitRule())
    folder = tmp_path_factory.mktemp("teachers")
    recipe = Recipe("teacher", ModelSpec("four-block-cnn"), epochs=2, precision="float32")
    return [
        train(
            replace(recipe, seed=seed),
            splits.train,
            splits.validation,
            folder / str(seed),
            device="cpu",
            watchers=[],
        )
        for seed in (0, 1)
    ]


@pytest.fixture
def student(recipe):
    return replace(recipe, augment=AUGMENT)


@pytest.fixture
def taught(teachers, student, splits, tmp_path, monkeypatch):
    monkeypatch.setattr("mien.training.teaching.autocast_type", lambda *_: torch.float32)
    return teach(teachers, student, splits.train, tmp_path / "soft", views=2, device="cpu")


def supervised(student, splits, **targets):
    recipe = replace(student, targets=Targets(**targets))
    return Supervision(recipe, splits.train, torch.from_numpy(splits.train.labels))


def test_soft_targets_are_what_the_teachers_say_of_the_views_the_student_sees(
    teachers, student, splits, taught
):
    supervision = supervised(student, splits, teacher=str(taught.path), teacher_share=1.0)
    faces = torch.from_numpy(splits.train.pixels())
    for epoch in (1, 2):
        seen = augmented(faces, supervision.views(epoch), student.input, student.augment)
        with torch.inference_mode():
            said = [load_classifier(t, "cpu").network(seen).softmax(1) for t in teachers]
        torch.testing.assert_close(
            supervision.targets(epoch),
            sum(said) / 2,
            atol=1e-3,
            rtol=0,  # kept as float16
        )
    assert not torch.equal(supervision.targets(1), supervision.targets(2))
    assert torch.equal(supervision.targets(3), supervision.targets(1))
    assert torch.equal(supervision.views(3), supervision.views(1))


def test_the_teacher_s_share_is_blended_with_the_label(student, splits, taught):
    whole = supervised(student, splits, teacher=str(taught.path), teacher_share=1.0).targets(1)
    part = supervised(student, splits, teacher=str(taught.path), teacher_share=0.25).targets(1)
    labels = torch.nn.functional.one_hot(torch.from_numpy(splits.train.labels), 7)
    torch.testing.assert_close(part, 0.25 * whole + 0.75 * labels)


def test_a_student_learns_from_its_teachers(student, splits, taught, tmp_path):
    recipe = replace(student, targets=Targets(teacher=str(taught.path)), epochs=3)
    run = train(recipe, splits.train, splits.validation, tmp_path / "student", device="cpu")
    losses = [row["train_loss"] for row in run.history()]
    assert losses[-1] < losses[0]


def test_gray_teachers_answer_for_the_colour_views_of_a_student(
    teachers, student, splits, taught, store, tmp_path
):
    coloured = replace(store, pixels=np.repeat(store.pixels, 3, axis=1))
    recipe = replace(
        student, input=replace(student.input, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    )
    faces = coloured.faces(splits.train.indices)
    of_colours = teach(teachers, recipe, faces, tmp_path / "colours", views=1, device="cpu")
    np.testing.assert_allclose(of_colours.probabilities(0), taught.probabilities(0), atol=0.01)


def test_a_model_file_teaches_what_it_says_of_the_views(student, splits, tmp_path):
    model = FaceModel.open(packaged_model())
    faces = splits.train.store.faces(splits.train.indices[:40])
    taught = teach([model], student, faces, tmp_path / "soft", views=1, device="cpu")
    teaching = Supervision(
        replace(student, targets=Targets(teacher=str(taught.path))),
        faces,
        torch.from_numpy(faces.labels),
    )
    pixels = torch.from_numpy(faces.pixels())
    seen = augmented(
        pixels, teaching.views(1), replace(student.input, mean=(0.0,), std=(1.0,)), AUGMENT
    )
    said = model((seen * 255).round().to(torch.uint8).numpy())
    columns = [model.card.expressions.index(name) for name in faces.expressions]
    np.testing.assert_allclose(taught.probabilities(0), said[:, columns], atol=1e-3)


def test_teaching_goes_on_where_it_was_stopped(teachers, student, splits, tmp_path):
    class StoppedError(Exception):
        pass

    def stop(done, total):
        if done > len(splits.train):
            raise StoppedError

    whole = teach(teachers, student, splits.train, tmp_path / "a", views=2, device="cpu")
    out = tmp_path / "b"
    with pytest.raises(StoppedError):
        teach(teachers, student, splits.train, out, views=2, device="cpu", progress=stop)
    with pytest.raises(InputError, match="1 of its 2 views are missing"):
        Teaching.open(out, student, splits.train)
    kept = (out / "view-000.npy").stat().st_mtime_ns
    again = teach(teachers, student, splits.train, out, views=2, device="cpu")
    assert (out / "view-000.npy").stat().st_mtime_ns == kept
    for view in range(2):
        assert np.array_equal(again.probabilities(view), whole.probabilities(view))


def test_teachers_with_their_expressions_in_another_order_are_mapped_by_name(
    teachers, student, splits, taught, store, tmp_path
):
    order = [3, 1, 0, 2, 6, 5, 4]
    turned = replace(
        store,
        expressions=tuple(store.expressions[i] for i in order),
        labels=np.argsort(order)[store.labels],
    )
    faces = split(turned, SplitRule()).train
    recipe = replace(student, expressions=turned.expressions)
    other = teach(teachers, recipe, faces, tmp_path / "turned", views=1, device="cpu")
    said = taught.probabilities(0)[:, order].astype(np.float32)
    np.testing.assert_allclose(other.probabilities(0), said, atol=0.02)


def test_what_does_not_fit_is_refused_in_one_sentence(teachers, student, splits, taught, tmp_path):
    def refused(recipe, **targets):
        with pytest.raises(InputError) as refusal:
            supervised(recipe, splits, **targets).targets(2)
        return str(refusal.value)

    folder = str(taught.path)
    assert "mien teach" in refused(student, teacher=str(tmp_path / "nothing"))
    stronger = replace(student, augment=replace(AUGMENT, rotation=30))
    assert "with other augment.rotation" in refused(stronger, teacher=folder)
    with pytest.raises(InputError, match="soft targets with other teachers;"):
        teach(teachers[:1], student, splits.train, taught.path, views=2, device="cpu")
    with pytest.raises(InputError, match="--views 0"):
        teach(teachers, student, splits.train, tmp_path / "x", views=0, device="cpu")
    (taught.path / "view-001.npy").write_bytes(b"nonsense")
    assert "view-001.npy: damaged" in refused(student, teacher=folder)
    for values, words in (
        (np.ones((3, 7), np.float16), "float16 (3, 7) instead of float16"),
        (np.full_like(taught.probabilities(0), np.nan), "not finite"),
    ):
        np.save(taught.path / "view-001.npy", values)
        assert words in refused(student, teacher=folder)


def test_a_teacher_is_known_by_its_weights(teachers, student, splits, taught, tmp_path):
    moved = [RunFolder(shutil.copytree(one.path, tmp_path / one.path.name)) for one in teachers]
    again = teach(moved[::-1], student, splits.train, taught.path, views=2, device="cpu")
    assert again == taught
    with pytest.raises(InputError, match=r"the same network as .*, which would count twice"):
        teach([teachers[0], moved[0]], student, splits.train, tmp_path / "x", views=1)


def test_a_student_goes_on_with_the_targets_that_it_began_with(
    teachers, student, splits, taught, tmp_path
):
    recipe = replace(student, targets=Targets(teacher=str(taught.path)), epochs=1)

    def trained(**options):
        return train(
            recipe, splits.train, splits.validation, tmp_path / "run", device="cpu", **options
        )

    run = trained()
    trained(resume=True)  # nothing has changed
    shutil.rmtree(taught.path)
    teach(teachers, student, splits.train, taught.path, views=2, seed=7, device="cpu")
    with pytest.raises(InputError, match="its votes or soft targets have changed since it began"):
        trained(resume=True)
    told = run.environment()  # as earlier versions wrote it
    del told["targets_sha256"]
    write_json(run.environment_path, told)
    trained(resume=True)


def test_a_teacher_of_other_expressions_is_refused(teachers, student, store, tmp_path):
    other = replace(store, expressions=(*store.expressions[:6], "contempt"))
    with pytest.raises(InputError, match="give teachers of the same expressions"):
        teach(teachers, student, split(other, SplitRule()).train, tmp_path / "x", views=1)


@pytest.fixture
def votes(tmp_path):
    """A file of FER+'s shape: nine of ten see anger, one nothing; but row 1 is split between two."""
    path = tmp_path / "fer2013new.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
        writer.writerow(["Usage", "Image name", *names.split(",")])
        usages = np.repeat(["Training", "PublicTest", "PrivateTest"], [28709, 3589, 3589])
        for row, usage in enumerate(usages):
            counts = [0, 5, 0, 0, 5, 0, 0, 0, 0, 0] if row == 1 else [0, 0, 0, 0, 9, 0, 0, 0, 1, 0]
            counts = [0, 0, 0, 0, 0, 0, 0, 0, 10, 0] if row == 2 else counts
            writer.writerow([usage, f"fer{row:07d}.png", *counts])
    return path


def test_votes_are_blended_with_the_label_where_they_are_clear(student, store, votes):
    angry = replace(store, labels=np.zeros(len(store), np.int64), splits=np.zeros(280, np.uint8))
    faces = angry.faces(np.arange(200))
    recipe = replace(student, targets=Targets(votes=str(votes), votes_share=0.5))
    targets = Supervision(recipe, faces, torch.from_numpy(faces.labels)).targets(1)
    certain = torch.tensor([1.0, 0, 0, 0, 0, 0, 0])
    torch.testing.assert_close(targets[0], certain)
    torch.testing.assert_close(targets[1], torch.tensor([0.75, 0, 0, 0.25, 0, 0, 0]))
    torch.testing.assert_close(targets[2], certain)  # of this one annotators say "unknown"


def test_votes_of_other_faces_are_refused(student, splits, votes):
    with pytest.raises(InputError, match="rows"):
        supervised(student, splits, votes=str(votes))


def test_soft_targets_give_the_loss_that_labels_give_where_they_are_certain(student, splits):
    from mien.training.objectives import build_objective

    labels = torch.from_numpy(splits.train.labels)
    logits = torch.randn(len(labels), 7, generator=torch.Generator().manual_seed(0))
    for spec in (Objective(), Objective(label_smoothing=0.1)):
        loss = build_objective(spec, labels, 7)
        soft = torch.nn.functional.one_hot(labels, 7).float()
        torch.testing.assert_close(loss(logits, soft), loss(logits, labels))
