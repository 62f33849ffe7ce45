"""Discovery: an implementation's facts are read from its source, and a mistake is told in words."""

from __future__ import annotations

import pytest
from tests.conftest import HEAD

from recarena.arena.discovery import find, read, settings
from recarena.contract.errors import ImplementationError

GOOD = """
@implementation(author="ada", departs=("no biases",))
@dataclass
class Good:
    rank_of_factors: int = 8
    rate_of_learning: float = 0.01
    kind: str | None = None
    state: np.ndarray = field(init=False)
    def fit(self, train, run): pass
    def rank(self, queries): return top_k(np.zeros(queries.n_items), queries)
"""


def test_facts_are_read_without_running_the_file(project):
    path = project.contender("mf/ada", GOOD + "\nraise SystemExit('it ran')\n")
    it = read(path)
    assert (it.name, it.author, it.class_name, it.kind) == ("mf/ada", "ada", "Good", "implementation")
    assert it.hyperparameters == {"rank_of_factors": 8, "rate_of_learning": 0.01, "kind": None}
    assert it.kinds == {"rank"} and it.departs == ("no biases",) and not it.deterministic
    assert it.imports == ("numpy",) and it.script is None


def test_the_code_hash_follows_the_source_of_a_file_and_of_a_folder(project):
    path = project.contender("mf/ada", GOOD)
    first = read(path).code
    path.write_text(path.read_text() + "# a word\n")
    assert read(path).code != first
    folder = path.parent / "kim"
    folder.mkdir()
    (folder / "__init__.py").write_text(path.read_text())
    (folder / "layers.py").write_text("WIDTH = 3\n")
    one = read(folder)
    (folder / "layers.py").write_text("WIDTH = 4\n")
    assert one.name == "mf/kim" and read(folder).code != one.code


def test_a_script_block_is_seen(project):
    block = '# /// script\n# dependencies = ["recbole==1.2.1"]\n# ///\n'
    it = read(project.contender("mf/recbole_peer", GOOD, head=block + HEAD))
    assert it.script == {"dependencies": ["recbole==1.2.1"]} and it.kind == "peer"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('@implementation(author="ada", departs=("no biases",))', "", "0 classes are marked"),
        ('author="ada"', 'author="ada", departes=("x",)', 'did you mean "departs"?'),
        ('author="ada", ', "", "needs your name"),
        ('departs=("no biases",)', 'departs="no biases"', 'departs=("no biases",)'),
        ("= 0.01", "= np.pi", "must be a literal"),
        ("rank_of_factors: int = 8", "rank_of_factors: int", "has no default"),
        ("def rank(", "def rang(", "needs fit(self, train, run) and rate(self, queries) or rank(self, queries)"),
        ("def fit(", "def fit((", "not valid Python"),
        ("@dataclass\n", "", "is no dataclass; add @dataclass"),
        ("rank_of_factors: int = 8", "rank_of_factors = 8", "has no type, so it is no hyper-parameter"),
        ("= 0.01", "= {[]: 1}", "must be a literal"),
        ("= 0.01", "= {1, 2}", "must be a finite number"),
        ("= 0.01", "= 1e999", "must be a finite number"),
        ('departs=("no biases",)', "departs=5", "departs is a tuple of strings"),
    ],
)
def test_mistakes_are_told_in_words(project, old, new, said):
    path = project.contender("mf/ada", GOOD.replace(old, new))
    with pytest.raises(ImplementationError) as error:
        read(path)
    assert said in str(error.value) and "mf/ada.py" in str(error.value)


def test_one_broken_file_stops_nobody_else(project):
    project.contender("mf/ada", GOOD)
    project.contender("mf/bad", "def")
    project.contender("mf/_notes", "this is not looked at")
    found = find(project.root)
    assert [it.name for it in found.implementations] == ["mf/ada"]
    assert list(found.broken) == ["mf/bad"]
    assert [it.name for it in found.select(["mf"])] == ["mf/ada"]
    with pytest.raises(ImplementationError, match='did you mean "mf/ada"'):
        found.select(["mf/adaa"])
    with pytest.raises(ImplementationError, match="not valid Python"):
        found.select(["mf/bad"])


def test_settings_keep_the_type_of_their_default(project):
    it = read(project.contender("mf/ada", GOOD))
    changed = settings(it, {"rank_of_factors": "16", "rate_of_learning": "1", "kind": "wide"})
    assert changed == {"rank_of_factors": 16, "rate_of_learning": 1.0, "kind": "wide"}
    with pytest.raises(ImplementationError, match='did you mean "rank_of_factors"'):
        settings(it, {"rank_of_factor": "16"})
    with pytest.raises(ImplementationError, match="expected int like its default 8"):
        settings(it, {"rank_of_factors": "many"})


def test_odd_files_stop_nobody(project):
    project.contender("mf/ada", GOOD)
    project.contender("mf/latin", "").write_bytes(b"# caf\xe9\n")
    folder = project.contender("mf/pack", "").with_suffix("")
    folder.mkdir()
    (folder.parent / "pack.py").unlink()
    (folder / "__init__.py").write_text(HEAD + GOOD)
    (folder / "inner.py").write_text("def")
    (folder.parent / "ada").mkdir()
    (folder.parent / "ada" / "__init__.py").write_text(HEAD + GOOD)
    found = find(project.root)
    assert set(found.broken) == {"mf/latin", "mf/pack", "mf/ada"}
    assert "UTF-8" in found.broken["mf/latin"] and "not valid Python" in found.broken["mf/pack"]


def test_every_file_of_a_folder_is_hashed(project):
    folder = project.contender("mf/kim", "").with_suffix("")
    folder.mkdir()
    folder.with_suffix(".py").unlink()
    (folder / "__init__.py").write_text(HEAD + GOOD)
    (folder / "weights.txt").write_text("1")
    first = read(folder).code
    (folder / "weights.txt").write_text("2")
    assert read(folder).code != first


def test_settings_refuse_what_json_cannot_say(project):
    it = read(project.contender("mf/ada", GOOD))
    for text in ("1e999", "{[]: 1}"):
        with pytest.raises(ImplementationError, match="rate_of_learning"):
            settings(it, {"rate_of_learning": text})


def test_what_a_paper_shares_is_part_of_the_code(project):
    path = project.contender("fm/ada", "from ._features import build\n" + GOOD)
    with pytest.raises(ImplementationError, match=r"fm/ada\.py:4: imports _features of its own paper"):
        read(path)
    shared = path.with_name("_features.py")
    shared.write_text("import scipy\nfrom ._more import one\ndef build(): return one\n")
    path.with_name("_more.py").write_text("one = 1\n")
    it = read(path)
    assert [file.name for file in it.shared] == ["_features.py", "_more.py"] and it.imports == ("numpy", "scipy")
    path.with_name("_more.py").write_text("one = 2\n")
    assert read(path).code != it.code
    assert [found.name for found in find(project.root).implementations] == ["fm/ada"]
    path.with_name("kim.py").write_text(path.read_text().replace("._features", ".ada"))
    with pytest.raises(
        ImplementationError, match=r"kim\.py:4: imports ada of its own paper; .* begin with an underscore"
    ):
        read(path.with_name("kim.py"))


def test_a_mistake_in_a_shared_file_names_that_file(project):
    path = project.contender("fm/ada", "from ._features import build\n" + GOOD)
    path.with_name("_features.py").write_text("import numpy\n\ndef")
    with pytest.raises(ImplementationError, match=r"^fm/_features\.py:3: not valid Python"):
        read(path)
