"""The pictures of the documentation, made anew from drawn faces and a photo in the public domain:

    python tools/docs_pictures.py                        # into docs/pictures/, and docs/*_marked.jpg
    python tools/docs_pictures.py portrait astronaut     # these alone

Needs the dev extra and a Chromium (`--chromium`, by default the one on the PATH) for the picture of a page.
FER-2013 is not read: its images are shown nowhere.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib
from PIL import Image
from playwright.sync_api import sync_playwright

import mien
import mien.cli
from mien.data.synthetic import synthetic_faces

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
#: What a picture may weigh, in bytes: they are in the repository.
LARGEST = 200_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    makers = {
        "samples": samples,
        "portrait": portrait,
        "astronaut": astronaut,
        "drawn": drawn,
        "timeline": timeline,
        "report": report,
        "page": page,
    }
    parser.add_argument(
        "pictures", nargs="*", help=f"{', '.join(makers)}; all of them if none is named"
    )
    given = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in given.pictures or makers:
            if name not in makers:
                parser.error(f"no picture {name!r}; there are {', '.join(makers)}")
            makers[name](Path(folder), given.chromium)


def samples(work: Path, _: str | None) -> None:
    """Drawn faces of each expression."""
    run("data", "inspect", "synthetic:700", "--out", work / "samples.png")
    keep(Image.open(work / "samples.png"), "samples.png", width=640)


def portrait(work: Path, _: str | None) -> None:
    """Grace Hopper, marked by `mien predict` with the model inside the package."""
    photo = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    run("predict", photo, "--out", work / "marked")
    marked = Image.open(work / "marked" / photo.name)
    marked.save(ROOT / "docs" / "grace_hopper_marked.jpg", quality=85, optimize=True)


def drawn(work: Path, _: str | None) -> None:
    """Seven drawn faces, one of each expression, and what mattered in the portrait: whatever is answered is shown."""
    sheet = Image.new("RGB", (920, 500), (226, 224, 220))
    for place, (_label, face) in enumerate(synthetic_faces(7, 0)):
        large = Image.fromarray(face).resize((180, 180), Image.Resampling.BICUBIC)
        sheet.paste(large, (30 + 225 * (place % 4), 40 + 230 * (place // 4)))
    sheet.save(work / "drawn.png")
    run("predict", work / "drawn.png", "--out", work / "drawn")
    keep(Image.open(work / "drawn" / "drawn.png"), "drawn.png", width=920)
    photo = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    run("predict", photo, "--out", work / "reasons", "--explain")
    (reasons,) = (work / "reasons").glob("*.face-1.png")
    keep(Image.open(reasons).resize((340, 340), Image.Resampling.NEAREST), "reasons.png", width=340)


def astronaut(work: Path, _: str | None) -> None:
    """An astronaut, a photo of NASA's that scikit-image brings; the picture stays as it is without that package."""
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        return
    photo = Path(package.origin).parent / "data" / "astronaut.png"
    run("predict", photo, "--out", work / "astronaut")
    marked = Image.open(work / "astronaut" / photo.name).convert("RGB").resize((410, 410))
    marked.save(ROOT / "docs" / "astronaut_marked.jpg", quality=85, optimize=True)


def timeline(work: Path, _: str | None) -> None:
    """The expressions of a film of that photo, over time."""
    sys.path.insert(0, str(ROOT / "examples"))
    from pan_and_zoom import pan_and_zoom

    photo = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    from mien.recognise.pictures import read_picture

    pan_and_zoom(read_picture(photo), work / "portrait.mp4")
    run("predict", work / "portrait.mp4", "--out", work / "film", "--timeline")
    (drawn,) = (work / "film").rglob("*.png")
    keep(Image.open(drawn), "timeline.png", width=1000)


def report(work: Path, chromium: str | None) -> None:
    """The report of a short run on drawn faces, as a browser shows it."""
    folder = mien.train("four-block-cnn", "synthetic:2500", work / "run", overrides=["epochs=8"])
    mien.evaluate(folder)
    mien.evaluate(folder, split="test")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(viewport={"width": 1000, "height": 1310})
        page.goto((folder.path / "report.html").as_uri())
        page.screenshot(path=work / "report.png")
        browser.close()
    keep(Image.open(work / "report.png"), "report.png", width=1000)


def page(work: Path, chromium: str | None) -> None:
    """The page of `mien serve` with the portrait."""
    command = [sys.executable, "-m", "mien", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        try:
            line = next(iter(service.stderr or ()))
            url = line.partition("served at ")[2].split(" ")[0]
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox"]
                )
                shown = browser.new_page(viewport={"width": 1200, "height": 860})
                shown.set_default_timeout(120_000)
                shown.goto(url)
                shown.click("body[data-ready] #example")
                shown.wait_for_selector(".face")
                shown.screenshot(path=work / "page.png")
                browser.close()
        finally:
            service.terminate()
    keep(Image.open(work / "page.png"), "page.png", width=1000)


def run(*arguments: object) -> None:
    """A command of mien, which has to succeed."""
    if mien.cli.run([str(argument) for argument in arguments]):
        raise SystemExit(f"mien {' '.join(map(str, arguments))} failed")


def keep(picture: Image.Image, name: str, *, width: int) -> None:
    """Write a picture of few colours, as small as it has to be."""
    picture = picture.convert("RGB")
    if picture.width > width:
        height = round(picture.height * width / picture.width)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    out = PICTURES / name
    picture.quantize(128, dither=Image.Dither.NONE).save(out, optimize=True)
    if out.stat().st_size > LARGEST:
        raise SystemExit(f"{out}: {out.stat().st_size:,} bytes, more than {LARGEST:,}")
    print(
        f"{out.relative_to(ROOT)}: {picture.width} x {picture.height}, {out.stat().st_size:,} bytes"
    )


if __name__ == "__main__":
    main()
