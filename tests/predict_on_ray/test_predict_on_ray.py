"""Many pictures, in shards: each is there once, whatever dies; what is broken is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from mien import cli
from mien.errors import InputError
from mien.predict_on_ray import recognise
from mien.predict_on_ray.shards import Plan, image_column, pictures
from mien.predict_on_ray.storage import Place
from mien.predict_on_ray.work import RESULTS, Counts, Work, counts_of, recognise_shard
from mien.recognise.naming import packaged_model
from mien.recognise.recognizer import Recognizer


def write_faces(folder: Path, count: int) -> list[Path]:
    """Ready 48x48 faces, each unlike the others."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 48), np.uint8)
        paths.append(folder / f"{number:03d}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def table_of(folder: Path, paths: list[Path], *, group: int, struct: bool) -> Path:
    """The same pictures in a parquet file, as bytes or as Hugging Face writes them."""
    contents = [path.read_bytes() for path in paths]
    column = [{"bytes": c, "path": None} for c in contents] if struct else contents
    folder.mkdir(parents=True)
    table = pyarrow.table({"image": column, "label": list(range(len(paths)))})
    pyarrow.parquet.write_table(table, folder / "faces.parquet", row_group_size=group)
    return folder / "faces.parquet"


def run_shards(dataset, out, size=4, column=None) -> Counts:
    """What a job does, without Ray."""
    source, target = Place.of(dataset), Place.of(out)
    plan = Plan.of(source, target, size)
    work = Work(source, target, packaged_model(), "none", None, "cpu", column)
    counts = Counts()
    for shard in plan:
        counts += recognise_shard(work, shard)
    return counts


def rows_of(out: Path) -> list[dict]:
    return [
        row
        for file in sorted((out / RESULTS).glob("part-*.parquet"))
        for row in pyarrow.parquet.read_table(file).to_pylist()
    ]


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> list[Path]:
    return write_faces(tmp_path_factory.mktemp("data") / "faces", 10)


def test_a_plan_holds_each_picture_once_in_order(faces, tmp_path):
    folder = tmp_path / "photos"
    write_faces(folder / "b", 3)
    write_faces(folder / "a", 4)
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden").mkdir()
    write_faces(folder / ".hidden", 1)
    write_faces(folder / "out", 2)
    plan = Plan.of(Place.of(folder), Place.of(folder / "out"), 3)
    again = Plan.from_bytes(plan.to_bytes())
    assert [shard.number for shard in again] == [0, 1, 2]
    assert [len(shard.paths) for shard in again] == [3, 3, 1]
    paths = [path for shard in again for path in shard.paths]
    assert paths == [str(path) for path in sorted(folder.glob("[ab]/*.png"))]


def test_results_are_what_the_recogniser_says_one_by_one(faces, tmp_path):
    counts = run_shards(faces[0].parent, tmp_path)
    assert counts == Counts(pictures=10, faces=10)
    recognizer = Recognizer(detector="none", threads=1)
    for path, row in zip(faces, rows_of(tmp_path), strict=True):
        (face,) = recognizer.recognize(path)
        assert row["source"] == str(path)
        assert row["expression"] == face.expression
        assert row["probability"] == pytest.approx(face.probability, abs=2e-6)


@pytest.mark.parametrize("struct", [False, True], ids=["bytes", "struct"])
def test_parquet_and_addresses_give_what_a_folder_gives(faces, tmp_path, struct):
    path = table_of(tmp_path / "tables", faces, group=4, struct=struct)
    run_shards(faces[0].parent, tmp_path / "folder")
    run_shards(path.as_uri(), (tmp_path / "tabled").as_uri(), column="image")
    assert len(list((tmp_path / "tabled" / RESULTS).iterdir())) == 3
    tabled = rows_of(tmp_path / "tabled")
    assert [row["source"] for row in tabled] == [f"{path.as_uri()}:{n}" for n in range(10)]
    for one, other in zip(rows_of(tmp_path / "folder"), tabled, strict=True):
        assert {**one, "source": ""} == {**other, "source": ""}


def test_broken_pictures_are_listed_and_fatal_to_nobody(tmp_path):
    folder = tmp_path / "photos"
    write_faces(folder, 3)
    (folder / "001.png").write_bytes(b"\x89PNG and no more")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "gone.jpg").write_bytes(b"x")
    source, out = Place.of(folder), Place.of(tmp_path / "out")
    (shard,) = Plan.of(source, out, 100)
    (folder / "gone.jpg").unlink()
    work = Work(source, out, packaged_model(), "none", None, "cpu", None)
    counts = recognise_shard(work, shard)
    assert (counts.pictures, counts.faces) == (5, 2)
    why = {Path(name).name: text for name, text in counts.broken}
    assert "cannot be decoded" in why["001.png"]
    assert "empty" in why["empty.jpg"]
    assert set(why) == {"001.png", "empty.jpg", "gone.jpg"}
    assert counts_of(out, shard.file) == counts


def test_a_disk_that_fails_is_no_broken_picture(faces, tmp_path, monkeypatch):
    source = Place.of(faces[0].parent)
    (shard,) = Plan.of(source, Place.of(tmp_path), 100)

    class Failing:
        def open_input_file(self, path):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(Place, "filesystem", Failing())
    with pytest.raises(OSError, match="Input/output error"):
        list(pictures(source, shard, None))


