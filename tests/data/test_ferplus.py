"""FER+: the votes are read, counted as its authors count them, and joined to the right faces."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from make_layouts import LAYOUTS, NAMES, USAGES, MadeUp, made_up, write_parquet

from mien import cli
from mien.data import FaceStore, Votes, load, read_votes
from mien.data.ferplus import CHOICES, EIGHT, NO_FACE, ROWS, UNKNOWN, count_votes
from mien.errors import InputError

IN_FILE = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
    "unknown", "NF",
)  # fmt: skip
OURS = dict(
    zip(
        IN_FILE,
        ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt",
         "unknown", "no face"),
        strict=True,
    )
)  # fmt: skip
THEIRS = {ours: theirs for theirs, ours in OURS.items()}
HEADER = ",".join(("Usage", "Image name", *IN_FILE))
FILLER = "Training,fer.png,10,0,0,0,0,0,0,0,0,0"


def line(counts: dict[str, int], usage: str = "Training", name: str = "fer.png") -> str:
    return ",".join((usage, name, *(str(counts.get(column, 0)) for column in IN_FILE)))


def write(path: Path, lines: list[str], header: str = HEADER) -> Path:
    """A file as long as FER+'s that begins with these lines."""
    path.write_text("\n".join((header, *lines, *[FILLER] * (ROWS - len(lines)))) + "\n")
    return path


def of(*counts: dict[str, int]) -> Votes:
    """Votes, without a file."""
    table = [[given.get(THEIRS[choice], 0) for choice in CHOICES] for given in counts]
    return Votes(
        votes=np.array(table, np.uint8),
        rows=np.arange(len(counts)),
        splits=np.zeros(len(counts), np.uint8),
        has_face=np.ones(len(counts), np.bool_),
        source="made up",
    )


@pytest.mark.parametrize(
    ("counts", "majority", "shares"),
    [
        ({"happiness": 10}, "happy", {"happy": 1}),
        # sadness is an outlier: 4 of 9 is no majority; 4 + 3 of 9 is more than three quarters
        (
            {"neutral": 4, "anger": 3, "disgust": 2, "sadness": 1},
            "unknown",
            {"neutral": 4 / 7, "angry": 3 / 7},
        ),
        # what is struck does not count in the whole: 5 of 8 is a majority, 5 of 10 is not
        (
            {"neutral": 5, "sadness": 3, "anger": 1, "unknown": 1},
            "neutral",
            {"neutral": 5 / 8, "sad": 3 / 8},
        ),
        ({"neutral": 5, "sadness": 3, "anger": 2}, "unknown", {"neutral": 5 / 8, "sad": 3 / 8}),
        # ties
        ({"neutral": 4, "sadness": 4, "fear": 1}, "unknown", {"neutral": 1 / 2, "sad": 1 / 2}),
        (
            {"fear": 3, "surprise": 3, "sadness": 3, "anger": 1},
            "unknown",
            {"fear": 1 / 3, "surprise": 1 / 3, "sad": 1 / 3},
        ),
        ({"neutral": 4, "happiness": 2, "sadness": 2, "anger": 2}, "unknown", {}),  # four of them
        (dict.fromkeys(IN_FILE, 1), "unknown", {}),
        # three quarters exactly are enough: 6 of 8
        ({"fear": 6, "surprise": 2}, "fear", {"fear": 1}),
        # unknown and no face end it; with what leads them it is one half that is needed
        ({"unknown": 6, "sadness": 4}, "unknown", {}),
        ({"unknown": 4, "sadness": 4, "fear": 2}, "unknown", {}),
        (
            {"happiness": 4, "sadness": 3, "unknown": 3},
            "unknown",
            {"happy": 4 / 7, "sad": 3 / 7},
        ),
        (
            {"happiness": 6, "sadness": 2, "unknown": 2},
            "happy",
            {"happy": 3 / 4, "sad": 1 / 4},
        ),
        ({"happiness": 6, "unknown": 3}, "happy", {"happy": 1}),
        ({"happiness": 5, "unknown": 3, "sadness": 2}, "unknown", {}),
        ({"NF": 10}, "no face", {}),
        ({"NF": 6, "neutral": 4}, "no face", {}),
        ({"contempt": 7, "neutral": 3}, "contempt", {"contempt": 7 / 10, "neutral": 3 / 10}),
    ],
)
def test_majority_and_distribution_by_hand(
    counts: dict[str, int], majority: str, shares: dict[str, float]
) -> None:
    votes = of(counts)

    assert CHOICES[votes.majority()[0]] == majority
    assert votes.distributions().dtype == np.float32
    expected = [shares.get(name, 0) for name in EIGHT]
    np.testing.assert_allclose(votes.distributions()[0], expected, rtol=1e-6)


