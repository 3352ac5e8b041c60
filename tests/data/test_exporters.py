"""Tables and trees as people's programs write them: read right, or refused; never a silent wrong answer."""

from __future__ import annotations

import builtins
import io
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_layouts import (
    FOLDERS,
    LAYOUTS,
    NAMES,
    MadeUp,
    class_label,
    csv_text,
    encoded,
    image_files,
    made_up,
    write_files,
    write_parquet,
    write_tar,
    write_zip,
)

from mien.data import SPLITS, FaceStore, load
from mien.data.reading import FOUND
from mien.data.sources import LAYOUTS as READERS
from mien.errors import InputError

pytestmark = pytest.mark.usefixtures("cache")
FACES = made_up()
TEXT = csv_text(FACES)
USAGES = ("Training", "PublicTest", "PrivateTest")


def contents(store: FaceStore) -> Counter[tuple[bytes, str, str]]:
    return Counter(
        (pixels.tobytes(), store.expressions[label], SPLITS[split])
        for pixels, label, split in zip(store.pixels, store.labels, store.splits, strict=True)
    )


def expected(faces: list[MadeUp]) -> Counter[tuple[bytes, str, str]]:
    return Counter((face.pixels.tobytes(), NAMES[face.label], SPLITS[face.split]) for face in faces)


def a_csv(root: Path, text: str, encoding: str = "utf-8") -> Path:
    return write_files(root, {"a.csv": text.encode(encoding)}) / "a.csv"


def with_column(name: str, values: tuple[str, str, str] = USAGES) -> str:
    text = TEXT.replace("Usage", name, 1)
    for old, new in zip(USAGES, values, strict=True):
        text = text.replace(f",{old}\n", f",{new}\n")
    return text


@pytest.mark.parametrize(
    "name", ["split", "Split", "set", "subset", "usage_type", "Usagé", "USAGE"]
)
def test_columns_of_splits_go_by_many_names(name: str, root: Path) -> None:
    path = a_csv(root, with_column(name, ("train", "val", "Test")))

    assert contents(load(path)) == expected(FACES)


def test_a_column_name_in_the_code_of_windows_is_understood(root: Path) -> None:
    assert contents(load(a_csv(root, with_column("Usagé"), "cp1252"))) == expected(FACES)


