"""Published sets, each read from its own layout: small ones made on the spot, as the sets' descriptions have them."""

from __future__ import annotations

import io
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_layouts import MadeUp, encoded, made_up, write_files, write_tar, write_zip

import mien.cli
from mien.data import SPLITS, FaceStore, load
from mien.data.reading import FOUND, UnknownClassesError
from mien.errors import InputError
from mien.evaluation.across import mapped
from mien.expressions import SEVEN

pytestmark = pytest.mark.usefixtures("cache")
EIGHT = (*SEVEN, "contempt")
#: As the sets' own papers count; written anew here, so that a slip in the readers is seen.
RAF = {1: "surprise", 2: "fear", 3: "disgust", 4: "happy", 5: "sad", 6: "angry", 7: "neutral"}
AFFECTNET = dict(
    enumerate(["neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"])
)
CK = dict(
    enumerate(["neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise"])
)
FERPLUS = ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"]

Files = dict[str, bytes]
Expected = Counter[tuple[bytes, str, str]]


def contents(store: FaceStore) -> Expected:
    return Counter(
        (pixels.tobytes(), store.expressions[label], SPLITS[split])
        for pixels, label, split in zip(store.pixels, store.labels, store.splits, strict=True)
    )


def pixels(count: int, seed: int = 0) -> list[np.ndarray]:
    return [face.pixels for face in made_up(count, seed=seed)]


def raf_db(aligned: bool = True, seed: int = 0) -> tuple[Files, Expected]:
    files, lines, expected = {}, [], Expected()
    for n, face in enumerate(pixels(21, seed)):
        number, split = n % 7 + 1, n // 14
        name = f"train_{n + 1:05}" if split == 0 else f"test_{n + 1:04}"
        lines.append(f"{name}.jpg {number}")
        place = f"aligned/{name}_aligned" if aligned else f"original/{name}"
        files[f"basic/Image/{place}.jpg"] = encoded(face)
        expected[face.tobytes(), RAF[number], SPLITS[2 * split]] += 1
    files["basic/EmoLabel/list_patition_label.txt"] = "\r\n".join(lines).encode()
    files["basic/Annotation/manual/train_00001_manu_attri.txt"] = b"1 2\n"
    return files, expected


def raf_db_in_folders() -> tuple[Files, Expected]:
    files, expected = {"train_labels.csv": b"image,label\n"}, Expected()
    for n, face in enumerate(pixels(21)):
        number, split = n % 7 + 1, n // 14
        name = f"train_{n + 1:05}" if split == 0 else f"test_{n + 1:04}"
        folder = ("train", "test")[split]
        files[f"DATASET/{folder}/{number}/{name}_aligned.jpg"] = encoded(face)
        expected[face.tobytes(), RAF[number], SPLITS[2 * split]] += 1
    return files, expected


def npy(value: object) -> bytes:
    out = io.BytesIO()
    np.save(out, np.asarray(value))
    return out.getvalue()


def affectnet(as_text: bool = True) -> tuple[Files, Expected]:
    files, expected = {}, Expected()
    for n, face in enumerate(pixels(24)):
        number, split = n % 8, n // 16
        base = f"AffectNet/{('train_set', 'val_set')[split]}"
        files[f"{base}/images/{n}.jpg"] = encoded(face)
        files[f"{base}/annotations/{n}_exp.npy"] = npy(str(number) if as_text else number)
        files[f"{base}/annotations/{n}_val.npy"] = npy(0.5)
        files[f"{base}/annotations/{n}_lnd.npy"] = npy(np.zeros(136))
        expected[face.tobytes(), AFFECTNET[number], SPLITS[split]] += 1
    return files, expected


def ck_plus() -> tuple[Files, Expected]:
    files, expected = {}, Expected()
    faces = iter(pixels(60))
    for n in range(10):
        person, take = f"S{n + 10:03}", f"{n % 2 + 1:03}"
        frames = [next(faces) for _ in range(3)]
        for frame, face in enumerate(frames, 1):
            name = f"{person}_{take}_{frame:08}"
            files[f"cohn-kanade-images/{person}/{take}/{name}.png"] = encoded(face)
        if n < 7:  # the others have no label
            text = f"   {n + 1}.0000000e+00\n".encode()
            files[f"Emotion/{person}/{take}/{person}_{take}_00000003_emotion.txt"] = text
            expected[frames[0].tobytes(), "neutral", "train"] += 1
            expected[frames[2].tobytes(), CK[n + 1], "train"] += 1
    return files, expected