def step_by_step(counts: list[int]) -> tuple[int, list[float]]:
    """The authors' rules, followed one choice at a time. `counts` is in the order of `CHOICES`."""
    left = {choice: votes for choice, votes in enumerate(counts) if votes > 1}
    total = sum(left.values())
    most = [choice for choice, votes in left.items() if votes > total - votes]
    majority = most[0] if most else 8
    taken: dict[int, int] = {}
    over = False
    while left and sum(taken.values()) < 0.75 * total and len(taken) < 3 and not over:
        top = max(left.values())
        for choice in [choice for choice, votes in left.items() if votes == top]:
            del left[choice]
            if choice < 8:
                taken[choice] = top
            else:
                over = True
    shares = [0.0] * 8
    if len(taken) <= 3 and sum(taken.values()) > 0.5 * total:
        for choice, votes in taken.items():
            shares[choice] = votes / sum(taken.values())
    return majority - 10 if majority >= 8 else majority, shares


def test_majority_and_distribution_are_the_rules_followed_step_by_step() -> None:
    generator = np.random.default_rng(0)
    table = np.array(
        [
            generator.multinomial(10, generator.dirichlet(np.full(10, spread)))
            for spread in (0.05, 0.2, 0.5, 2)
            for _ in range(1500)
        ]
    )
    votes = dataclasses.replace(of(*[{}] * len(table)), votes=table.astype(np.uint8))

    expected = [step_by_step(row) for row in table.tolist()]

    assert len({majority for majority, _ in expected}) == 10  # every outcome occurs
    np.testing.assert_array_equal(votes.majority(), [majority for majority, _ in expected])
    np.testing.assert_allclose(votes.distributions(), [shares for _, shares in expected], atol=1e-6)


def test_one_annotator_against_the_others_is_what_leaving_out_each_gives() -> None:
    generator = np.random.default_rng(1)
    table = generator.multinomial(10, generator.dirichlet(np.full(10, 0.4), 300))
    votes = dataclasses.replace(of(*[{}] * 300), votes=table.astype(np.uint8))
    agreeing, annotators = 0.0, 0
    for row in table[:, :8].tolist():
        if sum(row) < 2:
            continue
        for chosen in [choice for choice, count in enumerate(row) for _ in range(count)]:
            others = list(row)
            others[chosen] -= 1
            leaders = [choice for choice in range(8) if others[choice] == max(others)]
            agreeing += (chosen in leaders) / len(leaders)
            annotators += 1

    assert votes.annotator_agreement() == pytest.approx(agreeing / annotators)
    assert of({"NF": 10}, {"sadness": 1, "unknown": 9}).annotator_agreement() is None


