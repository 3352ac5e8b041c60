"""Can strangers stop the service, fill it or fool it? All of `attack_kinds.py` at once, beside an honest client.

    python benchmarks/attack.py [--minutes 2] [--limits wide|floors] [--only KIND ...] [--json FILE]
    python benchmarks/attack.py --each [--only KIND ...]

With `--each` every kind is sent once, alone, and a line tells its answer, the service's computing time for
it and the most memory. Else it starts `mien serve` in a process of its own, attacks it from one address for
so long, and tells

- the longest silence of /healthz, asked ten times a second from an address of its own;
- the most memory: of the service and its children together, looked at 20 times a second. Above
  `--end-at` MB it is ended, and that is a failure;
- what an honest client was answered, at an address of its own, that sends five photos of 720p a
  second: a photo is lost where there is neither an answer nor a refusal with Retry-After;
- how long SIGTERM took.

Leaves with 1 where a limit is broken. Limits are wide (any machine, however busy) or the floors of a
quiet one with two cores.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

HONEST, WATCHING = "127.0.0.2", "127.0.0.3"
PHOTOS_A_SECOND = 5
#: Virtual memory of the service: a backstop, if the watch on what it really takes is too slow.
MOST_VIRTUAL = 16_000_000_000
#: MB; seconds; share of the honest client's photos; seconds.
LIMITS = {
    "wide": {"memory": 1000.0, "silence": 10.0, "answered": 0.0, "ended": 60.0},
    "floors": {"memory": 700.0, "silence": 1.0, "answered": 0.95, "ended": 5.0},
}
_PHOTO = Path(__file__).parents[1] / "src" / "mien" / "serving" / "page" / "example.jpg"


@dataclass
class Seen:
    """What was seen of a service under attack."""

    silence_s: float = 0.0
    peak_mb: float = 0.0
    filled: bool = False
    honest: Counter[str] = field(default_factory=Counter)
    honest_s: list[float] = field(default_factory=list)
    attacks: dict[str, dict[str, int]] = field(default_factory=dict)
    alive: bool = False
    ended_s: float = 0.0

    def told(self) -> dict[str, Any]:
        """Plain values."""
        asked = sum(self.honest.values())
        slowest = sorted(self.honest_s)[-1 - len(self.honest_s) // 20] if self.honest_s else None
        return {
            "healthz_longest_silence_s": round(self.silence_s, 2),
            "peak_memory_mb": round(self.peak_mb),
            "honest_photos": asked,
            "honest": dict(self.honest),
            "honest_answered": round(self.honest["200"] / asked, 4) if asked else None,
            "honest_lost": sum(
                count for told, count in self.honest.items() if told not in ("200", "come later")
            ),
            "honest_p95_s": None if slowest is None else round(slowest, 2),
            "alive": self.alive,
            "sigterm_s": round(self.ended_s, 1),
            "attacks": self.attacks,
        }

    def faults(self, limits: dict[str, float]) -> list[str]:
        """The limits that were broken."""
        told = self.told()
        checks = {
            "it ended": not self.alive,
            f"memory above {limits['memory']:.0f} MB": self.filled
            or self.peak_mb > limits["memory"],
            f"silent for more than {limits['silence']:.0f} s": self.silence_s > limits["silence"],
            "honest photos were lost": told["honest_lost"] > 0,
            "too few honest photos were answered": (told["honest_answered"] or 0)
            < limits["answered"],
            f"SIGTERM took more than {limits['ended']:.0f} s": self.ended_s > limits["ended"],
        }
        return [fault for fault, broken in checks.items() if broken]


@contextmanager
def service(*options: str) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    """`mien serve` on a free port, with a limit of its memory."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", "serve", "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MOST_VIRTUAL, MOST_VIRTUAL)),
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        threading.Thread(target=process.stderr.read, daemon=True).start()  # or its pipe fills
        host, port = re.findall(r"http://([^:]+):(\d+) ", line)[0]
        yield process, (host, int(port))
    finally:
        process.kill()
        process.wait(10)


def photo() -> bytes:
    """A JPEG of 1280 x 720 with a face."""
    wide = Image.new("RGB", (1280, 720), "gray")
    face = Image.open(_PHOTO).convert("RGB")
    face.thumbnail((700, 700))
    wide.paste(face, (200, 10))
    out = io.BytesIO()
    wide.save(out, "JPEG", quality=90)
    return out.getvalue()