def ck_48() -> tuple[Files, Expected]:
    files, expected = {}, Expected()
    names = {"angry": "anger", "sad": "sadness"}
    for n, face in enumerate(pixels(14)):
        name = CK[n % 7 + 1]
        files[f"CK+48/{names.get(name, name)}/S{n:03}_001_00000012.png"] = encoded(face)
        expected[face.tobytes(), name, "train"] += 1
    return files, expected


def fer_plus(box: bool = True) -> tuple[Files, Expected]:
    files, expected = {}, Expected()
    for split, folder in enumerate(("FER2013Train", "FER2013Valid", "FER2013Test")):
        lines = []
        for n, face in enumerate(pixels(11, seed=split)):
            votes = [0] * 10
            if n < 8:
                votes[n], votes[(n + 1) % 8] = 7, 3
                expected[face.tobytes(), FERPLUS[n], SPLITS[split]] += 1
            elif n < 10:
                votes[n] = 10  # unknown, no face
            else:
                votes[:2] = 5, 5  # no majority
            name = f"fer{n:07}.png"
            lines.append(",".join([name, *['"(0, 0, 48, 48)"'] * box, *map(str, votes)]))
            files[f"data/{folder}/{name}"] = encoded(face)
        files[f"data/{folder}/label.csv"] = "\n".join(lines).encode()
    return files, expected


#: Name -> (what writes it, the layout that it is read as, its label set).
SETS: dict[str, tuple[Callable[[], tuple[Files, Expected]], str, tuple[str, ...]]] = {
    "RAF-DB": (raf_db, "RAF-DB, by its list", SEVEN),
    "RAF-DB, originals": (lambda: raf_db(aligned=False), "RAF-DB, by its list", SEVEN),
    "RAF-DB in folders": (raf_db_in_folders, "RAF-DB, in folders", SEVEN),
    "AffectNet": (affectnet, "AffectNet, npy annotations", EIGHT),
    "AffectNet of numbers": (lambda: affectnet(as_text=False), "AffectNet, npy annotations", EIGHT),
    "CK+": (ck_plus, "CK+, sequences", EIGHT),
    "CK+48": (ck_48, "CK+, in class folders", EIGHT),
    "FER+": (fer_plus, "FER+, Microsoft's folders", EIGHT),
    "FER+ without boxes": (lambda: fer_plus(box=False), "FER+, Microsoft's folders", EIGHT),
}


@pytest.mark.parametrize("write", [write_files, write_zip, write_tar])
@pytest.mark.parametrize("name", SETS)
def test_a_published_set_is_read_by_its_own_layout(
    name: str, write: Callable[..., Path], root: Path
) -> None:
    make, layout, expressions = SETS[name]
    files, expected = make()
    path = root / "given"

    store = load(write(path, files))

    assert contents(store) == expected
    assert store.layout == layout
    assert store.expressions == expressions


@pytest.mark.parametrize("name", SETS)
def test_the_mapping_its_source_and_the_terms_are_told(name: str, root: Path) -> None:
    store = load(write_files(root, SETS[name][0]()[0]))

    told = " ".join(store.notes)
    assert f"taken for {store.layout.split(',')[0]}: " in told
    assert "not tried on the real files" in told
    assert "handed on" in told or "hand them on" in told