def test_a_file_is_read_by_its_column_names(tmp_path: Path) -> None:
    lines = [
        line({"anger": 3, "fear": 7}),
        line({"happiness": 9, "NF": 1}, "PublicTest"),
        line({"NF": 10}, "PrivateTest", ""),
    ]
    path = write(tmp_path / "votes.csv", lines)

    votes = read_votes(path)

    assert len(votes) == ROWS
    assert votes.votes.dtype == np.uint8
    assert votes.votes.shape == (ROWS, 10)
    first = [dict(zip(CHOICES, row, strict=True)) for row in votes.votes[:3].tolist()]
    assert [{k: n for k, n in row.items() if n} for row in first] == [
        {"angry": 3, "fear": 7},
        {"happy": 9, "no face": 1},
        {"no face": 10},
    ]
    assert votes.rows.tolist() == list(range(ROWS))
    assert votes.splits[:3].tolist() == [0, 1, 2]
    assert votes.has_face[:3].tolist() == [True, True, False]
    assert votes.majority()[:3].tolist() == [EIGHT.index("fear"), EIGHT.index("happy"), NO_FACE]
    # other column order, capitals, as Windows writes it: the same
    turned = [",".join(reversed(row.split(","))).upper() for row in path.read_text().splitlines()]
    text = "\r\n".join(turned).replace("NAME", "name") + "\r\n\r\n"
    (tmp_path / "turned.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    np.testing.assert_array_equal(read_votes(tmp_path / "turned.csv").votes, votes.votes)


def test_a_face_without_an_image_name_is_none_whatever_the_votes(tmp_path: Path) -> None:
    votes = read_votes(write(tmp_path / "votes.csv", [line({"happiness": 10}, name="")]))

    assert votes.majority()[:2].tolist() == [NO_FACE, EIGHT.index("neutral")]
    assert votes.distributions()[:2].any(axis=1).tolist() == [False, True]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"emotion,pixels,Usage\n0,1 2 3,Training\n", "no column Image name, neutral, happiness"),
        (HEADER.replace(",contempt", "").encode(), "no column contempt; give fer2013new.csv"),
        (b"", "no column Usage"),
        (f"{HEADER}\n{FILLER}\n".encode(), "1 row instead of FER+'s 35,887"),
        (b"PAR1\x00\xff\xfe\x15\x04", "not a table in text"),
        ((HEADER + "\n" + FILLER[:-4]).encode(), "line 2: cut short"),
        (HEADER + "\n" + line({"anger": -1, "fear": 11}), "line 2: '-1' is not a number of votes"),
        (HEADER + "\n" + FILLER.replace("10", "9.5"), "line 2: '9.5' is not a number of votes"),
        (
            HEADER + "\n" + FILLER.replace("10", "9" * 5000),
            "line 2: '99999999999999999999' is not a number of votes",
        ),
        (HEADER + "\n" + FILLER.replace("10", ""), "line 2: '' is not a number of votes"),
        (HEADER + "\n" + line({"anger": 6, "fear": 5}), "line 2: 11 votes of 10 annotators"),
        (HEADER + "\n" + line({}), "line 2: 0 votes of 10 annotators"),
        (HEADER + "\n" + line({"fear": 10}, "Trainig"), "line 2: unknown Usage 'Trainig'"),
    ],
)
def test_what_is_not_ferplus_is_refused(content: bytes | str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(InputError) as refused:
        read_votes(path)

    assert str(refused.value).startswith(str(path))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_votes(tmp_path / "none.csv")
    with pytest.raises(InputError, match="a folder, not a file"):
        read_votes(tmp_path)


def agreeing(faces: list[MadeUp]) -> list[str]:
    """A row of votes for each face, no two neighbours alike: nine or eight on its label."""
    return [
        line({THEIRS[NAMES[face.label]]: 9 - n % 2, "unknown": 1 + n % 2}, USAGES[face.split])
        for n, face in enumerate(faces)
    ]


@pytest.mark.parametrize(
    "layout", ["csv", "icml csv", "csv.gz", "challenge tar.gz", "challenge zip", "parquet"]
)
def test_votes_find_their_faces_by_row_number(layout: str, root: Path, tmp_path: Path) -> None:
    faces = made_up(63)
    store = load(LAYOUTS[layout](root, faces))
    votes = read_votes(write(tmp_path / "votes.csv", agreeing(faces)))

    joined = votes.join(store)

    order = np.random.default_rng(0).permutation(len(store))[:40]  # another order, and not all
    turned = votes[::-1].join(in_order(store, order))
    assert joined.rows.tolist() == list(range(63))
    assert joined.labels.tolist() == joined.majority().tolist() == [face.label for face in faces]
    assert joined.votes[:, CHOICES.index("unknown")].tolist() == [1 + n % 2 for n in range(63)]
    assert joined.splits.tolist() == [face.split for face in faces]
    for name in ("votes", "rows", "splits", "labels"):
        np.testing.assert_array_equal(getattr(turned, name), getattr(joined, name)[order])
        np.testing.assert_array_equal(getattr(joined[order], name), getattr(turned, name))


def test_a_part_of_the_faces_has_the_row_numbers_of_the_whole(root: Path, tmp_path: Path) -> None:
    faces = made_up(63)
    votes = read_votes(write(tmp_path / "votes.csv", agreeing(faces)))
    whole = pq.read_table(write_parquet(root / "whole.parquet", faces, row=True))
    part = whole.filter(np.array([face.split == 2 for face in faces]))
    (root / "part").mkdir()
    pq.write_table(part, root / "part" / "test.parquet")

    joined = votes.join(load(root / "part"))

    assert joined.rows.tolist() == [n for n, face in enumerate(faces) if face.split == 2]
    assert (joined.majority() == joined.labels).all()


def in_order(store: FaceStore, order: np.ndarray) -> FaceStore:
    names = ("pixels", "labels", "splits", "rows", "digests")
    return dataclasses.replace(store, **{name: getattr(store, name)[order] for name in names})


def test_labels_are_compared_by_name(root: Path, tmp_path: Path) -> None:
    faces = made_up(63)
    votes = read_votes(write(tmp_path / "votes.csv", agreeing(faces)))
    names = (*sorted(NAMES), "contempt")
    renamed = [MadeUp(names.index(NAMES[face.label]), face.split, face.pixels) for face in faces]

    joined = votes.join(load(LAYOUTS["csv"](root, renamed), labels=names))

    assert joined.labels.tolist() == [face.label for face in faces]


def another_row(store: FaceStore, face: int, name: str) -> FaceStore:
    rows = store.rows.astype("<U40")
    rows[face] = name
    return dataclasses.replace(store, rows=rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda store: another_row(store, 5, str(ROWS)), "row 35887 is not among the 35,887 rows"),
        (lambda store: another_row(store, 5, "999999999"), "row 999999999 is not among"),
        (lambda store: another_row(store, 5, "9" * 30), "not row numbers"),
        (lambda store: another_row(store, 5, "-1"), r"names \(-1\), not row numbers"),
        (
            lambda store: dataclasses.replace(store, splits=np.roll(store.splits, 1)),
            "row 0 is a test face, in .* a train face, and 27 rows differ",
        ),
        (
            lambda store: dataclasses.replace(store, labels=np.roll(store.labels, 1)),
            "only 0% of its labels agree with most annotators",
        ),
        (
            lambda store: dataclasses.replace(store, expressions=("calm", *NAMES[1:])),
            "no votes on calm, only on angry",
        ),
    ],
)  # fmt: skip
def test_a_store_that_does_not_match_is_refused(
    change: Callable[[FaceStore], FaceStore], words: str, root: Path, tmp_path: Path
) -> None:
    faces = made_up(189)
    store = load(LAYOUTS["csv"](root, faces))
    votes = read_votes(write(tmp_path / "votes.csv", agreeing(faces)))
    votes.join(store)

    with pytest.raises(InputError, match=words):
        votes.join(change(store))


