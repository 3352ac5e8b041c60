"""What a model's name leads to: the package, a file, a run folder, an address; and what it never does."""

from __future__ import annotations

import datetime
import hashlib
import importlib
import ipaddress
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from model_files import model_file

import mien
from mien import cli
from mien.errors import InputError
from mien.files import write_json
from mien.recipe import ModelSpec, Recipe, to_dict
from mien.recognise import naming
from mien.recognise.naming import find_model, packaged, packaged_model
from mien.recognise.recognizer import Recognizer


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def refused(name, **options):
    with pytest.raises(InputError) as error:
        find_model(name, **options)
    return str(error.value)


def test_packaged_models_go_by_their_names(elsewhere):
    default, small = packaged()
    assert Recognizer(default.name).card == Recognizer().card
    assert find_model(default.name) == find_model()
    assert default.size == len(packaged_model())
    assert Recognizer(small.name).card == small.card != default.card
    assert small.size < default.size


def test_a_file_of_a_models_name_wins(elsewhere):
    one = packaged()[1]
    (elsewhere / one.name).write_bytes(model_file())
    assert Recognizer(one.name).card.name == "tiny"


def test_a_name_that_means_nothing_is_told_with_those_that_exist(elsewhere):
    for name in ("mien-s", "mien-peple"):
        said = refused(name)
        assert name in said
        assert packaged()[0].name in said
    assert "no such model file" in refused("mine.onnx")
    assert "no such model file" in refused("models/mine")


def test_a_folder_without_a_run_is_refused(tmp_path):
    assert "a folder without a run" in refused(tmp_path)
    for seed in (0, 1):
        (tmp_path / f"seed-{seed}").mkdir()
        (tmp_path / f"seed-{seed}" / "recipe.json").write_text("{}")
    assert str(tmp_path / "seed-0") in refused(tmp_path)


