"""What the classes of other data are to a network: read, completed, or refused with what would do."""

from __future__ import annotations

import pytest
from PIL import Image

from mien.data import load
from mien.data.mapping import complete_map, parse_map
from mien.data.reading import FOUND, UnknownClassesError
from mien.errors import InputError
from mien.expressions import SEVEN


def test_pairs_are_read_in_our_names():
    assert parse_map(" Joy = Happiness, Mad Face=anger ,contempt=,") == {
        "happy": "happy",
        "mad face": "angry",
        "contempt": None,
    }
    assert parse_map("") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("joy", "'joy' is not a pair"),
        ("=happy", "is not a pair"),
        ("a=sad,A=happy", "is given twice"),
    ],
)
def test_what_is_no_map_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        parse_map(text)


def test_classes_of_the_same_name_need_not_be_given():
    found = complete_map({"grin": "happy", "odd": None}, ["sad", "grin", "odd"], SEVEN, "data")
    assert found == {"grin": "happy", "odd": None, "sad": "sad"}


def test_unknown_classes_are_all_listed_with_the_map_that_would_do():
    with pytest.raises(InputError) as refused:
        complete_map({"grin": "happy"}, ["grin", "odd", "calm", "sad"], SEVEN, "photos")
    assert "photos: the network knows no 'calm' and no 'odd'" in str(refused.value)
    assert '--map "grin=happy,calm=,odd="' in str(refused.value)
    suggested = parse_map("grin=happy,calm=,odd=")
    assert complete_map(suggested, ["grin", "odd", "calm", "sad"], SEVEN, "photos")["odd"] is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"gri": "happy"}, "no class 'gri'.*did you mean grin"),
        ({"grin": "hapy"}, "knows no 'hapy'"),
    ],
)
def test_names_that_there_are_not_are_refused(given, words):
    with pytest.raises(InputError, match=words):
        complete_map(given, ["grin"], SEVEN, "photos")


@pytest.fixture
def folder(tmp_path):
    for name in ("Grin", "odd", "Sadness"):
        (tmp_path / name).mkdir()
        Image.new("L", (48, 48), len(name)).save(tmp_path / name / "1.png")
    return tmp_path


def test_the_names_of_folders_may_be_the_label_set(folder):
    store = load(folder, labels=FOUND)
    assert store.expressions == ("grin", "odd", "sad")
    assert sorted(store.expressions[label] for label in store.labels) == ["grin", "odd", "sad"]


def test_every_unknown_folder_is_named(folder):
    with pytest.raises(
        UnknownClassesError, match=r"'grin' is not in the label set .*nor are 'odd'"
    ) as found:
        load(folder)
    assert found.value.unknown == ("grin", "odd")
