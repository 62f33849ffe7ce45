"""Sources: the right file or a clear error, never half a file; tried in order; cached; safe for two at once."""

import gzip
import hashlib
import http.server
import io
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from recarena.contract.errors import DataError
from recarena.data import interactions, parsers, sources
from recarena.data.folders import load_benchmark, load_dataset
from recarena.data.recipes import Dataset

ROOT = Path(__file__).parents[1]
REAL_MIRROR = os.environ.get("RECARENA_MIRROR", "")
ROWS = b"".join(b"%d\t%d\t%d\t%d\n" % (u, i, (u * i) % 5 + 1, 1000 + u + i) for u in range(40) for i in range(40))
TITLES = "\n".join(f"{i}|Café {i}|x" for i in range(40)).encode("latin-1")


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # a fixed date, so that the bytes are always the same
        archive.writestr(zipfile.ZipInfo("toy/u.data"), ROWS)
        archive.writestr(zipfile.ZipInfo("toy/u.item"), TITLES)
        archive.writestr(zipfile.ZipInfo("../evil"), b"never written")
    return buffer.getvalue()


ZIP = zipped()
EXPECT = parsers.PARSERS["u.data"](ROWS, "", "utf-8")


class Server:
    """A web server on this machine that misbehaves on demand and notes what it was asked."""

    def __init__(self) -> None:
        self.body, self.ranges, self.cut, self.asked, self.encodings, self.tag = ZIP, True, 0, [], set(), ""
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                owner.asked.append(asked)
                owner.encodings.add(self.headers.get("Accept-Encoding"))
                body, start = owner.body, 0
                same = self.headers.get("If-Range") in (None, owner.tag)
                if asked and owner.ranges and same:
                    start = int(asked.removeprefix("bytes=").removesuffix("-"))
                    if start >= len(body):
                        self.send_error(416)
                        return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body) - start))
                if owner.tag:
                    self.send_header("ETag", owner.tag)
                self.end_headers()
                self.wfile.write(body[start : owner.cut or None])

            def log_message(self, *_: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/toy.zip"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Neither a proxy nor the mirror of whoever runs the tests."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("RECARENA_MIRROR", raising=False)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "u.data.gz").write_bytes(gzip.compress(ROWS, mtime=0))
    (folder / "u.item").write_bytes(TITLES)
    monkeypatch.setenv("RECARENA_MIRROR", str(folder))
    return folder


RATINGS = {"member": "toy/u.data", "parser": "u.data"}
MIRROR = {
    "kind": "mirror",
    "gives": ["order"],
    "ratings": {"path": "u.data.gz", "sha256": sha(gzip.compress(ROWS, mtime=0)), "parser": "u.data"},
    "titles": {"path": "u.item", "sha256": sha(TITLES), "parser": "u.item", "encoding": "latin-1"},
}
WHEEL = {"kind": "wheel", "package": "toy==1.0", "file": "toy-1.0.whl", "sha256": sha(ZIP), "gives": ["time"]}
WHEEL |= {"ratings": RATINGS}


def url(address: str, **changes: object) -> dict:
    titles = {"member": "toy/u.item", "parser": "u.item", "encoding": "latin-1"}
    source = {"kind": "url", "url": address, "sha256": sha(ZIP), "gives": ["time"], "ratings": RATINGS}
    return source | {"titles": titles} | changes


def toy(*found: dict, **expect: object) -> Dataset:
    counts = {"users": 40, "items": 40, "interactions": 1600, "sha256": EXPECT.sha256()} | expect
    words = {"title": "Toy", "licence": "Only for\nplay", "citation": "Nobody", "homepage": "https://example.org"}
    return Dataset.model_validate({"name": "toy", **words, "sources": found, "expect": counts})


def quiet(_: str) -> None: ...


