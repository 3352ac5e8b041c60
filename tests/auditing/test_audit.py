"""The audit: what was put into the data is found, said and listed, and what was not is not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from make_photos import SAME, cut, photo, store_of
from mien import cli
from mien.auditing.audit import audit
from mien.auditing.findings import of_copies, of_pictures, of_votes
from mien.auditing.page import write_audit
from mien.auditing.tones import faceless, measure_tones
from mien.data import load
from mien.data.copies import NO_PAIRS
from mien.data.exclusions import read_exclusions
from mien.data.ferplus import CHOICES, LabelledVotes
from mien.errors import InputError
from mien.evaluation import faces_to_score
from mien.runs import RunFolder


@pytest.fixture
def mien(capsys):
    def run(*arguments):
        status = cli.run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def named(findings, name):
    (finding,) = [one for one in findings if one.name == name]
    return finding


def listed(finding):
    return finding.faces[finding.excludes].tolist()


def written_page():
    """What a page that is no photograph looks like: black lines on white."""
    page = np.full((48, 48), 255, np.uint8)
    page[8:40:6, 6:40:3] = 0
    return page


def test_bad_pictures_are_told_apart():
    photos = [cut(photo(seed)) for seed in range(5)]
    dark, bright = (photos[n] // 8 + level for n, level in ((1, 5), (2, 223)))
    gray = photos[3] // 20 + 120
    store = store_of([*photos, np.full((48, 48), 7, np.uint8), written_page(), dark, bright, gray])
    found = of_pictures(measure_tones(store), np.array([False, True] + [False] * 8))
    assert {one.name: one.faces.tolist() for one in found} == {
        "blank": [5],
        "not a photograph": [6],
        "no face found": [1],
        "dark": [7],
        "bright": [6, 8] if written_page().mean() > 220 else [8],
        "little contrast": [
            9,
            *([7] if dark.std() < 15 else []),
            *([8] if bright.std() < 15 else []),
        ],
    }
    assert {one.name for one in found if one.excludes.any()} == {"blank", "not a photograph"}


def test_a_detector_finds_drawn_faces_and_none_in_noise():
    drawn = load("synthetic:70")
    noise = store_of(
        [cut(photo(seed)) for seed in range(20)] + [drawn.pixels[n] for n in range(20)]
    )
    found = faceless(noise)
    assert found[:20].all()
    assert found[20:].mean() < 0.2


def test_of_copies_one_stays_a_test_face_first():
    face = cut(photo(0))
    store = store_of([face] * 4 + [cut(photo(1))], [3, 3, 3, 3, 3], [0, 1, 2, 0, 0])
    copies, doubted = of_copies(store, NO_PAIRS)
    assert sorted(copies.faces.tolist()) == [0, 1, 2, 3]
    assert sorted(listed(copies)) == [0, 1, 3]
    assert set(copies.notes) == {"exact copy of 2", "has copies, stays"}
    assert not len(doubted)


def test_of_copies_with_different_labels_only_a_majority_stays():
    one, other = cut(photo(0)), cut(photo(1))
    store = store_of([one, one, one, other, other], [3, 3, 4, 0, 1], [0, 0, 2, 0, 0])
    copies, doubted = of_copies(store, NO_PAIRS)
    assert sorted(listed(copies)) == [1, 2]  # of the two that agree the first stays
    assert sorted(doubted.faces.tolist()) == [0, 1, 2, 3, 4]
    assert sorted(listed(doubted)) == [3, 4]
    assert any("happy 2, sad 1" in note for note in doubted.notes)


def test_near_copies_are_named_as_such():
    store = store_of([cut(photo(0)), SAME["mirrored"](photo(0))], None, [2, 0])
    copies, _ = of_copies(store, np.array([[0, 1]]))
    assert dict(zip(copies.faces.tolist(), copies.notes, strict=True))[1] == "near copy of 0"
    assert listed(copies) == [1]


def test_votes_reject_labels_and_pictures_without_a_face():
    table = np.zeros((3, len(CHOICES)), np.uint8)
    table[0, CHOICES.index("happy")] = 10  # as labelled
    table[1, CHOICES.index("sad")] = 10  # labelled happy
    table[2, CHOICES.index("no face")] = 10
    votes = LabelledVotes(
        table,
        np.arange(3),
        np.zeros(3, np.uint8),
        np.array([True, True, False]),
        "made up",
        np.full(3, 3),
    )
    without, rejected = of_votes(votes)
    assert (without.faces.tolist(), rejected.faces.tolist()) == ([2], [1])
    assert rejected.notes == ("most name sad, 0% the label",)
    assert listed(without) + listed(rejected) == [2, 1]


def test_the_files_say_what_was_found(tmp_path):
    faces = [cut(photo(seed)) for seed in range(6)]
    faces += [SAME["shifted"](photo(0)), faces[1], np.zeros((48, 48), np.uint8)]
    store = store_of(faces, [0, 1, 2, 3, 4, 5, 0, 1, 6], [2, 0, 0, 0, 0, 0, 0, 1, 0])
    seen = []
    found = audit(store, progress=lambda *said: seen.append(said))
    write_audit(found, tmp_path / "out")

    content = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert (content["exact_copies"]["groups"], content["copies"]["groups"]) == (1, 2)
    assert content["copies"]["with_copy_in_train"] == {"validation": 1, "test": 1}
    assert content["findings"]["copies"]["rows"]["6"] == "near copy of 0"
    assert content["findings"]["blank"]["rows"] == {"8": "gray level 0"}
    assert content["excluded"] == 3
    excluded = read_exclusions(tmp_path / "out" / "exclusions.csv")
    assert excluded.rows.keys() == {"6", "1", "8"}
    assert len(excluded.applied(store.faces(np.arange(9)))) == 6
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "<strong>3</strong> faces on the list" in page
    assert page.count("data:image/png;base64,") == sum(len(one) for one in found.findings)
    assert "http" not in page.replace("http-equiv", "")
    assert {name for name, _, _ in seen} == {"copies", "pictures"}


def test_a_list_that_was_edited_is_not_replaced(tmp_path):
    faces = [cut(photo(0)), cut(photo(0)), cut(photo(1))]
    found = audit(store_of(faces, [0, 0, 1], [0, 0, 0]))
    write_audit(found, tmp_path)
    write_audit(found, tmp_path)  # as it was written
    listed = tmp_path / "exclusions.csv"
    kept = "".join(listed.read_text().splitlines(keepends=True)[:-1])
    listed.write_text(kept)
    with pytest.raises(InputError, match=r"exclusions\.csv: was edited"):
        write_audit(found, tmp_path)
    assert listed.read_text() == kept
    listed.unlink()
    write_audit(found, tmp_path)
    assert listed.read_text() != kept


def test_the_list_is_taken_by_train_and_evaluate(mien, tmp_path):
    data = "synthetic:100"
    status, out, err = mien("data", "audit", data, "--out", tmp_path / "audit", "--json")
    assert status == 0, err
    store = load(data)
    rows = [str(store.rows[n]) for n in (0, 5, 7)]
    path = tmp_path / "audit" / "exclusions.csv"
    assert json.loads(out)["data"]["fingerprint"] in path.read_text()
    path.write_text(path.read_text() + "".join(f"{row},train,happy,by hand\n" for row in rows))
    validation = str(store.rows[np.flatnonzero(store.splits == 1)[0]])
    path.write_text(path.read_text() + f"{validation},validation,sad,by hand\n")

    run = tmp_path / "run"
    status, _, err = mien(
        "train", "basic-cnn", "--data", data, "--set", "epochs=1", "--device", "cpu",
        "--set", "split.holdout=none", "--out", run, "--exclude", path,
    )  # fmt: skip
    assert status == 0, err
    environment = json.loads((run / "environment.json").read_text())
    assert environment["exclude"]["faces"] == 3
    assert environment["data"]["counts"]["train"] == (store.splits == 0).sum() - 3
    assert environment["data"]["counts"]["validation"] == (store.splits == 1).sum()
    assert (run / "exclusions.csv").read_bytes() == path.read_bytes()

    faces, trained = faces_to_score(RunFolder.open(run), store, "validation")
    assert len(trained) == (store.splits == 0).sum() - 3

    status, out, err = mien("evaluate", run, "--device", "cpu", "--json", "--exclude", path)
    assert status == 0, err
    counts = json.loads(out)["evaluations"][0]["counts"]
    assert (counts["faces"], counts["training_faces"]) == (len(faces) - 1, len(trained))
    assert not (run / "evaluation-validation.json").exists()


def test_a_list_of_other_data_leaves_nothing_behind(mien, tmp_path):
    path = tmp_path / "exclusions.csv"
    path.write_text(f"# mien exclusions, data fingerprint {'0' * 64}\nrow,reason\n1,copy\n")
    out = tmp_path / "run"
    status, _, err = mien(
        "train", "basic-cnn", "--data", "synthetic:100", "--out", out, "--exclude", path
    )
    assert (status, err.count("\n")) == (2, 1)
    assert "lists faces of other data" in err
    assert not out.exists()


def test_mistakes_end_in_a_sentence(mien, tmp_path):
    status, _, err = mien("data", "audit", "synthetic:100", "--budget", "3")
    assert (status, "add --cross-validate" in err) == (2, True)
    votes = tmp_path / "votes.csv"
    votes.write_text("a,b\n1,2\n")
    status, _, err = mien(
        "data", "audit", "synthetic:100", "--votes", votes, "--out", tmp_path / "a"
    )
    assert (status, "no FER+ votes" in err) == (2, True)
    assert not (tmp_path / "a").exists()
