"""`mien serve` as people start and end it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from services import started
from talk import PHOTO, picture

import mien
from mien import cli
from mien.serving.server import listen

unix = pytest.mark.skipif(os.name == "nt", reason="signals are Unix's")


@unix
def test_a_signal_drains_what_was_accepted(tmp_path):
    """Under load: whoever got into the service gets an answer, then the process ends."""
    with started("--threads", "1", TMPDIR=str(tmp_path)) as (process, url):
        answered, lost, refused = [], [], []

        def ask():
            with httpx.Client(timeout=30, trust_env=False) as client:
                while True:
                    with client.stream(
                        "POST", f"{url}/v1/recognise", content=PHOTO,
                        headers={"content-type": "image/jpeg", "connection": "close"},
                    ) as response:  # fmt: skip
                        answered.append(response.read() and response.status_code)

        def asking():
            try:
                ask()
            except httpx.ConnectError as error:
                refused.append(error)
            except httpx.HTTPError as error:
                lost.append(error)

        threads = [threading.Thread(target=asking) for _ in range(8)]
        for thread in threads:
            thread.start()
        while len(answered) < 16:
            time.sleep(0.02)
        before = len(answered)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
        assert process.wait(30) == -signal.SIGTERM
        assert set(answered) == {200}
        assert len(answered) > before  # those that were in work
        # Whoever was connected and not yet read was not accepted; all the others have their answer.
        assert all(isinstance(error, httpx.ReadError | httpx.RemoteProtocolError) for error in lost)
        assert len(lost) + len(refused) == 8
        assert len(lost) <= 1
        assert not list(tmp_path.glob("mien-*"))


@unix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_work_is_answered_after_the_signal(number):
    with started("--threads", "1") as (process, url):
        status = []

        def ask():
            answer = httpx.post(
                f"{url}/v1/recognise?explain=true",
                content=PHOTO,
                headers={"content-type": "image/jpeg"},
                timeout=60,
                trust_env=False,
            )
            status.append(answer.status_code)

        thread = threading.Thread(target=ask)
        thread.start()
        while "mien_waiting_pictures 1.0" not in httpx.get(f"{url}/metrics").text:
            time.sleep(0.01)
        process.send_signal(number)
        thread.join(60)
        assert status == [200]
        ended = process.wait(30)
    assert ended in (-number, 128 + number)


@unix
def test_the_shipped_model_and_nothing_on_standard_output():
    with started() as (process, url):
        assert url.startswith("http://127.0.0.1:")
        with httpx.Client(base_url=url, trust_env=False) as client:
            assert client.get("/v1/model").json()["digest"] == mien.Recognizer().card.digest
            answer = client.post(
                "/v1/recognise?detector=none",
                content=picture(),
                headers={"content-type": "image/png"},
            )
            assert len(answer.json()["images"][0]["faces"][0]["probabilities"]) == 7
            client.post("/v1/recognise", content=b"\xff\xd8\xffbroken secret")
        process.terminate()
        process.wait(30)
        assert process.stdout.read() == ""
        assert process.stderr.read() == ""  # nothing of a picture, nor of a request


def test_a_port_that_is_taken(capsys):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        status = cli.run(["serve", "--port", str(other.getsockname()[1])])
    assert status == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "cannot listen there" in said
    assert "--port" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "no.such.host.invalid"], "cannot listen there"),
        (["--model", "none.onnx"], "none.onnx"),
        (["--device", "tpu"], "not known"),
        (["--api-keys", "none.txt"], "no such file"),
        (["--allow-origin", "example.org"], "https://example.org"),
        (["--max-body", "0"], "max-body"),
    ],
)
def test_mistakes_are_one_sentence(options, words, capsys):
    assert cli.run(["serve", *options]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert words in said
    assert "Traceback" not in said


def test_keys_from_a_file_or_the_environment(tmp_path, monkeypatch):
    from mien.cli.serve import _keys
    from mien.errors import InputError
    from mien.serving.settings import Settings

    file = tmp_path / "keys.txt"
    file.write_text("first-key-of-some-length\n\n second-key-of-some-length \n")
    assert _keys(file) == ("first-key-of-some-length", "second-key-of-some-length")
    file.write_text("\n")
    with pytest.raises(InputError, match="it has no key"):
        _keys(file)
    file.write_bytes(b"a-key-of-some-length-\xff\xfe\n")
    with pytest.raises(InputError, match="signs of ASCII"):
        Settings(api_keys=_keys(file))
    monkeypatch.delenv("MIEN_API_KEY", raising=False)
    assert _keys(None) == ()
    monkeypatch.setenv("MIEN_API_KEY", "key-from-environment")
    assert _keys(None) == ("key-from-environment",)


def test_without_its_extra_the_command_names_it():
    missing = (
        "import sys; sys.modules['fastapi'] = None; sys.argv[1:] = ['serve'];"
        "from mien.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", missing], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'mien[serve]'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert Path(sys.executable).exists()


def test_the_end_of_an_answer_does_not_wait_for_its_beginning_to_be_confirmed():
    """Nagle's algorithm, which asyncio turns off on other sockets than those of `create_server`."""
    with (
        listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_camera_is_shown_on_loopback_alone_by_the_services_page(monkeypatch, capsys, tmp_path):
    import typer

    from mien.serving import server

    monkeypatch.chdir(tmp_path)  # where no file is called 0
    opened, hosts = [], []

    class Listening(server.Server):
        def __init__(self, app, settings, started):
            self._began = started

        def run(self, sockets):
            (one,) = sockets
            hosts.append(one.getsockname())
            self._began()
            one.close()

    monkeypatch.setattr(server, "Server", Listening)
    monkeypatch.setattr(typer, "launch", opened.append)
    assert cli.run(["predict", "0", "--show"]) == 0
    for (host, port), page in zip(hosts, opened, strict=True):
        assert (host, page) == ("127.0.0.1", f"http://127.0.0.1:{port}/#camera")
    assert opened[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["photo.jpg"], "is for a camera only"),
        (["0", "1"], "is for a camera only"),
        (["0", "--csv", "rows.csv", "--out", "out"], "leave out --csv, --out"),
        (["0", "--engine", "ray"], "leave out --show"),
    ],
)
def test_only_a_camera_is_shown_and_nothing_beside_it(
    arguments, said, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["predict", *arguments, "--show"]) == 2
    assert said in capsys.readouterr().err
