import functools
import gzip
import http.server
import os
import resource
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bitspike.data import dataset_info, fetch, load, mnist, registry
from bitspike.data.checksum import Checksum, digest
from bitspike.data.download import download
from bitspike.data.sources import Download

CONTENT = bytes(range(256)) * 3000
ITEM = Download("set/file.gz", ("http://127.0.0.1:9/",), Checksum("md5", digest(CONTENT, "md5")))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if self.path.startswith("/short/"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1000])
            self.close_connection = True
        else:
            super().do_GET()


@pytest.fixture
def server(tmp_path):
    """Serve a folder with the file over HTTP on this machine and return its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file.gz").write_bytes(CONTENT)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/"
        running.shutdown()


def files_below(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_download_over_http_with_progress(tmp_path, server):
    seen = []
    path = download(ITEM, tmp_path / "root", mirrors=[server], progress=lambda *step: seen.append(step))
    assert path == tmp_path / "root" / "set" / "file.gz"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == ("file.gz", len(CONTENT), len(CONTENT))
    assert len(seen) > 1
    assert files_below(tmp_path / "root") == ["set/file.gz"]


def test_a_local_mirror_and_the_next_mirror_after_a_failure(tmp_path, server):
    local = (tmp_path / "served").as_uri()
    assert download(ITEM, tmp_path / "one", mirrors=[local]).read_bytes() == CONTENT
    mirrors = [server + "nowhere/", server + "short/", server]
    assert download(ITEM, tmp_path / "two", mirrors=mirrors).read_bytes() == CONTENT


def test_wrong_checksum_leaves_nothing_behind_and_keeps_what_was_there(tmp_path, server):
    (tmp_path / "served" / "file.gz").write_bytes(b"something else")
    target = tmp_path / "root" / "set" / "file.gz"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"old")
    with pytest.raises(OSError, match=r"could not fetch file\.gz: tried http.*wrong checksum, expected md5"):
        download(ITEM, tmp_path / "root", mirrors=[server])
    assert target.read_bytes() == b"old"
    assert files_below(tmp_path / "root") == ["set/file.gz"]


@pytest.mark.parametrize(("path", "message"), [("short/", "ended after 1000 of 768000|IncompleteRead"), ("no/", "404")])
def test_broken_transfers_leave_nothing_behind(tmp_path, server, path, message):
    with pytest.raises(OSError, match=message):
        download(ITEM, tmp_path / "root", mirrors=[server + path])
    assert files_below(tmp_path / "root") == []


def test_an_unreachable_server_and_a_strange_address(tmp_path):
    with pytest.raises(OSError, match=r"could not fetch file\.gz: tried http://127\.0\.0\.1:9/file\.gz"):
        download(ITEM, tmp_path / "root")
    with pytest.raises(ValueError, match="allowed are https, http, file"):
        download(ITEM, tmp_path / "root", mirrors=["ftp://example.org/"])


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no file size limit on this system")
def test_a_full_disk_leaves_nothing_behind(tmp_path, server):
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from bitspike.data.checksum import Checksum\n"
        "from bitspike.data.download import download\n"
        "from bitspike.data.sources import Download\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        f"item = Download('set/file.gz', ({server!r},), Checksum('md5', {ITEM.checksum.hexdigest!r}))\n"
        "try:\n"
        f"    download(item, Path({str(tmp_path / 'root')!r}))\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert "file.gz ([Errno 27] File too large); make room there or choose another root" in result.stdout
    assert files_below(tmp_path / "root") == []


@pytest.fixture
def tiny_mnist(tmp_path, server, monkeypatch):
    """Make the server the only mirror of an MNIST of two pictures a split; return the root to fetch into."""
    images = gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 2, 28, 28) + bytes(2 * 784))
    labels = gzip.compress(struct.pack(">HBB1I", 0, 8, 1, 2) + bytes([4, 2]))
    packed, unpacked = {}, {}
    for stem in ("train", "t10k"):
        for kind, data in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            (tmp_path / "served" / f"{stem}-{kind}.gz").write_bytes(data)
            packed[f"{stem}-{kind}"] = digest(data, "md5")
            unpacked[f"{stem}-{kind}"] = digest(gzip.decompress(data))
    monkeypatch.setitem(mnist._SHA256, "mnist", unpacked)
    monkeypatch.setitem(mnist._PACKED_MD5, "mnist", packed)
    monkeypatch.setitem(mnist._MIRRORS, "mnist", (server,))
    monkeypatch.setitem(registry.ENTRIES, "mnist", registry._mnist("mnist"))
    return tmp_path / "root"


def test_fetch_and_load_with_download(tmp_path, tiny_mnist):
    """The whole way for MNIST: nothing there, fetched on request, checked, read."""
    root = tiny_mnist
    with pytest.raises(FileNotFoundError, match="bitspike data fetch mnist"):
        load("mnist", "test", root=root)
    assert not root.exists()
    assert load("mnist", "test", root=root, download=True).labels.tolist() == [4, 2]
    info = dataset_info("mnist", root, verify=True)
    assert info["present"]
    assert [file["checksum"] for file in info["files"]] == ["ok"] * 4
    for file in (tmp_path / "served").iterdir():
        file.unlink()
    assert len(fetch("mnist", root)) == 4  # all there: nothing is asked of the server
    (root / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(OSError, match="404"):
        load("mnist", "test", root=root, download=True)


DAMAGE = [b"", b"no gzip", gzip.compress(b"other content", mtime=0)]


@pytest.mark.parametrize("damage", DAMAGE)
def test_fetch_and_load_repair_what_is_damaged(tiny_mnist, damage):
    fetch("mnist", tiny_mnist)
    file = tiny_mnist / "mnist" / "t10k-labels-idx1-ubyte.gz"
    whole = file.read_bytes()
    file.write_bytes(damage)
    fetch("mnist", tiny_mnist)
    assert file.read_bytes() == whole
    file.write_bytes(damage)
    with pytest.raises(ValueError, match="t10k-labels"):
        load("mnist", "test", root=tiny_mnist)
    assert load("mnist", "test", root=tiny_mnist, download=True).labels.tolist() == [4, 2]
    assert file.read_bytes() == whole


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_kept_when_no_mirror_has_a_better_one(tmp_path, tiny_mnist, damage):
    fetch("mnist", tiny_mnist)
    file = tiny_mnist / "mnist" / "t10k-labels-idx1-ubyte.gz"
    file.write_bytes(damage)
    (tmp_path / "served" / file.name).unlink()
    for attempt in (fetch, lambda name, root: load(name, "test", root=root, download=True)):
        with pytest.raises(OSError, match=r"404.*the file that was there before is kept as it was: .*labels"):
            attempt("mnist", tiny_mnist)
        assert file.read_bytes() == damage


def test_own_files_are_left_alone(tmp_path, tiny_mnist):
    """Another packing of the same content needs no repair, and verify=False asks for no comparison."""
    fetch("mnist", tiny_mnist)
    file = tiny_mnist / "mnist" / "t10k-labels-idx1-ubyte.gz"
    repacked = gzip.compress(gzip.decompress(file.read_bytes()), compresslevel=1, mtime=1)
    file.write_bytes(repacked)
    fetch("mnist", tiny_mnist)
    assert file.read_bytes() == repacked
    own = gzip.compress(struct.pack(">HBB1I", 0, 8, 1, 2) + bytes([7, 7]))
    file.write_bytes(own)
    assert load("mnist", "test", root=tiny_mnist, download=True, verify=False).labels.tolist() == [7, 7]
    assert file.read_bytes() == own


def test_a_damaged_file_in_front_of_the_fetched_one_is_named(tiny_mnist):
    fetch("mnist", tiny_mnist)
    plain = tiny_mnist / "mnist" / "t10k-labels-idx1-ubyte"
    plain.write_bytes(b"own")
    with pytest.raises(ValueError, match=r"read in its place: .*t10k-labels-idx1-ubyte; remove them"):
        fetch("mnist", tiny_mnist)
    assert plain.read_bytes() == b"own"


def test_every_public_file_has_an_address_a_place_and_a_checksum():
    items = [(entry, item) for entry in registry.ENTRIES.values() for item in entry.downloads]
    assert {entry.name for entry, _ in items} == {"mnist", "fashion-mnist", "cifar10", "cifar100", "ev-objects"}
    for entry, item in items:
        assert Path(item.path).parts[0] == entry.name
        assert item.mirrors
        assert all(base.startswith("http") and base.endswith("/") for base in item.mirrors)
        assert len(item.checksum.hexdigest) == {"md5": 32, "sha256": 64}[item.checksum.algorithm]


def test_sets_without_a_public_file_say_how_to_get_them(tmp_path):
    with pytest.raises(ValueError, match="has no public file to fetch; unpack DvsGesture"):
        fetch("dvs-gesture", tmp_path)
    with pytest.raises(ValueError, match=r"comes with scikit-learn: pip install bitspike\[train\]"):
        fetch("digits", tmp_path)