def ask(
    place: tuple[str, int], source: str, method: str, path: str, body: bytes | None = None
) -> tuple[int, str | None]:
    """One request over a connection of its own: the status, and Retry-After."""
    connection = HTTPConnection(*place, timeout=60, source_address=(source, 0))
    try:
        kind = {} if body is None else {"Content-Type": "image/jpeg"}
        connection.request(method, path, body, kind)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["Retry-After"]
    finally:
        connection.close()


class Watch:
    """Looks on while a service is attacked."""

    def __init__(
        self,
        process: subprocess.Popen[str],
        place: tuple[str, int],
        end_at: float,
        *,
        asking: bool = True,
    ) -> None:
        self.seen = Seen()
        self._process, self._place, self._end_at = process, place, end_at
        self._over = threading.Event()
        self._lock = threading.Lock()
        works = (self._memory, self._health, self._honest) if asking else (self._memory,)
        self._threads = [threading.Thread(target=work) for work in works]

    def __enter__(self) -> Seen:
        for thread in self._threads:
            thread.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _health(self) -> None:
        silent_since = None
        while not self._over.wait(0.1):
            silent_since = silent_since or time.monotonic()
            with suppress(OSError, HTTPException):
                if ask(self._place, WATCHING, "GET", "/healthz")[0] == 200:
                    self._heard(silent_since)
                    silent_since = None
        if silent_since is not None:
            self._heard(silent_since)

    def _heard(self, silent_since: float) -> None:
        self.seen.silence_s = max(self.seen.silence_s, time.monotonic() - silent_since)

    def _memory(self) -> None:
        root = psutil.Process(self._process.pid)
        while not self._over.wait(0.05):
            total = 0
            with suppress(psutil.Error):
                for one in (root, *root.children(recursive=True)):
                    total += one.memory_info().rss
            self.seen.peak_mb = max(self.seen.peak_mb, total / 1e6)
            if self.seen.peak_mb > self._end_at:
                self.seen.filled = True
                self._process.kill()
                return

    def _honest(self) -> None:
        body = photo()
        with ThreadPoolExecutor(32) as pool:
            due = time.monotonic()
            while not self._over.wait(max(0.0, due - time.monotonic())):
                pool.submit(self._photo, body)
                due = max(due, time.monotonic() - 1) + 1 / PHOTOS_A_SECOND

    def _photo(self, body: bytes) -> None:
        began = time.monotonic()
        try:
            status, later = ask(self._place, HONEST, "POST", "/v1/recognise", body)
            told = "come later" if status in (429, 503) and later else str(status)
        except (OSError, HTTPException) as error:
            told = type(error).__name__
        with self._lock:
            self.seen.honest[told] += 1
            if told == "200":
                self.seen.honest_s.append(time.monotonic() - began)


def attacked(seconds: float, only: list[str], end_at: float) -> Seen:
    """What became of a service that was attacked for so long."""
    script = Path(__file__).with_name("attack_kinds.py")
    with service() as (process, place):
        command = [sys.executable, str(script), place[0], str(place[1]), str(seconds), *only]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attack:
            try:
                assert attack.stdout is not None
                if attack.stdout.readline() != "ready\n":
                    sys.exit(attack.wait())
                with Watch(process, place, end_at) as seen:
                    told, _ = attack.communicate(timeout=seconds + 120)
            finally:
                attack.kill()
        seen.attacks = json.loads(told)
        seen.alive = process.poll() is None
        began = time.monotonic()
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        seen.ended_s = time.monotonic() - began
    return seen


def each(only: list[str]) -> None:
    """Print what one go of each kind is answered and costs; computing time is the same on a busy machine."""
    from attack_kinds import ATTACKS, make

    with service() as (process, place):
        look = psutil.Process(process.pid)
        for attack in ATTACKS:
            if only and attack.__name__ not in only:
                continue
            make(attack)
            before = sum(look.cpu_times()[:2])
            with Watch(process, place, 2000.0, asking=False) as seen:
                told = attack(place)
            spent = sum(look.cpu_times()[:2]) - before
            print(
                f"{attack.__name__:16} {told!s:20} {spent:6.2f} s {seen.peak_mb:5.0f} MB",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--limits", choices=sorted(LIMITS), default="wide")
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--only", nargs="*", default=[], metavar="KIND")
    parser.add_argument("--end-at", type=float, default=2000.0, metavar="MB")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    if given.each:
        each(given.only)
        return
    seen = attacked(60 * given.minutes, given.only, given.end_at)
    told = seen.told() | {"faults": seen.faults(LIMITS[given.limits])}
    text = json.dumps(told, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")
    sys.exit(bool(told["faults"]))


if __name__ == "__main__":
    main()
