"""Memory must not grow with the film: `mien predict` on a minute and on an hour of it.

    python benchmarks/video_memory.py [--minutes 60] [--size 640x360] [--every N]

A minute of one face that moves (`scenes.py`) is made, 30 frames a second; the long film is a file of its
own, in which the same packets come again with times that go on. Both are gone through as
`mien predict FILM --csv ROWS` does, each in a process of its own, and the largest resident set of each is
shown, as is what it was after every tenth of the frames.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from parts import run_part


def write_long(minute: Path, minutes: int, out: Path) -> None:
    """The packets of a film again and again, undecoded."""
    import av

    with av.open(str(out), "w") as file:
        stream = None
        for number in range(minutes):
            with av.open(str(minute)) as source:
                if stream is None:
                    stream = file.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.dts is None:  # the end
                        continue
                    shift = round(60 * number / packet.time_base)
                    packet.pts += shift
                    packet.dts += shift
                    packet.stream = stream
                    file.mux(packet)


def resident_megabytes() -> float | None:
    """The resident set now, in millions of bytes; None where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (line,) = (one for one in status.read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


def measure(film: Path, every: int | None) -> dict[str, Any]:
    from mien.allocator import peak_memory
    from mien.recognise.film import recognise_film
    from mien.recognise.media import Frame, Item
    from mien.recognise.recognizer import Recognizer
    from mien.recognise.rows import RowFile

    recognizer = Recognizer()
    on_the_way: list[float | None] = []

    def told(frame: Frame, total: int | None) -> None:
        if frame.index % max(1, (total or 1) // 10) == 0:
            on_the_way.append(resident_megabytes())

    started = time.perf_counter()
    with RowFile(film.with_suffix(".csv"), recognizer.card.expressions) as rows:
        item = Item("video", str(film), film.name)
        done = recognise_film(item, recognizer, every=every, rows=[rows.write], on_frame=told)
    return {
        "frames": done.frames,
        "looked_at": done.looked_at,
        "minutes": done.duration_s / 60,
        "seconds": time.perf_counter() - started,
        "peak_megabytes": peak_memory() / 1e6,
        "on_the_way": on_the_way,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--size", default="640x360", help="of the frames, in pixels")
    parser.add_argument("--every", type=int, help="look at each N-th frame; by default as usual")
    parser.add_argument("--part", choices=["make", "measure"], help=argparse.SUPPRESS)
    parser.add_argument("--film", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    given = sys.argv[1:]
    if options.part == "make":
        from scenes import write_film

        width, height = map(int, options.size.split("x"))
        write_film(options.film, 1, 60, size=(width, height))
        write_long(options.film, options.minutes, options.film.with_name("long.mp4"))
        print("{}")
        return
    if options.part == "measure":
        print(json.dumps(measure(options.film, options.every)))
        return
    with tempfile.TemporaryDirectory(prefix="mien-benchmark-") as scratch:
        film = Path(scratch) / "minute.mp4"
        run_part(__file__, *given, "--part", "make", "--film", str(film))
        peaks = []
        for file in (film, film.with_name("long.mp4")):
            told = run_part(__file__, *given, "--part", "measure", "--film", str(file))
            peaks.append(told["peak_megabytes"])
            print(
                f"{told['minutes']:.1f} minutes of {options.size}: {told['frames']:,} frames, looked at "
                f"{told['looked_at']:,}, {told['seconds']:.0f} s; peak {peaks[-1]:.0f} MB; on the way "
                + " ".join("-" if one is None else f"{one:.0f}" for one in told["on_the_way"]),
                flush=True,
            )
    print(f"the long film takes {peaks[1] - peaks[0]:+.0f} MB (aimed at: less than 100)")


if __name__ == "__main__":
    main()