@pytest.mark.parametrize("layout", ["class folders", "parquet shards"])
def test_faces_without_row_numbers_are_refused(layout: str, root: Path, tmp_path: Path) -> None:
    faces = made_up(21)
    votes = read_votes(write(tmp_path / "votes.csv", agreeing(faces)))

    with pytest.raises(InputError, match=r"not row numbers, by which FER\+ is joined"):
        votes.join(load(LAYOUTS[layout](root, faces)))


@pytest.mark.parametrize(("right", "refused"), [(20, False), (19, True)])
def test_a_join_stands_with_four_in_ten(
    right: int, refused: bool, root: Path, tmp_path: Path
) -> None:
    faces = [MadeUp(3, 0, face.pixels) for face in made_up(60)]
    lines = [line({"happiness": 10})] * right + [line({"sadness": 10})] * (50 - right)
    lines += [line({"sadness": 5, "fear": 5})] * 10  # no majority: not asked
    votes = read_votes(write(tmp_path / "votes.csv", lines))
    store = load(LAYOUTS["csv"](root, faces))

    if refused:
        with pytest.raises(InputError, match="only 38% of its labels"):
            votes.join(store)
    else:
        votes.join(store)
    votes.join(in_order(store, np.arange(40, 60)))  # too few to tell


def test_what_annotators_say_of_labels_by_hand(root: Path, tmp_path: Path) -> None:
    said = [  # label, votes, (share on the label, rejected)
        ("happy", {"happiness": 10}, (1.0, False)),
        ("happy", {"happiness": 4, "neutral": 6}, (0.4, True)),  # a majority for another
        ("happy", {"happiness": 3, "neutral": 4, "sadness": 3}, (0.3, False)),  # none
        ("sad", {"sadness": 1, "neutral": 4, "anger": 5}, (0.1, True)),  # 5 of 9: a majority
        ("sad", {"sadness": 1, "neutral": 4, "anger": 4}, (1 / 9, True)),  # one of nine
        ("sad", {"unknown": 8, "sadness": 2}, (0.2, False)),
        ("sad", {"NF": 10}, (0.0, True)),
        ("angry", {"contempt": 6, "anger": 4}, (0.4, True)),
        ("sad", {"NF": 6, "sadness": 4}, (0.4, True)),
    ]
    faces = [
        MadeUp(NAMES.index(label), 0 if n < 6 else 1, face.pixels)
        for n, ((label, *_), face) in enumerate(zip(said, made_up(len(said)), strict=True))
    ]
    lines = [
        line(counts, USAGES[face.split], "" if counts.get("NF") == 10 else "fer.png")
        for (_, counts, _), face in zip(said, faces, strict=True)
    ]
    path, data = write(tmp_path / "votes.csv", lines), LAYOUTS["csv"](root, faces)

    joined = read_votes(path).join(load(data))
    counts = count_votes(joined)

    np.testing.assert_allclose(joined.label_votes(), [share for *_, (share, _) in said])
    assert joined.rejected().tolist() == [rejected for *_, (_, rejected) in said]
    assert list(counts) == ["train", "validation"]
    train, validation = counts.values()
    assert dataclasses.asdict(train) | {"confusion": 0, "annotator_agreement": 0} == {
        "faces": 6, "no_face": 0, "unknown": 3, "contempt": 0, "decided": 3, "differs": 2,
        "rejected": 3, "annotator_agreement": 0, "confusion": 0,
    }  # fmt: skip
    assert {k: {n: c for n, c in row.items() if c} for k, row in train.confusion.items()} == {
        "happy": {"happy": 1, "neutral": 1, "unknown": 1},
        "sad": {"angry": 1, "unknown": 2},
    }
    # six of ten see contempt lead as they say, four do not; all of four who say sad agree
    assert validation.annotator_agreement == pytest.approx((6 + 4) / (10 + 4))
    assert (validation.no_face, validation.contempt, validation.differs) == (2, 1, 1)


