"""The download, without a network: what is tried, and what is said where it fails."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.data.download import download_fer2013
from mien.errors import InputError, MienError, MissingExtraError

kagglehub = pytest.importorskip("kagglehub")
requests = pytest.importorskip("requests")
REFUSED = kagglehub.exceptions.KaggleApiHTTPError("403 Client Error")


def answers(result: str | Exception) -> Callable[..., str]:
    def answer(handle: str, output_dir: str | None = None) -> str:
        if isinstance(result, Exception):
            raise result
        return output_dir or result

    return answer


def kaggle(
    monkeypatch: pytest.MonkeyPatch, challenge: str | Exception, folders: str | Exception
) -> None:
    monkeypatch.setattr(kagglehub, "competition_download", answers(challenge))
    monkeypatch.setattr(kagglehub, "dataset_download", answers(folders))


def test_the_challenges_own_files_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle(monkeypatch, "challenge", "folders")
    said: list[str] = []

    assert download_fer2013(say=said.append) == Path("challenge")
    assert "original pixels" in said[0]


def test_without_the_rules_accepted_the_class_folders_come(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kaggle(monkeypatch, REFUSED, "folders")
    said: list[str] = []

    assert download_fer2013(tmp_path, said.append) == tmp_path
    assert "msambare/fer2013" in said[0]
    assert "rules" in said[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.ConnectionError("no route"), "no connection to Kaggle"),
        (requests.Timeout("slow"), "no connection to Kaggle"),
        (REFUSED, "kaggle.json"),
        (kagglehub.exceptions.UnauthenticatedError(), "kaggle.json"),
        (kagglehub.exceptions.CredentialError("odd"), "key cannot be used"),
        (ValueError("Invalid Kaggle credentials file"), "key cannot be used"),
        (kagglehub.exceptions.BackendError("busy"), "try again later"),
        (kagglehub.exceptions.DataCorruptionError("hash"), "try again later"),
        (OSError(28, "No space left on device"), "disk is full"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_failure_is_one_sentence(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kaggle(monkeypatch, error, error)

    with pytest.raises(MienError, match=words) as caught:
        download_fer2013(tmp_path)

    assert "\n" not in str(caught.value)


def test_without_kagglehub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[data\]'") as caught:
        download_fer2013()

    assert isinstance(caught.value, InputError)