@pytest.fixture
def run(tmp_path):
    """What stands in a run folder, without a training."""
    folder = tmp_path / "run"
    (folder / "best").mkdir(parents=True)
    write_json(folder / "recipe.json", to_dict(Recipe("r", ModelSpec("basic-cnn"))))
    (folder / "best" / "weights.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def exports(monkeypatch):
    """Exports are quick, and counted."""
    made = []

    def export(run, out):
        made.append(run.path)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(model_file())

    monkeypatch.setattr(importlib.import_module("mien.api.model_files"), "export", export)
    return made


def test_a_run_folder_is_exported_once_and_anew_for_new_weights(run, exports, own_cache):
    said = []
    for _ in range(2):
        assert find_model(run, say=said.append).content == model_file()
    assert (len(exports), len(said)) == (1, 1)
    assert str(run) in said[0]
    assert str(own_cache) in said[0]
    assert Recognizer(run).card.name == "tiny"

    (run / "best" / "weights.safetensors").write_bytes(b"others")
    find_model(run, say=said.append)
    assert (len(exports), len(said)) == (2, 2)

    for kept in (own_cache / "models").iterdir():
        kept.write_bytes(b"damaged")
    find_model(run, say=said.append)
    assert len(exports) == 3


def test_a_run_without_weights_is_refused(run, exports):
    (run / "best" / "weights.safetensors").unlink()
    assert "no weights there" in refused(run)
    assert not exports


def test_the_packaged_models_are_listed_with_their_accuracy(capsys):
    assert cli.run(["models", "--packaged", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["packaged"]
    assert cli.run(["models", "--packaged"]) == 0
    shown = capsys.readouterr().out
    assert rows[0]["bytes"] == len(packaged_model())
    for row, one in zip(rows, packaged(), strict=True):
        scores = one.card.scores["validation"]["majority"]
        assert row["name"] == one.name
        assert row["validation"]["accuracy"] == scores["accuracy"]
        assert one.name in shown
        assert f"{scores['accuracy']:.1%}" in shown


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 and its key, made for this run of the tests."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mien's tests")])
    now = datetime.datetime.now(datetime.UTC)
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(host, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def site(certificate, monkeypatch):
    """An https server of this computer that this process trusts: its address, and what was asked of it."""
    asked = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path.startswith("/to?"):
                self.send_response(302)
                self.send_header("Location", self.path.partition("?")[2])
                self.end_headers()
                return
            content = b"x" * 5000 if self.path == "/large.onnx" else model_file()
            self.send_response(404 if self.path == "/none.onnx" else 200)
            if self.path != "/large.onnx":  # whose length is not told
                more = 5 if self.path == "/short.onnx" else 0
                self.send_header("Content-Length", str(len(content) + more))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield f"https://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_address_is_fetched_once_and_opened_without_the_network_after(site, capsys):
    host, asked = site
    address = f"{host}/tiny.onnx?key=secret#sha256={digest(model_file())}"
    for _ in range(2):
        assert Recognizer(address).card.name == "tiny"
    assert find_model(address).content == model_file()
    assert asked == ["/tiny.onnx?key=secret"]
    said = capsys.readouterr().err
    assert said.count("fetching") == 1
    assert "secret" not in said


def test_another_file_than_the_digest_stands_for_is_neither_opened_nor_kept(
    site, own_cache, monkeypatch
):
    host, _ = site
    monkeypatch.setattr(naming, "checked_card", lambda *_: pytest.fail("it was opened"))
    said = refused(f"{host}/tiny.onnx#sha256={'0' * 64}", fetch=True)
    assert digest(model_file()) in said
    assert not list(own_cache.rglob("*.onnx"))


def test_a_changed_file_in_the_cache_is_not_opened(site, own_cache):
    host, asked = site
    address = f"{host}/tiny.onnx#sha256={digest(model_file())}"
    find_model(address, fetch=True)
    (kept,) = own_cache.rglob("*.onnx")
    kept.write_bytes(packaged_model())
    assert "addresses are not fetched here" in refused(address)
    assert find_model(address, fetch=True).content == model_file()
    assert len(asked) == 2


def test_redirects_stay_on_https(site):
    host, asked = site
    end = f"#sha256={digest(model_file())}"
    for target in (f"http{host[5:]}/tiny.onnx", "file:///etc/hostname", "ftp://127.0.0.1/a"):
        assert "cannot be fetched" in refused(f"{host}/to?{target}{end}", fetch=True)
    assert all(path.startswith("/to?") for path in asked)
    assert find_model(f"{host}/to?{host}/tiny.onnx{end}", fetch=True).content == model_file()


def test_what_is_too_large_or_not_there_is_one_sentence(site, monkeypatch):
    host, _ = site
    end = f"#sha256={'0' * 64}"
    monkeypatch.setattr(naming, "MOST_FETCHED", 1000)
    for path in ("large.onnx", "tiny.onnx"):  # without and with its length told
        assert "larger than" in refused(f"{host}/{path}{end}", fetch=True)
    monkeypatch.setattr(naming, "MOST_FETCHED", 10**6)
    for path in ("none.onnx", "short.onnx"):
        assert "cannot be fetched" in refused(f"{host}/{path}{end}", fetch=True)
    for address in ("https://127.0.0.1:9/a.onnx", "https://127.0.0.1:no/a.onnx"):
        assert "cannot be fetched" in refused(f"{address}{end}", fetch=True)
    assert "not an address" in refused(f"https://[127/a.onnx{end}", fetch=True)


def test_addresses_without_https_or_digest_are_refused_and_not_asked(site):
    host, asked = site
    assert "over https alone" in refused(f"http{host[5:]}/tiny.onnx", fetch=True)
    for end in ("", "#", "#sha256=12", "#md5=" + "0" * 32):
        assert f"{host}/tiny.onnx#sha256=" in refused(f"{host}/tiny.onnx{end}", fetch=True)
    assert "secret" not in refused("https://me:secret@127.0.0.1/a.onnx", fetch=True)
    assert not asked


def test_service_site_and_evaluation_fetch_nothing(site, tmp_path, capsys):
    host, asked = site
    address = f"{host}/tiny.onnx#sha256={digest(model_file())}"
    for command in (
        ["serve", "--model", address, "--port", "0"],
        ["export-web", address, "--out", str(tmp_path / "site")],
        ["evaluate", address, "--data", "synthetic:70"],
    ):
        assert cli.run(command) == 2
        assert "addresses are not fetched here" in capsys.readouterr().err
    with pytest.raises(InputError):
        mien.evaluate(address, "synthetic:70")
    assert not asked