def test_inspect_shows_the_votes(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = made_up(63)
    data = LAYOUTS["csv"](root, faces)
    path = write(tmp_path / "votes.csv", agreeing(faces))

    assert cli.run(["data", "inspect", str(data), "--votes", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["votes"]
    assert cli.run(["data", "inspect", str(data), "--votes", str(path)]) == 0
    shown = capsys.readouterr().out

    assert [said[split]["decided"] for split in ("train", "validation", "test")] == [21, 21, 21]
    assert said["test"]["confusion"]["sad"]["sad"] == 3
    assert said["test"]["annotator_agreement"] == 1
    assert "FER+" in shown
    assert "100%" in shown


def test_inspect_refuses_votes_before_it_reads_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*_: object, **__: object) -> None:
        raise AssertionError("the data were read")

    monkeypatch.setattr("mien.api.load", too_late)

    assert cli.run(["data", "inspect", "any", "--votes", str(tmp_path / "none.csv")]) == 2
    assert "none.csv: no such file or folder; check the path" in capsys.readouterr().err


@pytest.mark.real
@pytest.mark.skipif("MIEN_DATA" not in os.environ, reason="MIEN_DATA is not set")
def test_the_real_votes_are_those_that_are_known() -> None:
    data = Path(os.environ["MIEN_DATA"])
    votes, store = read_votes(data / "fer2013new.csv"), load(data)

    joined = votes.join(store)
    counts = count_votes(joined).values()

    assert (votes.votes.sum(axis=1) != 10).sum() == 1
    assert [int((~votes.has_face & (votes.splits == n)).sum()) for n in range(3)] == [148, 10, 15]
    assert (joined.splits == store.splits).all()
    assert [(by.no_face, by.unknown, by.contempt, by.decided) for by in counts] == [
        (150, 3499, 119, 25_060),
        (10, 380, 13, 3199),
        (16, 420, 16, 3153),
    ]
    assert [(by.differs, by.rejected) for by in counts] == [
        (8091, 9312),
        (1063, 1201),
        (1038, 1180),
    ]
    assert [round(by.annotator_agreement or 0, 4) for by in counts] == [0.7334, 0.7628, 0.7451]
    kept = joined.distributions().any(axis=1)
    assert [int(kept[joined.splits == n].sum()) for n in range(3)] == [27_956, 3505, 3505]
    assert UNKNOWN in joined.majority()[kept]  # a distribution does not need a majority


@pytest.mark.parametrize("missing", [30, 800])
def test_votes_behind_a_missing_row_are_refused(missing: int, root: Path, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).permutation(np.arange(1050) % 7)
    faces = [
        dataclasses.replace(face, label=int(label), split=0)
        for face, label in zip(made_up(1050, 2, 2), labels, strict=True)
    ]
    votes = read_votes(write(tmp_path / "votes.csv", agreeing(faces)))
    assert len(votes.join(load(LAYOUTS["csv"](root, faces)))) == 1050
    (root / "cut").mkdir()
    cut = load(LAYOUTS["csv"](root / "cut", faces[:missing] + faces[missing + 1 :]))

    with pytest.raises(InputError, match=r"a row may be missing|labels agree with most") as refused:
        votes.join(cut)
    if missing == 800:  # most of the faces agree
        assert "from about row 800 on" in str(refused.value)


@pytest.mark.real
@pytest.mark.skipif("MIEN_DATA" not in os.environ, reason="MIEN_DATA is not set")
@pytest.mark.parametrize("shuffled", ["a row too far", "shuffled"])
def test_the_real_votes_are_refused_in_another_order(shuffled: str) -> None:
    data = Path(os.environ["MIEN_DATA"])
    votes, store = read_votes(data / "fer2013new.csv"), load(data)
    generator = np.random.default_rng(0)
    rows = store.rows.astype("<U9")
    for split in range(3):  # within their split, so that no Usage gives it away
        members = np.flatnonzero(store.splits == split)
        moved = (
            np.roll(members, 1) if shuffled == "a row too far" else generator.permutation(members)
        )
        rows[members] = rows[moved]

    with pytest.raises(InputError, match="only 18% of its labels"):
        votes.join(dataclasses.replace(store, rows=rows))


@pytest.mark.real
@pytest.mark.skipif("MIEN_DATA" not in os.environ, reason="MIEN_DATA is not set")
@pytest.mark.parametrize("missing", [14_000, 32_298])
def test_the_real_votes_are_refused_behind_a_missing_row(missing: int) -> None:
    data = Path(os.environ["MIEN_DATA"])
    votes, store = read_votes(data / "fer2013new.csv"), load(data)
    cut = in_order(store, np.delete(np.argsort(store.rows.astype(int)), missing))
    rows = np.arange(len(cut)).astype("<U9")
    splits = votes.splits[: len(cut)]  # so that only the labels give it away

    with pytest.raises(InputError, match=r"a row may be missing|labels agree with most"):
        votes.join(dataclasses.replace(cut, rows=rows, splits=splits))
