"""The contract of every reader: the same faces in any layout give the same store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from make_layouts import LAYOUTS, NAMES, encoded, image_files, made_up, write_files, write_parquet

from mien.data import SPLITS, FaceStore, load
from mien.data.build import digest
from mien.errors import InputError
from mien.expressions import SEVEN
from mien.input_spec import InputSpec
from mien.resize import ready_crop

pytestmark = pytest.mark.usefixtures("cache")
FACES = made_up()


def by_pixels(store: FaceStore) -> dict[bytes, tuple[str, str]]:
    """Pixels -> (expression, split): what a store says, whatever its order."""
    return {
        pixels.tobytes(): (store.expressions[label], SPLITS[split])
        for pixels, label, split in zip(store.pixels, store.labels, store.splits, strict=True)
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_faces(layout: str, root: Path) -> None:
    store = load(LAYOUTS[layout](root, FACES))

    assert store.pixels.shape == (len(FACES), 1, 8, 8)
    assert store.pixels.dtype == np.uint8
    assert not store.pixels.flags.writeable
    assert isinstance(store.pixels, np.memmap)
    assert store.labels.dtype == np.int64
    assert store.splits.dtype == np.uint8
    assert store.digests.dtype == np.uint64
    assert store.digests.shape == (len(FACES), 2)
    assert store.expressions == SEVEN == NAMES
    assert len(set(store.rows.tolist())) == len(FACES)
    assert by_pixels(store) == {
        face.pixels.tobytes(): (NAMES[face.label], SPLITS[face.split]) for face in FACES
    }


def test_the_fingerprint_is_one_for_all_layouts(root: Path) -> None:
    prints = {
        layout: load(write(_made(root / str(n)), FACES)).fingerprint
        for n, (layout, write) in enumerate(LAYOUTS.items())
    }

    assert len(set(prints.values())) == 1, prints


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("change", ["pixel", "label", "split", "missing", "twice"])
def test_the_fingerprint_covers_pixels_labels_and_splits(change: str, root: Path) -> None:
    faces = made_up()
    first = faces[0]
    if change == "pixel":
        first.pixels[0, 0] ^= 1
    elif change == "label":
        faces[0] = type(first)(first.label + 1, first.split, first.pixels)
    elif change == "split":
        faces[0] = type(first)(first.label, first.split + 1, first.pixels)
    elif change == "missing":
        faces.pop()
    else:
        faces.append(first)

    changed = load(LAYOUTS["csv"](_made(root / "a"), faces)).fingerprint

    assert changed != load(LAYOUTS["csv"](_made(root / "b"), FACES)).fingerprint


def test_rows_are_the_challenges_numbers_or_paths(root: Path) -> None:
    csv = load(LAYOUTS["csv"](_made(root / "csv"), FACES))
    table = load(LAYOUTS["parquet"](_made(root / "parquet"), FACES))
    folder = load(LAYOUTS["class folders"](_made(root / "folder"), FACES))

    assert csv.rows.tolist() == table.rows.tolist() == [str(n) for n in range(len(FACES))]
    assert "train/angry/Training_0.png" in folder.rows.tolist()


def test_digests_tell_exact_copies(root: Path) -> None:
    twice = [*FACES, FACES[3]]

    store = load(LAYOUTS["csv"](root, twice))

    assert (store.digests[-1] == store.digests[3]).all()
    assert len(np.unique(store.digests, axis=0)) == len(FACES)
    wide, tall = np.zeros((1, 2, 8), np.uint8), np.zeros((1, 8, 2), np.uint8)
    assert digest(wide) != digest(tall)


def test_a_flat_root_of_class_folders_is_all_training(root: Path) -> None:
    files = {f"{NAMES[face.label]}/{n}.png": encoded(face.pixels) for n, face in enumerate(FACES)}

    store = load(write_files(root, files))

    assert len(store) == len(FACES)
    assert not store.splits.any()


def test_a_csv_without_usage_is_all_training(root: Path) -> None:
    store = load(write_files(root, {"a.csv": b"emotion,pixels\n0,1 2 3 4\n6,5 6 7 8\n"}))

    assert store.splits.tolist() == [0, 0]
    assert store.labels.tolist() == [0, 6]
    assert store.pixels[1].tolist() == [[[5, 6], [7, 8]]]


def test_expressions_that_do_not_occur_are_empty(root: Path) -> None:
    store = load(write_files(root, {"Sadness/1.png": encoded(FACES[0].pixels)}))

    assert store.expressions == SEVEN
    assert store.labels.tolist() == [4]


def test_labels_give_a_label_set_of_ones_own(root: Path) -> None:
    pixels = FACES[0].pixels
    files = {"train/Bored/1.png": encoded(pixels), "train/joy/1.png": encoded(pixels)}

    store = load(write_files(root, files), labels=("happy", "bored"))

    assert store.expressions == ("happy", "bored")
    assert store.labels.tolist() == [1, 0]


def test_numbers_count_in_the_order_of_the_given_labels(root: Path) -> None:
    path = write_parquet(root / "a.parquet", FACES[:2])

    assert load(path, labels=("awake", "asleep")).expressions == ("awake", "asleep")
    assert load(path, labels=("awake", "asleep")).labels.tolist() == [0, 1]


def test_mixed_sizes_are_resized_and_a_uniform_source_is_not(root: Path) -> None:
    one, other = np.full((8, 8), 7, np.uint8), np.full((10, 4), 9, np.uint8)
    uniform = write_files(root / "uniform", {"happy/1.png": encoded(one)})
    mixed = write_files(root / "mixed", {"happy/1.png": encoded(one), "sad/2.png": encoded(other)})

    assert load(uniform, size=(16, 12)).pixels.shape == (1, 1, 8, 8)
    assert load(mixed).pixels.shape == (2, 1, 48, 48)
    store = load(mixed, size=(16, 12))
    assert store.pixels.shape == (2, 1, 16, 12)
    assert [np.unique(face).tolist() for face in store.pixels] == [[7], [9]]


def test_readers_resize_as_recognition_does(root: Path) -> None:
    """By Pillow, which rounds twice, faces were up to a gray level off, and colours another one."""
    random = np.random.default_rng(0)
    colour = random.integers(0, 256, (30, 44, 3), dtype=np.uint8)
    gray = random.integers(0, 256, (8, 8), dtype=np.uint8)

    mixed = {"train/happy/1.png": encoded(gray), "train/sad/2.png": encoded(colour)}
    odd = {"train/happy/1.png": encoded(gray), "test/sad/2.png": encoded(colour)}
    store = load(write_files(root / "mixed", mixed), size=(16, 12))
    tests = load(write_files(root / "odd", odd), size=(16, 12))

    assert (store.pixels[1] == ready_crop(colour, InputSpec(3, 16, 12))[0]).all()
    assert (store.pixels[0] == ready_crop(gray, InputSpec(3, 16, 12))[0]).all()
    shapes = [face.shape for face in tests.pixels]
    assert shapes == [(1, 8, 8)] * 2
    assert any((face == ready_crop(colour, InputSpec(1, 8, 8))[0]).all() for face in tests.pixels)


@pytest.mark.parametrize("odd", [(44, 30), (30, 44), (31, 31)])
def test_images_that_are_not_square_are_trained_as_they_are_recognised(
    root: Path, odd: tuple[int, int]
) -> None:
    """Of one size or mixed, for training or testing: padded to a square, never stretched."""
    face = np.random.default_rng(0).integers(0, 256, (44, 30), dtype=np.uint8)
    other = np.random.default_rng(1).integers(0, 256, odd, dtype=np.uint8)
    files = {"train/happy/1.png": encoded(face), "test/sad/2.png": encoded(other)}

    store = load(write_files(root / "faces", files))

    assert store.pixels.shape[2:] == (44, 44)
    for pixels, row in zip(store.pixels, store.rows, strict=True):
        (recognised,) = ready_crop(face if "happy" in row else other, InputSpec(1, 44, 44))
        assert (pixels == recognised).all()


def test_one_colour_image_makes_all_colour(root: Path) -> None:
    gray, colour = np.full((4, 4), 7, np.uint8), np.zeros((4, 4, 3), np.uint8)
    colour[..., 0] = 200

    files = {"happy/1.png": encoded(gray), "sad/2.png": encoded(colour)}
    store = load(write_files(root, files))

    assert store.pixels.shape == (2, 3, 4, 4)
    assert (store.pixels[0] == 7).all()
    assert (store.pixels[1, 0] == 200).all()
    assert not store.pixels[1, 1:].any()


def test_gray_kept_as_rgb_is_gray(root: Path) -> None:
    rgb = np.repeat(FACES[0].pixels[..., None], 3, axis=2)

    store = load(write_files(root, {"happy/1.webp": encoded(rgb, "webp", lossless=True)}))

    assert store.pixels.shape == (1, 1, 8, 8)
    assert (store.pixels[0, 0] == FACES[0].pixels).all()


def test_pictures_of_every_format_are_read_and_other_files_are_told_of(root: Path) -> None:
    """A picture of a format that nobody reads would be missed in silence."""
    kinds = {"jfif": "jpeg", "avif": "avif", "jp2": "jpeg2000", "jpe": "jpeg", "pbm": "ppm"}
    files = {f"happy/{end}.{end}": encoded(FACES[0].pixels, kind) for end, kind in kinds.items()}
    files |= {"happy/a.tga": encoded(FACES[0].pixels, "tga"), "read-me.txt": b"not beside pictures"}
    write_files(root / "data", files)

    store = load(root / "data")

    assert len(store) == len(kinds)
    (note,) = (note for note in store.notes if "beside pictures" in note)
    assert note.endswith("passed over: 1 (happy/a.tga)")


def test_links_to_folders_are_followed_once(root: Path) -> None:
    write_files(root / "elsewhere", image_files(FACES, challenge_names=False))
    data = _made(root / "data")
    (data / "linked").symlink_to(root / "elsewhere", target_is_directory=True)
    (root / "elsewhere" / "loop").symlink_to(root / "elsewhere", target_is_directory=True)

    assert len(load(data)) == len(FACES)


@pytest.mark.parametrize(
    ("link", "target", "said"),
    [
        ("train", "test", "a link to test, so the same faces would be train and test"),
        ("test", "train", "a link to train, so the same faces would be test and train"),
        ("validation", "test", "the same faces would be validation and test"),
        ("train/sad", "train/happy", "the same faces would be sad and happy"),
    ],
)
def test_a_link_that_gives_faces_a_second_split_or_class_is_refused(
    root: Path, link: str, target: str, said: str
) -> None:
    """Which of the two names counted was chance, and training could be on test faces."""
    files = {
        f"{split}/{name}/{n}.png": encoded(FACES[n].pixels, "png")
        for n, (split, name) in enumerate(
            (split, name) for split in ("train", "validation", "test") for name in ("happy", "sad")
        )
    }
    write_files(
        root / "data",
        {path: content for path, content in files.items() if not path.startswith(f"{link}/")},
    )
    (root / "data" / link).symlink_to(root / "data" / target, target_is_directory=True)

    with pytest.raises(InputError, match=said):
        load(root / "data")


def test_a_second_name_of_the_same_meaning_is_noted(root: Path) -> None:
    data, picture = root / "data", encoded(FACES[0].pixels, "png")
    write_files(data, {"train/happy/1.png": picture})
    (data / "train/joy").symlink_to(data / "train/happy", target_is_directory=True)

    store = load(data)

    assert len(store) == 1
    assert "train/joy: a link to train/happy, whose faces are read once" in store.notes


def test_synthetic_faces_need_no_file() -> None:
    store = load("synthetic:35")

    assert np.bincount(store.splits).tolist() == [35, 7, 7]
    assert store.pixels.shape == (49, 1, 48, 48)
    assert store.expressions == SEVEN
    assert load("synthetic:35").fingerprint == store.fingerprint
