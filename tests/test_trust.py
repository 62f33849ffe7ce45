"""Sources without a known checksum, of several files, and of the user's own: what is trusted, and from when."""

import hashlib
import http.server
import threading
from pathlib import Path

import pytest

from recarena.contract.errors import DataError
from recarena.data import interactions
from recarena.data.recipes import Dataset

TRAIN, TEST = b"0 5 3\n1 5\n", b"0 7\n1 3\n"


@pytest.fixture
def site(monkeypatch):
    """A web server on this machine; what it serves can be changed."""
    served = {"/a/train.txt": TRAIN, "/a/test.txt": TEST}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(served[self.path])))
            self.end_headers()
            self.wfile.write(served[self.path])

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("RECARENA_MIRROR", raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/a/", served
    server.shutdown()
    server.server_close()
    thread.join()


def divided(site: str, **test: str) -> Dataset:
    source = {
        "kind": "url",
        "url": site + "train.txt",
        "sha256": "unknown",
        "gives": [],
        "ratings": {"parser": "item-lists"},
        "test": {"url": site + "test.txt", "sha256": "unknown", "parser": "item-lists"} | test,
    }
    return dataset(source, users=2, items=3, interactions=5)


def dataset(source: dict, **expect: object) -> Dataset:
    words = {"title": "Toy", "licence": "L", "citation": "C", "homepage": "H"}
    return Dataset.model_validate({"name": "toy", **words, "sources": [source], "expect": expect})


def unparsed(cache: Path) -> None:
    for path in cache.rglob("parsed-*"):
        path.unlink()


def test_two_files_are_fetched_and_their_sums_shown_and_kept(site, tmp_path):
    url, _ = site
    said = []
    raw = interactions.load(divided(url), tmp_path, say=said.append).raw
    assert raw.part.tolist() == [0, 0, 0, 2, 2]
    assert raw.value is None
    for name, body in (("train.txt", TRAIN), ("test.txt", TEST)):
        digest = hashlib.sha256(body).hexdigest()
        assert any(f"{name} has sha256 {digest}" in line for line in said)
        assert (tmp_path / "toy" / f"{name}.sha256").read_text().strip() == digest
    again = interactions.load(divided(url), tmp_path, say=said.append).raw  # through the parsed arrays
    assert again.sha256() == raw.sha256()
    assert (again.part.tolist(), again.value, again.order) == (raw.part.tolist(), None, None)


def test_a_file_that_changes_after_the_first_download_is_refused(site, tmp_path):
    url, served = site
    interactions.load(divided(url), tmp_path, say=lambda _: None)
    unparsed(tmp_path)
    said = []
    interactions.load(divided(url), tmp_path, say=said.append)
    assert said == []  # the same sum: nothing to say
    unparsed(tmp_path)
    (tmp_path / "toy" / "test.txt").write_bytes(b"0 7\n")
    first, second = (hashlib.sha256(body).hexdigest() for body in (TEST, b"0 7\n"))
    with pytest.raises(
        DataError, match=rf"test.txt has sha256 {second}, but the first download had {first}; .* changed"
    ):
        interactions.load(divided(url), tmp_path, say=said.append)
    assert [one.good for one in interactions.verify(divided(url), tmp_path)] == [False]
    (tmp_path / "toy" / "test.txt").unlink()
    served["/a/test.txt"] = b"0 7\n"  # the address serves another file than at first
    with pytest.raises(DataError, match="has changed"):
        interactions.load(divided(url), tmp_path, say=said.append)


def test_a_known_sum_of_one_file_is_checked_as_ever(site, tmp_path):
    url, _ = site
    with pytest.raises(DataError, match=r"test\.txt"):
        interactions.load(divided(url, sha256="0" * 64), tmp_path, say=lambda _: None)
    good = divided(url, sha256=hashlib.sha256(TEST).hexdigest())
    assert len(interactions.load(good, tmp_path, say=lambda _: None).raw) == 5
    assert not (tmp_path / "toy" / "test.txt.sha256").exists()


def test_frozen_candidates_come_back_from_the_cache(site, tmp_path):
    url, served = site
    served["/a/train.txt"] = b"1::50::5::9\n1::7::3::8\n"
    served["/a/test.rating"] = b"0\t1\t3\t8\n"
    served["/a/test.negative"] = b"(0,1)\t" + b"\t".join([b"0"] * 99) + b"\n"
    source = {"kind": "url", "url": url + "train.txt", "sha256": "unknown", "gives": ["time"]}
    source["ratings"] = {"parser": "ratings.dat"}
    source["test"] = {"url": url + "test.rating", "sha256": "unknown", "parser": "ncf.test"}
    source["candidates"] = {"url": url + "test.negative", "sha256": "unknown", "parser": "ncf.negative"}
    recipe = dataset(source, users=1, items=2, interactions=2)
    raw = interactions.load(recipe, tmp_path, say=lambda _: None).raw
    again = interactions.load(recipe, tmp_path, say=lambda _: None).raw
    assert again.sha256() == raw.sha256()
    assert again.candidates.user.tolist() == [1]
    assert again.candidates.item[0].tolist() == [50] * 99


def test_verify_finds_a_damaged_file_and_leaves_it(site, tmp_path):
    url, _ = site
    recipe = divided(url, sha256=hashlib.sha256(TEST).hexdigest())
    assert interactions.verify(recipe, tmp_path) == []
    interactions.load(recipe, tmp_path, say=lambda _: None)
    assert [one.why for one in interactions.verify(recipe, tmp_path)] == ["5 rows"]
    (tmp_path / "toy" / "test.txt").write_bytes(TEST[:-2])
    (found,) = interactions.verify(recipe, tmp_path)
    assert not found.good
    assert "is damaged" in found.why
    assert (tmp_path / "toy" / "test.txt").read_bytes() == TEST[:-2]


def own(path: Path, **more: object) -> Dataset:
    ratings = {"path": str(path), "parser": "table", "columns": {"user": "u", "item": "i"}, **more}
    return dataset({"kind": "file", "ratings": ratings}, users=2, items=2, interactions=2)


def test_a_users_own_file_is_read_afresh_each_time(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("u,i\n1,2\n2,3\n")
    assert interactions.load(own(file), tmp_path / "cache").raw.item.tolist() == [2, 3]
    file.write_text("u,i\n1,4\n2,3\n")
    assert interactions.load(own(file), tmp_path / "cache").raw.item.tolist() == [4, 3]
    with pytest.raises(DataError, match=r"x.csv has sha256 .*the file has changed"):
        interactions.load(own(file, sha256="0" * 64), tmp_path / "cache")
    file.unlink()
    with pytest.raises(DataError, match="there is no file"):
        interactions.load(own(file), tmp_path / "cache")
    assert interactions.availability(own(file), tmp_path / "cache").state == "blocked"


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ({"path": "x", "parser": "table"}, "go together"),
        ({"path": "x", "parser": "u.data", "columns": {"user": "u", "item": "i"}}, "go together"),
        ({"path": "x", "parser": "u.data", "separator": ","}, "separator is for parser"),
        ({"path": "x", "parser": "tabel", "columns": None}, 'unknown parser "tabel"'),
    ],
)
def test_a_wrong_file_source_says_what_to_write(ratings, message):
    with pytest.raises(ValueError, match=message):
        dataset({"kind": "file", "ratings": ratings}, users=1, items=1, interactions=1)


