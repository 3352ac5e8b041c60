"""Built once, opened ever after; noticed when stale, rebuilt when damaged, never half there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from make_layouts import (
    LAYOUTS,
    csv_text,
    encoded,
    image_files,
    made_up,
    write_files,
    write_parquet,
)

from mien.data import FaceStore, load
from mien.data import cache as cache_module
from mien.data.store import TEST, TRAIN
from mien.files import cache_folder

FACES = made_up()


def folder_of(store: FaceStore) -> Path:
    assert store.path is not None
    return store.path


def stores(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "stores").iterdir())


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that stores were built in, as it happens."""
    folders: list[Path] = []
    write = cache_module.write_store

    def counted(source: object, folder: Path, **options: object) -> None:
        folders.append(folder)
        write(source, folder, **options)

    monkeypatch.setattr(cache_module, "write_store", counted)
    return folders


@pytest.mark.parametrize("layout", ["csv", "class folders", "parquet shards"])
def test_a_source_is_read_once(layout: str, root: Path, cache: Path, built: list[Path]) -> None:
    path = LAYOUTS[layout](root, FACES)

    first, second = load(path), load(path)

    assert len(built) == 1
    assert folder_of(first) == folder_of(second)
    assert first.fingerprint == second.fingerprint
    assert (first.pixels == second.pixels).all()
    assert first.rows.tolist() == second.rows.tolist()
    assert (first.digests == second.digests).all()


def test_a_relative_path_finds_the_same_store(
    root: Path, cache: Path, built: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = LAYOUTS["csv"](root, FACES)
    load(path)
    monkeypatch.chdir(root)

    load(path.name)

    assert len(built) == 1


def test_a_changed_source_is_read_again_and_the_old_store_goes(
    root: Path, cache: Path, built: list[Path]
) -> None:
    path = LAYOUTS["csv"](root, FACES)
    load(path)
    path.write_text(csv_text(FACES[:9]))

    store = load(path)

    assert len(store) == 9
    assert len(built) == 2
    assert stores(cache) == [folder_of(store).name]


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "replaced", "written into"])
def test_a_changed_class_folder_is_read_again(
    change: str, root: Path, cache: Path, built: list[Path]
) -> None:
    path = LAYOUTS["images folders"](root, FACES)
    load(path)
    image = path / "images" / "train" / "ANGER" / "0.png"
    new = encoded(np.zeros((8, 8), np.uint8))
    if change == "added":
        image.with_name("new.png").write_bytes(new)
    elif change == "removed":
        image.unlink()
    elif change == "renamed":
        image.rename(image.with_name("other.png"))
    elif change == "replaced":
        (root / "new").write_bytes(new)
        (root / "new").replace(image)
    else:
        image.write_bytes(new)

    load(path)

    assert len(built) == 2


def test_options_have_stores_of_their_own(root: Path, cache: Path, built: list[Path]) -> None:
    path = LAYOUTS["csv"](root, FACES)

    plain = load(path)
    load(path, size=(24, 24))
    load(path, labels=plain.expressions[::-1])

    assert len(built) == len(stores(cache)) == 3
    load(path)
    assert len(built) == 3


@pytest.mark.parametrize("name", ["pixels.npy", "rows.npy", "labels.npy", "store.json"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "removed"])
def test_a_damaged_store_is_built_again(
    name: str, damage: str, root: Path, cache: Path, built: list[Path]
) -> None:
    path = LAYOUTS["csv"](root, FACES)
    whole = load(path)
    file = folder_of(whole) / name
    if damage == "removed":
        file.unlink()
    else:
        os.truncate(file, 0 if damage == "emptied" else file.stat().st_size // 2)

    again = load(path)

    assert len(built) == 2
    assert again.fingerprint == whole.fingerprint
    assert (again.pixels == np.stack([face.pixels for face in FACES])[:, None]).all()


def test_a_store_of_nonsense_is_built_again(root: Path, cache: Path, built: list[Path]) -> None:
    path = LAYOUTS["csv"](root, FACES)
    (folder_of(load(path)) / "store.json").write_text("[1, 2]")

    assert len(load(path)) == len(FACES)
    assert len(built) == 2


def test_what_dead_processes_left_is_swept_and_what_live_ones_write_is_not(
    root: Path, cache: Path
) -> None:
    dead, live = (cache / "stores" / f".{name}.part" for name in ("dead", "live"))
    for part in (dead, live):
        part.mkdir(parents=True)
        (part / "pixels.npy").write_bytes(b"half")
    for path in (dead / "pixels.npy", dead):
        os.utime(path, (1, 1))

    load(LAYOUTS["csv"](root, FACES))

    assert not dead.exists()
    assert live.exists()


def test_an_interruption_leaves_nothing(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mien.data.build._write_array", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load(LAYOUTS["csv"](root, FACES))

    assert stores(cache) == []


@pytest.mark.parametrize(
    ("platform", "variables", "place"),
    [
        ("linux", {"XDG_CACHE_HOME": ""}, "home/.cache/mien"),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, "xdg/mien"),
        ("darwin", {}, "home/Library/Caches/mien"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/mien"),
        ("win32", {"LOCALAPPDATA": ""}, "home/AppData/Local/mien"),
        ("linux", {"MIEN_CACHE": "mine"}, "mine"),
    ],
)
def test_the_cache_lies_where_the_platform_keeps_caches(
    platform: str, variables: dict[str, str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIEN_CACHE")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert cache_folder() == Path(place)


#: Asks for the peak of this program alone: getrusage counts in what the process was before it.
MEASURE = """
import re, sys
from pathlib import Path
from mien.data import load
store = load(sys.argv[1])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(len(store), int(peak[1]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("layout", ["csv", "parquet", "class folders zip"])
def test_reading_stays_under_500_mb(layout: str, root: Path, cache: Path) -> None:
    """Stores larger than the limit: what is read is not kept."""
    if layout == "csv":  # 60,000 faces of 96 x 96: 553 MB of pixels, about 2 GB of text
        faces = made_up(20, height=96, width=96)
        head, _, rows = csv_text(faces).partition("\n")
        path = root / "a.csv"
        with path.open("w") as file:
            file.write(head + "\n")
            file.writelines(rows for _ in range(3000))
        count = 60_000
    elif layout == "parquet":  # photos that hardly compress, a hundred in a row group
        count = 1200
        faces = made_up(20, height=700, width=700) * 60
        # No dictionary: it would keep the 20 that repeat once, and the file would be 20 MB.
        path = write_parquet(root / "a.parquet", faces, row_group=100, dictionary=False)
    else:
        count = 600
        path = LAYOUTS[layout](root, made_up(20, height=1000, width=1000) * 30)

    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )

    faces_read, peak = map(int, measured.stdout.split())
    shutil.rmtree(cache)
    assert faces_read == count
    assert peak < 500e6


def test_images_of_a_folder_beyond_those_looked_at_are_noticed_by_name(
    root: Path, cache: Path, built: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_LOOKED_AT", 4)
    path = write_files(root, image_files(FACES, challenge_names=False))
    load(path)
    load(path)
    assert len(built) == 1

    (path / "train" / "happy" / "new.png").write_bytes(encoded(FACES[0].pixels))

    assert len(load(path)) == len(FACES) + 1


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_two_links_to_one_file_are_read_under_their_own_names(root: Path) -> None:
    path = write_parquet(root / "blob", made_up(14), usage=False)
    for name in ("train", "test"):
        (root / f"{name}.parquet").symlink_to(path)
    assert set(load(root / "train.parquet").splits.tolist()) == {TRAIN}
    assert set(load(root / "test.parquet").splits.tolist()) == {TEST}