def left(cache: Path) -> list[str]:
    """The files in the cache, locks aside."""
    return sorted(p.name for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock")


UNREACHABLE = "http://127.0.0.1:9/toy.zip"  # the discard port: nobody listens


def test_a_download_shows_the_licence_and_is_read_out_of_the_archive(server, tmp_path):
    said = []
    loaded = interactions.load(toy(url(server.url)), tmp_path, say=said.append)
    assert "Only for play" in said[0]
    assert loaded.raw.sha256() == EXPECT.sha256()
    assert loaded.raw.titles[3] == "Café 3"
    assert loaded.source == server.url
    assert [name.partition("-")[0] for name in left(tmp_path)] == ["parsed", "toy.zip"]
    assert not (tmp_path / "evil").exists()


def test_the_second_time_nothing_is_fetched_or_said(server, tmp_path):
    interactions.load(toy(url(server.url)), tmp_path, say=quiet)
    said = []
    again = interactions.load(toy(url(server.url)), tmp_path, say=said.append)
    assert again.raw.sha256() == EXPECT.sha256()
    assert again.raw.titles[3] == "Café 3"
    assert (len(server.asked), said) == (1, [])


def test_a_damaged_cache_is_made_again(server, tmp_path):
    interactions.load(toy(url(server.url)), tmp_path, say=quiet)
    (parsed,) = (tmp_path / "toy").glob("parsed-*.npz")
    whole = parsed.read_bytes()
    for damaged in (b"", b"not an archive", whole[: len(whole) // 2], whole[:3000] + b"XXXX" + whole[3004:]):
        parsed.write_bytes(damaged)
        assert interactions.load(toy(url(server.url)), tmp_path, say=quiet).raw.sha256() == EXPECT.sha256()
    assert len(server.asked) == 1
    archive = tmp_path / "toy" / "toy.zip"
    archive.write_bytes(ZIP[:-1])
    parsed.unlink()
    said = []
    assert interactions.load(toy(url(server.url)), tmp_path, say=said.append).raw.sha256() == EXPECT.sha256()
    assert "toy.zip in the cache is damaged" in said[0]
    assert len(server.asked) == 2


@pytest.mark.parametrize("body", [ZIP[:-7], ZIP + b"x", b"<html>moved</html>"])
def test_a_wrong_file_is_an_error_that_names_both_sums_and_leaves_nothing(server, tmp_path, body):
    server.body = body
    with pytest.raises(DataError) as caught:
        interactions.load(toy(url(server.url)), tmp_path, say=quiet)
    assert server.url in str(caught.value)
    assert sha(ZIP) in str(caught.value)
    assert sha(body) in str(caught.value)
    assert left(tmp_path) == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_is_taken_up_again(server, tmp_path, ranges):
    server.cut, server.ranges = 20_000, ranges
    with pytest.raises(DataError, match="16,384 bytes are kept for the next try"):
        interactions.load(toy(url(server.url)), tmp_path, say=quiet)
    assert left(tmp_path) == ["toy.zip.part"]
    server.cut = 0
    assert interactions.load(toy(url(server.url)), tmp_path, say=quiet).raw.sha256() == EXPECT.sha256()
    assert server.asked == [None, "bytes=16384-"]
    assert "toy.zip.part" not in left(tmp_path)
    assert server.encodings == {"identity"}  # a packed reply has other bytes to count


@pytest.mark.parametrize("tag", ["", '"one"', 'W/"weak"'])
def test_without_a_checksum_two_versions_of_a_file_are_never_joined(server, tmp_path, tag):
    server.cut, server.tag, server.body = 20_000, tag, ZIP[:50] + b"old" + ZIP[53:]
    recipe = toy(url(server.url, sha256="unknown"))
    with pytest.raises(DataError, match="are kept for the next try"):
        interactions.load(recipe, tmp_path, say=quiet)
    server.cut, server.tag, server.body = 0, tag.replace("one", "two"), ZIP
    assert interactions.load(recipe, tmp_path, say=quiet).raw.sha256() == EXPECT.sha256()
    assert (tmp_path / "toy" / "toy.zip").read_bytes() == ZIP
    assert not [name for name in left(tmp_path) if ".part" in name]


def test_without_a_checksum_the_same_version_is_taken_up_again(server, tmp_path):
    server.cut, server.tag = 20_000, '"one"'
    recipe = toy(url(server.url, sha256="unknown"))
    with pytest.raises(DataError, match="are kept for the next try"):
        interactions.load(recipe, tmp_path, say=quiet)
    server.cut = 0
    assert interactions.load(recipe, tmp_path, say=quiet).raw.sha256() == EXPECT.sha256()
    assert server.asked == [None, "bytes=16384-"]


def test_a_download_cut_off_after_the_last_byte_is_complete(server, tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "toy.zip.part").write_bytes(ZIP)
    assert len(interactions.load(toy(url(server.url)), tmp_path, say=quiet).raw) == 1600


def test_the_progress_bar_does_not_touch_the_output(server, tmp_path, capsys):
    interactions.load(toy(url(server.url)), tmp_path, say=quiet, progress=True)
    assert capsys.readouterr().out == ""


def test_an_unreachable_source_is_noted_and_the_next_one_tried(server, tmp_path):
    said = []
    loaded = interactions.load(toy(url(UNREACHABLE), url(server.url)), tmp_path, say=said.append)
    assert loaded.source == server.url
    assert sum("Only for play" in line for line in said) == 1  # the licence, once for both tries
    assert any("127.0.0.1:9" in line and "trying the next source" in line for line in said)
    # what is at hand is used before another try of what was out of reach
    (tmp_path / "toy" / loaded_name(tmp_path)).unlink()
    said.clear()
    interactions.load(toy(url(UNREACHABLE), WHEEL | {"file": "toy.zip"}), tmp_path, say=said.append)
    assert said == []


def loaded_name(cache: Path) -> str:
    return next(name for name in left(cache) if name.startswith("parsed-"))


def test_if_all_fail_one_error_lists_every_source_and_says_what_to_do(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: nobody\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DataError) as caught:
        sources.fetch(toy(url(UNREACHABLE), WHEEL, MIRROR), tmp_path, say=quiet)
    text = str(caught.value)
    assert "toy: no source can be had:" in text
    assert f"- {UNREACHABLE}: " in text
    assert "- package toy==1.0: pip download failed: ERROR: No matching distribution found" in text
    assert "- mirror (RECARENA_MIRROR): RECARENA_MIRROR is not set" in text
    assert "connect to the network" in text


def test_a_mirror_that_is_set_comes_first_and_is_checked(server, tmp_path, mirror):
    cache = tmp_path / "cache"
    loaded = interactions.load(toy(url(server.url), MIRROR), cache, say=quiet)
    assert loaded.source == "mirror (RECARENA_MIRROR)"
    assert loaded.raw.titles[3] == "Café 3"
    assert server.asked == []
    shutil.rmtree(cache)
    (mirror / "u.data.gz").write_bytes(gzip.compress(ROWS, mtime=0)[:-1])
    with pytest.raises(DataError, match=r"u.data.gz in the mirror has sha256 .* expected .*unset RECARENA_MIRROR"):
        interactions.load(toy(url(server.url), MIRROR), cache, say=quiet)
    (mirror / "u.data.gz").unlink()
    said = []
    assert interactions.load(toy(url(server.url), MIRROR), cache, say=said.append).source == server.url
    assert "the mirror holds no u.data.gz" in said[0]


@pytest.mark.usefixtures("mirror")
def test_a_source_that_lacks_what_is_needed_is_passed_over(server, tmp_path):
    cache = tmp_path / "cache"
    assert interactions.load(toy(url(server.url), MIRROR), cache, needs={"order"}, say=quiet).source.startswith(
        "mirror"
    )
    assert interactions.load(toy(url(server.url), MIRROR), cache, needs={"time"}, say=quiet).source == server.url
    with pytest.raises(DataError, match=r"mirror \(RECARENA_MIRROR\): lacks real times"):
        interactions.load(toy(MIRROR), cache, needs={"time"}, say=quiet)
    with pytest.raises(DataError, match="lacks real times") as caught:
        sources.fetch(toy(url(UNREACHABLE), MIRROR), cache / "b", needs={"time"}, say=quiet)
    assert UNREACHABLE in str(caught.value)  # the one that would do


def test_a_wheel_comes_through_pip_and_is_checked(tmp_path, monkeypatch):
    body, commands = [b"another file"], []

    def pip(command, **_):
        commands.append(command)
        Path(command[command.index("--dest") + 1], "toy-1.0.whl").write_bytes(body[0])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(DataError, match=rf"toy-1.0.whl has sha256 {sha(body[0])}, expected {sha(ZIP)}"):
        interactions.load(toy(WHEEL), tmp_path, say=quiet)
    assert left(tmp_path) == []
    body[0] = ZIP
    assert interactions.load(toy(WHEEL), tmp_path, say=quiet).source == "package toy==1.0"
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert not any("index" in word for word in commands[0])  # the user's own index settings hold


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"users": 41}, "users is 40, expected 41"), ({"sha256": "0" * 64}, f"sha256 is {EXPECT.sha256()}, expected 000")],
)
def test_rows_that_are_not_the_expected_ones_are_an_error(server, tmp_path, changes, message):
    with pytest.raises(DataError, match=rf"datasets/toy.toml: from .*: {message}"):
        interactions.load(toy(url(server.url), **changes), tmp_path, say=quiet)