def test_the_column_of_pictures_is_found_by_its_type():
    struct = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    kinds = [("label", pyarrow.int64()), ("face", struct)]
    assert image_column(kinds, None, "t") == "face"
    with pytest.raises(InputError, match="no column 'label' of encoded pictures"):
        image_column(kinds, "label", "t")
    with pytest.raises(InputError, match=r"several columns of bytes \(face, raw\)"):
        image_column([*kinds, ("raw", pyarrow.large_binary())], None, "t")
    with pytest.raises(InputError, match="no column of bytes"):
        image_column(kinds[:1], None, "t")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--out", "o"], "no such file or folder"),
        (["empty", "--out", "o"], "no photo and no parquet file"),
        (["mixed", "--out", "o"], "holds photos and parquet files"),
        (["mixed"], "--out DIR"),
        (["mixed", "empty", "--out", "o"], "takes one folder"),
        (["photos", "--out", "o", "--column", "image"], "holds photos, not parquet"),
        (["photos", "--out", "o", "--csv", "x.csv", "--explain"], "leave out --csv, --explain"),
        (["photos", "--out", "o", "--every", "2"], "leave out --every"),
        (["photos", "--out", "o", "--device", "abacus"], "device 'abacus' is not known"),
        (["x3://bucket/photos", "--out", "o"], "not an address that pyarrow reads"),
        (["damaged", "--out", "o"], "damaged or cut short"),
    ],
)
def test_mistakes_are_one_sentence_before_ray_starts(
    arguments, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "empty").mkdir()
    write_faces(tmp_path / "photos", 1)
    paths = write_faces(tmp_path / "mixed", 1)
    table_of(tmp_path / "mixed" / "t", paths, group=1, struct=False)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "a.parquet").write_bytes(b"PAR1 and no more")
    assert cli.run(["predict", *arguments, "--engine", "ray"]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert error.count("\n") == 0
    assert not (tmp_path / "o" / "plan.json").exists()


def test_without_ray_the_extra_is_named_and_the_plan_waits(faces, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="pip install 'mien\\[scale\\]'"):
        recognise(faces[0].parent, tmp_path / "out", faces="none")


def test_another_job_is_not_mixed_into_results(faces, tmp_path):
    run_shards(faces[0].parent, tmp_path / "out")
    job = {"faces": "none", "shard": 4}
    source, out = Place.of(faces[0].parent), tmp_path / "out"
    plan = Plan.of(source, Place.of(out), 4)
    (out / "plan.parquet").write_bytes(plan.to_bytes())
    digest = Recognizer().card.digest
    about = {
        "dataset": source.where,
        "model": digest,
        "faces": "none",
        "size": None,
        "column": None,
    }
    (out / "plan.json").write_text(json.dumps(about))
    again = recognise(source.where, out, **job)  # all is there: Ray is not even started
    assert again.counts == Counts(pictures=10, faces=10)
    assert (again.shards, again.done_before, again.failed) == (3, 3, [])
    with pytest.raises(InputError, match="holds a job with other faces"):
        recognise(source.where, out, faces="yunet")


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_is_there_twice_when_a_worker_and_a_machine_die(
    tmp_path, monkeypatch
):
    """Two nodes; a worker is killed in the middle of a shard, later a whole node."""
    from ray.cluster_utils import Cluster

    folder, out = tmp_path / "photos", tmp_path / "out"
    paths = write_photos(folder, 48)
    (folder / "007.jpg").write_bytes(b"\xff\xd8\xff and no more")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=quiet)
    killed: list[str] = []
    try:
        second = cluster.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)

        def harm(done: int, shards: int, counts: Counts) -> None:
            if done >= 1 and "worker" not in killed:
                at_work = [p for p in psutil.process_iter(["cmdline"]) if is_at_work(p)]
                for process in at_work[:1]:
                    process.kill()
                    killed.append("worker")
            elif done >= 4 and "node" not in killed:
                cluster.remove_node(second, allow_graceful=False)
                killed.append("node")

        found = recognise(folder, out, shard=4, progress=harm)
    finally:
        cluster.shutdown()
    assert killed == ["worker", "node"]
    assert found.failed == []
    assert (found.shards, found.counts.pictures, len(found.counts.broken)) == (12, 48, 1)
    assert not list((out / RESULTS).glob(".*"))
    rows = rows_of(out)
    recognizer = Recognizer(threads=1)
    expected = Counter()
    for path in paths:
        if path.name != "007.jpg":
            expected[str(path)] = len(recognizer.recognize(path))
    assert sum(expected.values()) > 40
    assert Counter(row["source"] for row in rows) == expected
    assert [row["source"] for row in rows] == sorted(row["source"] for row in rows)


def is_at_work(process: psutil.Process) -> bool:
    return "recognise_shard" in " ".join(process.info["cmdline"] or [])


def write_photos(folder: Path, count: int) -> list[Path]:
    """One face that the detector finds, at as many sizes: the photo that ships inside matplotlib."""
    import matplotlib

    sample = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    folder.mkdir(parents=True)
    paths = [folder / f"{number:03d}.jpg" for number in range(count)]
    with Image.open(sample) as photo:
        for number, path in enumerate(paths):
            photo.resize((400 + number, 480 + number)).save(path)
    return paths


LISTENERS = """
import sys
from pathlib import Path
import psutil
from mien.predict_on_ray.job import ray_cluster

with ray_cluster("A test", 1) as ray:
    ray.get(ray.remote(lambda: 1).remote())
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        for socket in process.net_connections("tcp"):
            if socket.status == psutil.CONN_LISTEN:
                print(socket.laddr.ip)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems do not tell of processes' sockets"
)
def test_a_cluster_of_ones_own_is_heard_on_loopback_alone():
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", LISTENERS],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    heard = set(done.stdout.split())
    assert heard
    assert heard <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