def test_a_column_that_reads_like_splits_and_has_another_name_is_refused(root: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: column 'phase' holds 'train'.*rename"):
        load(a_csv(root, with_column("phase", ("train", "val", "test"))))


def test_such_a_column_of_a_parquet_is_refused_too(root: Path) -> None:
    import pyarrow.parquet as pq

    path = write_parquet(root / "a.parquet", FACES)
    pq.write_table(pq.read_table(path).rename_columns(["image", "label", "phase"]), path)

    with pytest.raises(InputError, match="column 'phase' holds 'Training'"):
        load(path)


def test_unknown_splits_are_named_with_their_rows(root: Path) -> None:
    lines = TEXT.splitlines()
    for number in (3, 9, 12):
        lines[number - 1] = lines[number - 1].rsplit(",", 1)[0] + ",later"

    with pytest.raises(InputError, match=r"unknown Usage 'later' in lines 3, 9, 12; it has to be"):
        load(a_csv(root, "\n".join(lines) + "\n"))


@pytest.mark.parametrize("header", ["emotion,label,pixels,Usage", "emotion,pixels,Usage,split"])
def test_two_columns_for_one_thing_are_refused(header: str, root: Path) -> None:
    with pytest.raises(InputError, match=r"line 1: 2 (label|split) columns \("):
        load(a_csv(root, f"{header}\n0,1 2 3 4,0,Training\n"))


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le bom"])
def test_spreadsheets_part_and_encode_as_they_like(
    separator: str, encoding: str, root: Path
) -> None:
    text = TEXT.replace(",", separator)
    if encoding == "utf-16-le bom":
        text, encoding = "\ufeff" + text.replace("\n", "\r\n"), "utf-16-le"

    assert contents(load(a_csv(root, text, encoding))) == expected(FACES)


def test_labels_of_a_data_frame_with_gaps_are_read(root: Path) -> None:
    text = "\n".join(
        line if not line[0].isdigit() else f"{line[0]}.0{line[1:]}" for line in TEXT.splitlines()
    )

    assert contents(load(a_csv(root, text + "\n"))) == expected(FACES)


@pytest.mark.parametrize("label", ["1.5", "nan", "inf", "7.0"])
def test_a_label_that_is_none_is_refused(label: str, root: Path) -> None:
    with pytest.raises(
        InputError, match=r"line 2: (label .* outside|the label is empty|expression)"
    ):
        load(a_csv(root, f"emotion,pixels\n{label},1 2 3 4\n"))


def test_a_label_set_of_numbers_goes_by_name(root: Path) -> None:
    store = load(a_csv(root, "emotion,pixels\n2,1 2 3 4\n"), labels=("1", "2", "3"))

    assert store.expressions[store.labels[0]] == "2"


@pytest.mark.parametrize("name", ["test.csv", "fer_test.csv"])
def test_the_name_of_a_table_without_splits_tells_its_split(name: str, root: Path) -> None:
    path = write_files(root, {name: b"emotion,pixels\n0,1 2 3 4\n"}) / name

    assert load(path).splits.tolist() == [2]


def test_pixels_alone_are_refused_by_the_sentence_that_fits(root: Path) -> None:
    (root / "folder").mkdir()
    path = write_files(root, {"test.csv": b"pixels\n1 2 3 4\n"}) / "test.csv"

    for given in (path, root):
        with pytest.raises(InputError, match=r"test\.csv, line 1: pixels without labels"):
            load(given)


# Trees


def doubled(root: Path, inner: str) -> Path:
    """A tree, and the same below `inner`, as Kaggle hands out `images/images`."""
    files = image_files(FACES, challenge_names=False)
    return write_files(root, files | {f"{inner}/{name}": data for name, data in files.items()})


@pytest.mark.parametrize("inner", ["images", "archive/fer2013", "train"])
def test_a_tree_that_holds_itself_is_read_once_and_said(inner: str, root: Path) -> None:
    store = load(doubled(root, inner))

    assert contents(store) == expected(FACES)
    (note,) = store.notes
    assert note.startswith(f"{inner}: the same 42 images")


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_archives_of_doubled_trees_are_read_once(write: Any, root: Path) -> None:
    files = image_files(FACES, challenge_names=True)
    twice = {f"images/{k}": v for k, v in files.items()} | {
        f"images/images/{k}": v for k, v in files.items()
    }

    assert contents(load(write(root / "a.archive", twice))) == expected(FACES)


def test_a_second_tree_of_all_faces_without_splits_does_not_train_the_test(root: Path) -> None:
    files = image_files(FACES, challenge_names=False)
    flat = {f"all/{name.split('/', 1)[1]}": data for name, data in files.items()}

    store = load(write_files(root, files | flat))

    assert contents(store) == expected(FACES)


def test_two_trees_of_other_faces_are_both_read(root: Path) -> None:
    others = made_up(seed=1)
    files = {f"a/{k}": v for k, v in image_files(FACES, challenge_names=False).items()}
    files |= {f"b/{k}": v for k, v in image_files(others, challenge_names=False).items()}

    store = load(write_files(root, files))

    assert contents(store) == expected(FACES + others)
    assert store.notes == ()


def test_the_same_faces_as_training_and_as_test_stay_and_are_told(root: Path) -> None:
    """One of them is a lie, and nobody can say which: both are read, and it is said."""
    files = {f"a/train/{NAMES[f.label]}/{n}.png": encoded(f.pixels) for n, f in enumerate(FACES)}
    files |= {f"b/test/{NAMES[f.label]}/{n}.png": encoded(f.pixels) for n, f in enumerate(FACES)}

    store = load(write_files(root, files))

    assert Counter(store.splits.tolist()) == {0: 42, 2: 42}
    assert "42 of 84 faces are exact copies" in store.notes[0]


def test_a_table_that_holds_its_rows_twice_is_told(root: Path) -> None:
    store = load(a_csv(root, csv_text(FACES * 2)))

    assert len(store) == 84
    assert "42 of 84 faces are exact copies" in store.notes[0]


def test_parquet_files_that_are_the_same_are_read_once(root: Path) -> None:
    path = write_parquet(root / "data" / "a.parquet", FACES)
    (root / "copy").mkdir()
    shutil.copy(path, root / "copy" / "a.parquet")

    store = load(root)

    assert contents(store) == expected(FACES)
    assert "the same file" in store.notes[0]


def test_a_member_that_an_archive_holds_twice_is_read_once(root: Path) -> None:
    import zipfile

    path = write_zip(root / "a.zip", {"happy/1.png": encoded(FACES[0].pixels)})
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("happy/1.png", encoded(FACES[1].pixels))

    store = load(path)

    assert len(store) == 1
    assert (store.pixels[0, 0] == FACES[1].pixels).all()  # as unpacking it would leave


@pytest.mark.parametrize(
    "junk",
    [
        "@eaDir/1.png",
        ".thumbnails/1.png",
        "__MACOSX/._1.png",
        "happy/@eaDir/1.png",
        "$RECYCLE.BIN/1.png",
    ],
)
def test_what_systems_leave_in_folders_is_passed_over(junk: str, root: Path) -> None:
    files = image_files(FACES, challenge_names=False)
    clutter = {f"train/{junk}": encoded(FACES[0].pixels), "train/happy/Thumbs.db": b"x"}

    assert contents(load(write_files(root, files | clutter))) == expected(FACES)


@pytest.mark.parametrize(
    "names",
    [
        ("training", "validation", "testing"),
        ("FER2013Train", "FER2013Validation", "FER2013Test"),
        ("train_set", "Validation Set", "test-data"),
    ],
)
def test_folders_of_splits_go_by_many_names(names: tuple[str, str, str], root: Path) -> None:
    files = image_files(FACES, challenge_names=False)
    renamed = {
        f"{names[FOLDERS.index(k.split('/')[0])]}/{k.split('/', 1)[1]}": v for k, v in files.items()
    }

    assert contents(load(write_files(root, renamed))) == expected(FACES)


def test_a_folder_that_may_be_validation_or_test_is_refused(root: Path) -> None:
    files = {f"eval/{NAMES[0]}/1.png": encoded(FACES[0].pixels)}

    with pytest.raises(InputError, match="'eval' may be validation or test"):
        load(write_files(root, files))


def test_people_who_are_called_val_are_no_split(root: Path) -> None:
    files = {"Val Kilmer/happy/1.png": encoded(FACES[0].pixels)}

    assert load(write_files(root, files)).splits.tolist() == [0]


def numbered(root: Path, order: tuple[str, ...], first: int) -> Path:
    files = {
        f"{FOLDERS[face.split]}/{order.index(NAMES[face.label]) + first}/{n}.png": encoded(
            face.pixels
        )
        for n, face in enumerate(FACES)
    }
    return write_files(root, files)


RAF = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")


def test_folders_of_numbers_are_refused_with_both_orders(root: Path) -> None:
    with pytest.raises(
        InputError, match=r"RAF-DB counts 1 surprise.*AffectNet counts 0 neutral.*--labels.*--map"
    ):
        load(numbered(root, RAF, 1))


@pytest.mark.parametrize("first", [0, 1])
def test_labels_say_what_folders_of_numbers_are(first: int, root: Path) -> None:
    assert contents(load(numbered(root, RAF, first), labels=RAF)) == expected(FACES)


def test_numbers_that_do_not_fit_the_labels_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match="are not as many as the 8 labels"):
        load(numbered(root, RAF, 1), labels=(*RAF, "contempt"))