def test_a_member_that_is_not_there_is_named(server, tmp_path):
    wrong = url(server.url, ratings={"member": "toy/u.dat", "parser": "u.data"})
    with pytest.raises(DataError, match=r'toy.zip, toy/u.dat: the archive holds no member "toy/u.dat"'):
        interactions.load(toy(wrong), tmp_path, say=quiet)


def test_a_file_that_is_no_archive_is_named(server, tmp_path):
    server.body = b"no zip"
    with pytest.raises(DataError, match=r"toy.zip, toy/u.data: cannot be unpacked"):
        interactions.load(toy(url(server.url, sha256=sha(b"no zip"))), tmp_path, say=quiet)


def test_two_processes_fetch_once(server, tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(toy(url(server.url)).model_dump_json())
    code = (
        "import sys; from pathlib import Path\n"
        "from recarena.data import interactions; from recarena.data.recipes import Dataset\n"
        "dataset = Dataset.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "print(interactions.load(dataset, Path(sys.argv[2])).raw.sha256())\n"
    )
    command = [sys.executable, "-c", code, str(recipe), str(tmp_path / "cache")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == [EXPECT.sha256()] * 2
    assert len(server.asked) == 1


def test_availability_says_how_without_fetching(server, tmp_path, monkeypatch):
    dataset = toy(url(server.url), MIRROR)
    assert interactions.availability(dataset, tmp_path) == interactions.Availability("download", server.url)
    blocked = interactions.availability(toy(MIRROR), tmp_path)
    assert (blocked.state, blocked.why) == ("blocked", "RECARENA_MIRROR is not set")
    monkeypatch.setenv("RECARENA_MIRROR", str(tmp_path / "nowhere"))
    assert interactions.availability(toy(MIRROR), tmp_path).why == "the mirror does not hold its files"
    assert interactions.availability(dataset, tmp_path).state == "download"
    assert server.asked == []
    interactions.load(dataset, tmp_path, say=quiet)
    assert interactions.availability(dataset, tmp_path) == interactions.Availability("ready", server.url)


@pytest.mark.usefixtures("mirror")
def test_availability_names_what_every_source_lacks(tmp_path):
    assert interactions.availability(toy(MIRROR), tmp_path).state == "ready"
    lacking = interactions.availability(toy(MIRROR), tmp_path, needs={"time"})
    assert (lacking.state, lacking.why) == ("blocked", "mirror (RECARENA_MIRROR) lacks real times")


def test_the_default_cache_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RECARENA_CACHE", str(tmp_path))
    assert sources.default_cache() == tmp_path
    monkeypatch.delenv("RECARENA_CACHE")
    assert sources.default_cache().name == "recarena"


def test_a_cache_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written to: .*set RECARENA_CACHE"):
        interactions.load(toy(url(server.url)), tmp_path / "file", say=quiet)


def test_a_cache_that_cannot_be_locked_is_named(server, tmp_path):
    (tmp_path / "toy" / "toy.zip.lock").mkdir(parents=True)  # as a read-only folder is, also where the tests are root
    with pytest.raises(DataError, match=r"cannot be written to: .*set RECARENA_CACHE"):
        interactions.load(toy(url(server.url)), tmp_path, say=quiet)


def test_an_archive_with_a_password_is_named(server, tmp_path):
    body = bytearray(ZIP)
    body[6] |= 1  # the flag of the first member, and of its entry in the directory at the end
    body[body.index(b"PK\x01\x02") + 8] |= 1
    server.body = bytes(body)
    with pytest.raises(DataError, match=r"toy.zip, toy/u.data: cannot be unpacked: .*password"):
        interactions.load(toy(url(server.url, sha256=sha(server.body))), tmp_path, say=quiet)


# --- the real files, where a mirror is set ------------------------------------------------------------------------

needs_mirror = pytest.mark.skipif(not REAL_MIRROR, reason="RECARENA_MIRROR is not set")


@needs_mirror
@pytest.mark.parametrize(
    "name", ["ml-100k", "ml-1m", "ml-1m-ncf", "amazon-beauty", "amazon-sports", "amazon-toys", "gowalla"]
)
def test_the_mirrors_rows_are_the_expected_ones(name, tmp_path, monkeypatch):
    monkeypatch.setenv("RECARENA_MIRROR", REAL_MIRROR)
    raw = interactions.load(load_dataset(ROOT, name), tmp_path, say=quiet).raw
    assert not raw.titles or set(np.unique(raw.item).tolist()) <= set(raw.titles)


@needs_mirror
def test_ncfs_test_rows_and_negatives_are_as_published(tmp_path, monkeypatch):
    monkeypatch.setenv("RECARENA_MIRROR", REAL_MIRROR)
    raw = interactions.load(load_dataset(ROOT, "ml-1m-ncf"), tmp_path, say=quiet).raw
    assert np.bincount(raw.part).tolist() == [994_169, 0, 6_040]
    target = dict(zip(raw.user[raw.part == 2].tolist(), raw.item[raw.part == 2].tolist(), strict=True))
    frozen = raw.candidates
    assert set(frozen.item.lengths.tolist()) == {99}
    wanted = np.array([target[user] for user in frozen.user.tolist()])
    # negatives that are the test item itself: a defect of the original files
    assert int((frozen.item.values == np.repeat(wanted, 99)).sum()) == 156


@needs_mirror
def test_the_mirrors_u_data_is_the_official_file():
    packed = Path(REAL_MIRROR, "ml-100k", "u.data.gz")
    # the sha256 of u.data inside GroupLens' ml-100k.zip
    assert (
        sha(gzip.decompress(packed.read_bytes())) == "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"
    )


@needs_mirror
def test_where_the_mirror_has_real_times_its_order_is_theirs():
    # so the official file and the mirror give the same order: by time, ties by row
    raw = Path(REAL_MIRROR, "ml-1m", "ratings_official_order.tsv.gz")
    table = np.loadtxt(io.BytesIO(gzip.decompress(raw.read_bytes())), skiprows=1, max_rows=100_000, dtype=np.int64)
    user, _, _, when, place = table.T
    known = (when >= 0) & (place >= 0)
    user, when, place = user[known], when[known], place[known]
    assert len(user) > 99_000
    assert (np.lexsort((when, user)) == np.lexsort((place, user))).all()


def test_what_the_next_item_board_needs():
    assert load_benchmark(ROOT, "ml-1m-next").needs == {"order"}
    assert load_benchmark(ROOT, "ml-100k-rate").needs == {"time", "users", "items"}
    assert load_benchmark(ROOT, "ml-1m-rate").needs == {"users", "items"}