def test_inspect_says_which_set_it_is(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mien.cli.run(["data", "inspect", str(write_files(root, affectnet()[0]))]) == 0

    told = " ".join("".join(capsys.readouterr()).split())
    assert "AffectNet, npy annotations" in told
    assert "taken for AffectNet: 0 neutral, 1 happy" in told
    assert "no commercial use, not to be handed on" in told


def test_a_set_that_lies_there_twice_is_read_once(root: Path) -> None:
    files, expected = raf_db()

    store = load(write_files(root, files | {f"RAF/{name}": data for name, data in files.items()}))

    assert contents(store) == expected
    assert any("they are read once" in note for note in store.notes)


# Label sets


def test_labels_leave_expressions_out_and_it_is_told(root: Path) -> None:
    files, expected = affectnet()

    store = load(write_files(root, files), labels=SEVEN)

    assert store.expressions == SEVEN
    assert contents(store) == Counter({k: n for k, n in expected.items() if k[1] != "contempt"})
    assert "faces of AffectNet that are left out: 3 contempt" in store.notes


def test_labels_with_more_than_a_set_has_are_read(root: Path) -> None:
    files, expected = raf_db()

    store = load(write_files(root, files), labels=EIGHT)

    assert store.expressions == EIGHT
    assert contents(store) == expected


def test_labels_of_another_kind_are_refused(root: Path) -> None:
    with pytest.raises(UnknownClassesError, match="taken for RAF-DB, whose expressions are angry"):
        load(write_files(root, raf_db()[0]), labels=("calm", "tense"))


def test_the_names_found_are_the_sets_own(root: Path) -> None:
    assert load(write_files(root, affectnet()[0]), labels=FOUND).expressions == EIGHT


def test_labels_that_are_no_expression_are_left_out_and_told(root: Path) -> None:
    files = {"train_set/images/1.jpg": encoded(pixels(1)[0])}
    for n, number in enumerate((3, 8, 9, 10)):
        files[f"train_set/images/{n}.jpg"] = encoded(pixels(1, seed=n)[0])
        files[f"train_set/annotations/{n}_exp.npy"] = npy(number)

    store = load(write_files(root, files))

    assert len(store) == 1
    assert "faces of AffectNet that are left out: 3 without an expression" in store.notes


def test_a_network_of_seven_is_scored_on_a_set_of_eight_by_a_map(root: Path) -> None:
    store = load(write_files(root, affectnet()[0]))
    faces = store.faces(np.arange(len(store)))

    kept, across = mapped(faces, {"contempt": None}, SEVEN, "all")

    assert (len(kept), across.left_out) == (21, {"contempt": 3})
    with pytest.raises(InputError, match='--map "contempt="'):
        mapped(faces, {}, SEVEN, "all")


# What can be wrong


LIST = "basic/EmoLabel/list_patition_label.txt"
LABEL = "AffectNet/train_set/annotations/3_exp.npy"
EMOTION = "Emotion/S010/001/S010_001_00000003_emotion.txt"
TABLE = "data/FER2013Train/label.csv"

#: What is wrong -> (the set, the file, its bytes, words of the refusal).
WRONG: dict[str, tuple[Callable[[], tuple[Files, Expected]], str, bytes, str]] = {
    "RAF-DB: a number that it has not": (
        raf_db, LIST, b"train_00001.jpg 8\n", "line 1: label 8 is not one of RAF-DB's .1 surprise"
    ),
    "RAF-DB: another split": (
        raf_db,
        LIST,
        b"train_00001.jpg 1\nvalue_00002.jpg 2\n",
        "unknown beginning of a name 'value' in line 2",
    ),
    "RAF-DB: a line that is none": (raf_db, LIST, b"train_00001.jpg\n", "line 1: not a picture"),
    "RAF-DB: two labels": (
        raf_db,
        LIST,
        b"train_00001.jpg 1\ntrain_00001.jpg 2\n",
        "line 2: train_00001.jpg is 2 here and 1 above",
    ),
    "RAF-DB: an empty list": (raf_db, LIST, b"\n", "lists no picture"),
    "AffectNet: a number that it has not": (
        affectnet, LABEL, npy(11), "3_exp.npy: label 11 is not one of AffectNet's"
    ),
    "AffectNet: half a number": (affectnet, LABEL, npy(1.5), "label 1.5 is not one"),
    "AffectNet: two numbers": (affectnet, LABEL, npy([1, 2]), "3_exp.npy: not one number"),
    "AffectNet: no array": (affectnet, LABEL, b"3", "3_exp.npy: not one number"),
    "AffectNet: an array of objects": (
        affectnet, LABEL, npy(np.array([{}], object)), "3_exp.npy: not one number"
    ),
    "AffectNet: a pickle": (affectnet, LABEL, pickle.dumps(3), "3_exp.npy: not one number"),
    "AffectNet: an absurd array": (affectnet, LABEL, npy(np.zeros(9999)), "more than 2048 bytes"),
    "CK+: no number": (ck_plus, EMOTION, b"happy", "'happy' is no label"),
    "CK+: a number that it has not": (ck_plus, EMOTION, b"9.0", "label 9 is not one of CK"),
    "FER+: too few columns": (fer_plus, TABLE, b"a.png,1,2\n", "line 1: 3 columns"),
    "FER+: no number": (
        fer_plus, TABLE, b"a.png," + b"x," * 9 + b"1\n", "line 1: 'x' is not a number of votes"
    ),
    "FER+: too many votes": (
        fer_plus, TABLE, b"a.png," + b"9," * 9 + b"1\n", "line 1: 82 votes of 10"
    ),
    "FER+: an empty table": (fer_plus, TABLE, b"", "names no picture"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_set_is_one_sentence(what: str, root: Path) -> None:
    make, name, data, words = WRONG[what]

    with pytest.raises(InputError, match=words) as caught:
        load(write_files(root, make()[0] | {name: data}))

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [raf_db, affectnet, ck_plus, fer_plus])
def test_labels_without_pictures_are_refused(
    make: Callable[[], tuple[Files, Expected]], root: Path
) -> None:
    files = {name: data for name, data in make()[0].items() if not name.endswith((".jpg", ".png"))}

    with pytest.raises(InputError, match=r"none of the .* pictures that it names is there"):
        load(write_files(root, files))


@pytest.mark.parametrize("make", [raf_db, affectnet, ck_plus, fer_plus])
def test_a_picture_that_is_listed_and_not_there_counts_as_damaged(
    make: Callable[[], tuple[Files, Expected]], root: Path
) -> None:
    files, expected = make()
    gone = next(name for name in files if name.endswith(("00003.png", ".jpg", "0000.png")))
    del files[gone]

    with pytest.raises(InputError, match="which is not there; or leave it out with --skip-damaged"):
        load(write_files(root, files))
    assert len(load(root, skip_damaged=True)) == expected.total() - 1


def test_pictures_of_raf_db_without_its_list_are_refused(root: Path) -> None:
    files = {k: v for k, v in raf_db()[0].items() if not k.endswith(".txt")}

    with pytest.raises(InputError, match=r"RAF-DB's pictures without their labels.*EmoLabel"):
        load(write_files(root, files))


def test_raf_dbs_own_test_faces_that_would_train_are_told(root: Path) -> None:
    files = {name.replace("/test/", "/train/"): d for name, d in raf_db_in_folders()[0].items()}

    store = load(write_files(root, files))

    assert not store.splits.any()
    assert any("7 pictures of RAF-DB's test set" in note for note in store.notes)


def test_one_of_ferplus_folders_alone_keeps_its_split(root: Path) -> None:
    store = load(write_files(root, fer_plus()[0]) / "data" / "FER2013Test")

    assert set(store.splits.tolist()) == {2}
    assert len(store) == 8


def test_folders_of_numbers_that_are_nobodys_stay_refused(root: Path) -> None:
    faces = made_up(7)
    files = {f"train/{face.label}/{n}.jpg": encoded(face.pixels) for n, face in enumerate(faces)}

    with pytest.raises(InputError, match="do not tell which expressions they are"):
        load(write_files(root, files))


@pytest.mark.parametrize("folder", ["val_set", "valset", "FER2013Valid", "dev-data", "images_val"])
def test_folders_of_validation_faces_go_by_many_names(folder: str, root: Path) -> None:
    face = MadeUp(0, 1, pixels(1)[0])

    store = load(write_files(root, {f"{folder}/angry/1.png": encoded(face.pixels)}))

    assert store.splits.tolist() == [1]