def test_links_that_lead_nowhere_are_counted_and_told(root: Path) -> None:
    write_files(root, image_files(FACES, challenge_names=False))
    (root / "train/happy/gone.png").symlink_to(root / "nowhere.png")
    (root / "train/happy/round").symlink_to(root / "train/happy/round")

    store = load(root)

    assert contents(store) == expected(FACES)
    assert "passed over: 2" in store.notes[0]


# Damaged pictures


def damaged(root: Path) -> Path:
    files = image_files(FACES, challenge_names=False)
    bad = {f"train/happy/bad{n}.png": b"no picture" for n in range(25)}
    return write_files(root, files | bad)


def test_damaged_pictures_are_counted_and_the_first_are_named(root: Path, cache: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(damaged(root))

    message = str(caught.value)
    assert message.startswith("25 damaged pictures: ")
    assert message.count("bad") == 3
    assert "and 22 more" in message
    assert "--skip-damaged" in message
    assert not list(cache.rglob("*.npy"))


def test_damaged_pictures_are_left_out_counted_and_listed(root: Path) -> None:
    store = load(damaged(root), skip_damaged=True)

    assert contents(store) == expected(FACES)
    assert store.damaged == 25
    assert "left out and listed in damaged.csv of the store: 25" in store.notes[0]
    listed = (store.path / "damaged.csv").read_text().splitlines()
    assert len(listed) == 26
    assert "train/happy/bad0.png" in listed[1]


def test_damaged_rows_of_tables_are_left_out_too(root: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = TEXT.splitlines()
    lines[5:5] = ["3,1 2 x 4,Training", "3,1 2 3,Training"]
    (root / "p").mkdir()
    pq.write_table(
        pa.table({"image": [encoded(FACES[0].pixels), b"no"], "label": [0, 1]}),
        root / "p/a.parquet",
    )

    csv = load(a_csv(root, "\n".join(lines) + "\n"), skip_damaged=True)
    parquet = load(root / "p", skip_damaged=True)

    assert contents(csv) == expected(FACES)
    assert csv.damaged == 2
    assert (len(parquet), parquet.damaged) == (1, 1)


def test_where_nothing_is_left_there_are_no_faces(root: Path) -> None:
    with pytest.raises(InputError, match="no faces"):
        load(write_files(root, {"happy/1.png": b"no picture"}), skip_damaged=True)


# Orders of labels


def test_files_that_name_their_classes_and_files_that_do_not_are_no_set(root: Path) -> None:
    names = tuple(sorted(name.capitalize() for name in NAMES))
    write_parquet(root / "a.parquet", FACES, names=names)
    write_parquet(root / "b.parquet", FACES[:7])

    with pytest.raises(InputError, match=r"b\.parquet: its labels are numbers without names"):
        load(root)


def test_files_that_name_their_classes_in_other_orders_go_by_name(root: Path) -> None:
    forward = tuple(sorted(name.capitalize() for name in NAMES))
    write_parquet(root / "a.parquet", FACES[:20], names=forward)
    write_parquet(root / "b.parquet", FACES[20:], names=forward[::-1])

    assert contents(load(root)) == expected(FACES)


LIKE_AFFECTNET = ("Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger", "Contempt")


def test_a_file_that_names_more_classes_says_which_labels_to_give(root: Path) -> None:
    """AffectNet on Hugging Face: another order, and contempt."""
    names = tuple({"Anger": "Angry"}.get(name, name) for name in LIKE_AFFECTNET)
    path = write_parquet(root / "a.parquet", FACES, names=names)
    eight = (*NAMES, "contempt")

    with pytest.raises(
        InputError, match=f"its classes contempt are not in .*--labels {','.join(eight)}"
    ):
        load(path)
    assert contents(load(path, labels=eight)) == expected(FACES)
    found = load(path, labels=FOUND)
    assert found.expressions == tuple(sorted(eight))
    assert contents(found) == expected(FACES)


def test_the_classes_of_a_parquet_of_text_are_found(root: Path) -> None:
    path = write_parquet(root / "a.parquet", FACES, text_labels=True)

    assert load(path, labels=FOUND).expressions == tuple(sorted(NAMES))


def test_numbers_count_in_the_order_that_is_said(root: Path) -> None:
    """Of numbers alone nobody can tell the order; --labels says it."""
    order = NAMES[::-1]
    faces = [MadeUp(6 - face.label, face.split, face.pixels) for face in FACES]

    store = load(write_parquet(root / "a.parquet", faces), labels=order)

    assert contents(store) == expected(FACES)


def named_too(names: tuple[str, ...]) -> list[str]:
    """The lines of a CSV with a second column, which says the label in words."""
    first, *lines = TEXT.splitlines()
    return [
        f"{first},label_text",
        *(f"{line},{names[face.label]}" for line, face in zip(lines, FACES, strict=True)),
    ]


def test_a_second_column_that_counts_in_another_order_is_refused(root: Path) -> None:
    lines = named_too(tuple(name.capitalize() for name in LIKE_AFFECTNET[:7]))

    with pytest.raises(
        InputError, match=r"column 'label_text' says neutral for all rows .* angry, so"
    ):
        load(a_csv(root, "\n".join(lines) + "\n"))


@pytest.mark.parametrize("change", ["none", "one other", "not expressions"])
def test_a_second_column_that_agrees_or_is_another_annotators_is_no_matter(
    change: str, root: Path
) -> None:
    lines = named_too(NAMES if change != "not expressions" else tuple("abcdefg"))
    if change == "one other":
        lines[1] = lines[1].replace("angry", "fear")

    assert contents(load(a_csv(root, "\n".join(lines) + "\n"))) == expected(FACES)


@pytest.mark.parametrize("right", [True, False])
def test_so_it_is_with_a_parquets_columns(right: bool, root: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = write_parquet(root / "a.parquet", FACES)
    words = [NAMES[face.label if right else 6 - face.label] for face in FACES]
    pq.write_table(pq.read_table(path).append_column("label_text", pa.array(words)), path)

    if right:
        assert contents(load(path)) == expected(FACES)
    else:
        with pytest.raises(InputError, match="column 'label_text' says neutral for all rows"):
            load(path)


@pytest.mark.parametrize("kind", ["float64", "string"])
def test_numbers_of_any_type_stand_for_a_parquets_class_names(kind: str, root: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = LAYOUTS["parquet class names"](root, FACES)
    table = pq.read_table(path)
    label = table.schema.get_field_index("label")
    table = table.set_column(label, pa.field("label", kind), table["label"].cast(kind))
    pq.write_table(table, path)

    assert contents(load(path)) == expected(FACES)


@pytest.mark.parametrize("kind", ["int64", "float64"])
def test_a_contradiction_is_found_wherever_it_begins(
    kind: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr("mien.data.parquet._LOOKED_AT", 4)
    path = write_parquet(root / "a.parquet", sorted(FACES, key=lambda face: face.label))
    words = sorted(face.label for face in FACES)
    other = pa.array([NAMES[0] if label == 0 else NAMES[7 - label] for label in words])
    table = pq.read_table(path).append_column("label_text", other)
    place = table.schema.get_field_index("label")
    pq.write_table(table.set_column(place, "label", table["label"].cast(kind)), path)

    with pytest.raises(InputError, match="column 'label_text' says neutral for all rows"):
        load(path)


def test_two_label_columns_of_a_parquet_are_refused(root: Path) -> None:
    import pyarrow.parquet as pq

    path = write_parquet(root / "a.parquet", FACES, row=True)
    names = ["image", "label", "Usage", "emotion"]
    pq.write_table(pq.read_table(path).rename_columns(names), path)

    with pytest.raises(InputError, match=r"2 label columns \(label, emotion\); remove all but one"):
        load(path)


def test_numbers_without_names_are_told(root: Path) -> None:
    assert "challenge's order" in load(write_parquet(root / "a.parquet", FACES)).notes[0]
    named = write_parquet(root / "b.parquet", FACES, names=tuple(n.capitalize() for n in NAMES))
    assert load(named).notes == ()
    assert class_label(NAMES)  # what tells them


# Costs


@pytest.mark.parametrize(
    "layout", ["csv", "icml csv", "csv.gz", "challenge tar.gz", "tar.gz in a zip", "parquet"]
)
def test_a_file_is_opened_once(layout: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = LAYOUTS[layout](root, FACES)
    opened: list[str] = []
    real = io.open

    def counted(file: Any, *arguments: Any, **options: Any) -> Any:
        opened.append(os.fspath(file) if not isinstance(file, int) else "")
        return real(file, *arguments, **options)

    monkeypatch.setattr(io, "open", counted)
    monkeypatch.setattr(builtins, "open", counted)
    load(path)

    assert opened.count(str(path)) == (2 if layout == "parquet" else 1)


def test_every_layout_is_a_line_of_the_registry() -> None:
    assert {"challenge csv", "parquet", "class folders"} <= set(READERS)
    assert np.all([callable(READERS[name]) for name in READERS])
