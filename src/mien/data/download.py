"""Download FER-2013 from Kaggle with the user's own account."""

from __future__ import annotations

from pathlib import Path

from mien.callbacks import Say
from mien.errors import InputError, extra_required, writing_to
from mien.files import from_home

_CHALLENGE = "challenges-in-representation-learning-facial-expression-recognition-challenge"
_FOLDERS = "msambare/fer2013"
_BY_HAND = f"https://www.kaggle.com/c/{_CHALLENGE}/data"


def download_fer2013(out: Path | None = None, say: Say | None = None) -> Path:
    """Download FER-2013 with kagglehub and the user's own key.

    The challenge's own files are tried first: they hold the original pixels, but Kaggle gives them only
    to accounts that accepted the challenge's rules. If Kaggle refuses them, the class folders of
    `msambare/fer2013` are downloaded: the same faces as JPEGs. `say` reports the choice.

    Args:
        out: the folder to download to; default: kagglehub's own cache.
        say: takes one line of text for people.

    Returns:
        The folder with the files, to be given to `load`.

    Raises:
        MissingExtraError: kagglehub is not installed.
        InputError: no connection, key or permission; the message names the remedy.
    """
    with extra_required("data", "downloading FER-2013"):
        import kagglehub
        import requests
        from kagglehub import exceptions
    refused = (exceptions.UnauthenticatedError, exceptions.KaggleApiHTTPError)
    target = str(out) if out else None
    say = say or (lambda _: None)
    with writing_to(out or from_home("~")):
        try:
            try:
                path = kagglehub.competition_download(_CHALLENGE, output_dir=target)
                say("downloaded the challenge's own files (original pixels)")
            except refused:
                path = kagglehub.dataset_download(_FOLDERS, output_dir=target)
                say(
                    f"downloaded {_FOLDERS} (JPEG copies); for the original pixels accept the "
                    f"challenge's rules at {_BY_HAND}"
                )
        except refused as error:
            raise InputError(
                "Kaggle refused the download; put your key at ~/.kaggle/kaggle.json "
                f"(kaggle.com, Settings, API) or download by hand from {_BY_HAND}"
            ) from error
        except (exceptions.CredentialError, ValueError) as error:
            raise InputError(
                f"the Kaggle key cannot be used ({error}); make a new one at kaggle.com, "
                "Settings, API"
            ) from error
        except (exceptions.BackendError, exceptions.DataCorruptionError) as error:
            raise InputError(
                f"Kaggle did not deliver FER-2013 ({error}); try again later"
            ) from error
        except requests.RequestException as error:
            raise InputError(
                "no connection to Kaggle; check the network, or download FER-2013 elsewhere from "
                f"{_BY_HAND} and give its path"
            ) from error
    return Path(path)