def test_two_urls_with_one_file_name_are_refused():
    with pytest.raises(ValueError, match="two urls end in the same file name"):
        divided("https://example.org/", url="https://example.org/other/train.txt")


def test_what_turns_out_wrong_is_not_trusted(site, tmp_path):
    url, served = site
    served["/a/test.txt"] = b"<html>please log in</html>"
    with pytest.raises(DataError, match=r"line 1: .*\n  no checksum is known yet for .*train.txt.*test.txt.*remove it"):
        interactions.load(divided(url), tmp_path, say=lambda _: None)
    assert not list(tmp_path.rglob("*.sha256"))
    served["/a/test.txt"] = TEST
    (tmp_path / "toy" / "test.txt").unlink()
    assert len(interactions.load(divided(url), tmp_path, say=lambda _: None).raw) == 5


def test_parsed_arrays_go_with_the_sum_that_is_trusted(site, tmp_path):
    url, served = site
    interactions.load(divided(url), tmp_path, say=lambda _: None)
    served["/a/test.txt"] = b"0 9\n1 3\n"  # a new file, which the user trusts: both the old one and its sum are removed
    for path in (tmp_path / "toy").glob("test.txt*"):
        path.unlink()
    assert interactions.load(divided(url), tmp_path, say=lambda _: None).raw.item[-2] == 9
