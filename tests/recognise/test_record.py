"""All that is told of a face, by whatever way, has the fields of one record, in its order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stand_in import StandIn, photo

from mien.expressions import SEVEN
from mien.recognise import record
from mien.recognise.recognizer import Faces, Recognizer
from mien.recognise.rows import columns, row
from mien.recognise.track import FaceTracker

BOX = ["x", "y", "width", "height"]
ANSWER = ["detection_score", "expression", "probability", "uncertain", "why_uncertain"]


@pytest.fixture(scope="module")
def face():
    return Recognizer(StandIn()).recognize(photo())[0]


def test_a_photo_s_face(face):
    told = face.to_dict()
    assert list(told) == ["box", "angle", *ANSWER, "probabilities"]
    assert list(told["box"]) == BOX
    assert record.as_cells(face) == {
        **told["box"],
        **{name: told[name] for name in ["angle", *ANSWER]},
    }


def test_a_followed_face(face):
    (followed,) = FaceTracker().update(0.0, [face])
    told = record.as_dict(followed)
    assert list(told) == ["track_id", "box", *ANSWER, "probabilities", "raw"]
    assert record.as_dict(followed.carried(followed.box))["raw"] is None


def test_rows_have_their_columns_and_round(face):
    names = ["source", "frame", "time_s", "track_id", *BOX, *ANSWER]
    made = row("a.jpg", 0, None, replace(face, box=(1, 2.345678, 3, 4), probability=1 / 3))
    assert list(made) == [*names, *SEVEN]
    assert list(columns(SEVEN))[: len(names)] == names
    assert [made[name] for name in (*BOX, "probability")] == [1.0, 2.35, 3.0, 4.0, 0.333333]


@pytest.mark.parametrize("why", [None, "size"])
def test_a_data_frame_of_sure_and_unsure_faces(face, why):
    pandas = pytest.importorskip("pandas")

    def frame(*faces):
        return Faces(faces, size=(512, 600), expressions=SEVEN).to_dataframe()

    told = frame(replace(face, why_uncertain=why), face)
    assert list(told.columns) == [*BOX, "angle", *ANSWER, *SEVEN]
    assert told.loc[0, "uncertain"] == (why is not None)
    assert (told.loc[0, "why_uncertain"] == why) or (
        why is None and told["why_uncertain"].isna()[0]
    )
    assert told["why_uncertain"].isna()[1]
    assert (told.dtypes == frame().dtypes).all()
    assert len(pandas.concat([told, frame()])) == 2
