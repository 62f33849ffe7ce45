"""The parsers of the other datasets, each on a small file of the real layout, whole and broken."""

import io
import tarfile

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recarena.contract.errors import DataError
from recarena.data.parsers import MORE_PARSERS, PARSERS, TITLE_PARSERS, scan, side_table, table
from recarena.data.parsers.plain import usual_columns
from recarena.data.parsers.tables import repeated
from recarena.data.raw import Raw


def parse(name: str, body: bytes) -> Raw:
    return PARSERS[name](body, "f", "utf-8")


# --- plain numbers ------------------------------------------------------------------------------------------------


@settings(deadline=None)  # numba compiles at the first call
@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**17), st.integers(-(10**17), 10**17), st.decimals(-999, 999, places=3), st.integers(0, 9)
        ),
        min_size=1,
    ),
    st.sampled_from([b"\t", b",", b"::"]),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
)
def test_scan_reads_what_python_reads(rows, separator, line_end, ends):
    body = line_end.join(separator.join(str(cell).encode() for cell in row) for row in rows) + line_end * ends
    ids, whole, number, none = scan.scan(body, 0, [scan.ID, scan.INTEGER, scan.NUMBER, scan.SKIPPED], separator)
    assert ids.tolist() == [row[0] for row in rows]
    assert whole.tolist() == [row[1] for row in rows]
    assert number.tolist() == [float(np.float32(float(row[2]))) for row in rows]
    assert none is None


@pytest.mark.parametrize("cell", ["01", "-0", "", "x", "1.5", " 1", "1 ", "+1", "9" * 19, "1e3", "1\t2"])
def test_scan_refuses_what_is_no_plain_id(cell):
    assert scan.scan(f"1\n{cell}\n2\n".encode(), 0, [scan.ID], b"\t") is None


@pytest.mark.parametrize("cell", ["nan", "inf", "1e3", ".5", "5.", "1.2.3", "-", "9" * 16, "0." + "1" * 15])
def test_scan_refuses_what_is_no_plain_number(cell):
    assert scan.scan(f"1\n{cell}\n2\n".encode(), 0, [scan.NUMBER], b"\t") is None


def test_numbers_that_are_not_plain_are_read_all_the_same():
    raw = parse("u.data", b"1\t2\t1e0\t4\n1\t3\t.5\t4\n")
    assert raw.value.tolist() == [1, 0.5]


def test_a_large_file_is_read_in_two_halves():
    n = 200_000
    body = b"".join(b"%d\t%d\t3.5\t%d\n" % (row // 100, row % 100, row) for row in range(n))
    raw = parse("u.data", body)
    assert len(body) > 1 << 20
    assert raw.user.tolist() == [row // 100 for row in range(n)]
    assert raw.time.tolist() == list(range(n))
    with pytest.raises(DataError, match=f"f, line {n + 1}: user 1999 and item 99 occur again .first on line {n}"):
        parse("u.data", body + b"1999\t99\t1\t1\n")


@settings(deadline=None)  # numba compiles at the first call
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6))))
def test_the_first_repeated_pair_is_found(pairs):
    user, item = np.array([p[0] for p in pairs], np.int64), np.array([p[1] for p in pairs], np.int64)
    first: dict[tuple[int, int], int] = {}
    wanted = None
    for row, pair in enumerate(pairs):
        if pair in first:
            wanted = (first[pair], row)
            break
        first[pair] = row
    assert repeated(user, item) == wanted
    assert repeated(user.astype(str), item) == wanted


# --- MovieLens ----------------------------------------------------------------------------------------------------

CSV = b"userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,29,4,1112484676\n"


def test_ratings_csv():
    raw = parse("ratings.csv", CSV)
    assert (raw.user.tolist(), raw.item.tolist(), raw.value.tolist()) == ([1, 1], [2, 29], [3.5, 4])
    assert raw.time.tolist() == [1112486027, 1112484676]


def test_ratings_dat_has_half_stars_in_10m():
    assert parse("ratings.dat", b"1::122::4.5::838985046\n").value.tolist() == [4.5]


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("ratings.csv", b"", "f, line 1: the header is"),
        ("ratings.csv", CSV.partition(b"\n")[0] + b"\n", "f: the file holds no rows"),
        ("ratings.csv", CSV.replace(b"movieId", b"movie"), r"f, line 1: the header is .* name the right parser"),
        ("ratings.csv", CSV + b"2,3,4\n", "f, line 4: 3 columns, expected 4"),
        ("ratings.csv", CSV + b"2,3,x,5\n", 'f, line 4: rating is "x", expected a finite number'),
        ("ratings.csv", CSV + b"2,3,nan,5\n", 'f, line 4: rating is "nan"'),
        ("ratings.csv", CSV + b"2,3,4,-5\n", "f, line 4: the time is -5"),
        ("ratings.csv", CSV + b"1,2,4,5\n", r"f, line 4: user 1 and item 2 occur again \(first on line 2\)"),
        ("ratings.dat", b"1::2::3::4\n1::2:3::4\n", "f, line 2: 3 columns, expected 4"),
        ("ratings.dat", b"1::2::3::4\n1::3::3\t4\n", "f, line 2: 3 columns, expected 4"),
    ],
)
def test_a_broken_movielens_file_is_named_with_its_line(name, body, message):
    with pytest.raises(DataError, match=message):
        parse(name, body)


def test_movies_csv_titles_may_hold_commas():
    body = b'movieId,title,genres\n1,Toy Story (1995),A|B\n11,"American President, The (1995)",C\n'
    found = TITLE_PARSERS["movies.csv"](body, "f", "utf-8")
    assert found == {1: "Toy Story (1995)", 11: "American President, The (1995)"}
    with pytest.raises(DataError, match="f, line 4: expected movieId,title,genres"):
        TITLE_PARSERS["movies.csv"](body + b"12,x\n", "f", "utf-8")


# --- lists and sequences of items ---------------------------------------------------------------------------------


def test_item_lists_have_no_order():
    raw = parse("item-lists", b"0 5 3\n2\n7 3 \n")
    assert (raw.user.tolist(), raw.item.tolist()) == ([0, 0, 7], [5, 3, 3])
    assert (raw.value, raw.order, raw.time) == (None, None, None)


def test_item_sequences_give_the_order():
    raw = parse("item-sequences", b"1 5 3 9\n2 3 5\n")
    assert (raw.user.tolist(), raw.item.tolist()) == ([1, 1, 1, 2, 2], [5, 3, 9, 3, 5])
    assert raw.order.tolist() == [0, 1, 2, 0, 1]


def test_test_lists_follow_the_training_rows():
    raw = MORE_PARSERS["item-lists"](b"0 7\n1 5\n", "t", "utf-8", parse("item-lists", b"0 5 3\n"))
    assert raw.user.tolist() == [0, 0, 0, 1]
    assert raw.item.tolist() == [5, 3, 7, 5]
    assert raw.part.tolist() == [0, 0, 2, 2]
    with pytest.raises(DataError, match=r"t, line 2: user 0 and item 3 occur again \(first in the training file\)"):
        MORE_PARSERS["item-lists"](b"1 5\n0 3\n", "t", "utf-8", parse("item-lists", b"0 5 3\n"))


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("item-lists", b"", "f: the file holds no rows"),
        ("item-lists", b"1\n2\n", "f: the file holds users but no items"),
        ("item-lists", b"1 2\n\n3 4\n", "f, line 2: nothing"),
        ("item-lists", b"1 2\n3 x\n", 'f, line 2: "x" is not an id'),
        ("item-lists", b"1 2\n3 -4\n", 'f, line 2: "-4" is not an id'),
        ("item-lists", b"1 2\n3 4.5\n", 'f, line 2: "4.5" is not an id'),
        ("item-lists", b"1 2\n3 " + b"9" * 19 + b"\n", 'f, line 2: "9999999999999999999" is not an id'),
        ("item-lists", b"1 2\n3 \xe9\n", "f, line 2: not utf-8 text"),
        ("item-lists", b"1 2\r3 4\r", r'f, line 1: "2\\r3" is not an id'),
        ("item-lists", b"1 2\n3 4 5 4\n", "f, line 2: user 3 has item 4 twice"),
        ("item-lists", b"1 2\n3 4\n1 5\n", r"f, line 3: user 1 occurs again \(first on line 1\)"),
        ("item-sequences", b"1 2\n3\n", "f, line 2: a user without items"),
    ],
)
def test_a_broken_list_is_named_with_its_line(name, body, message):
    with pytest.raises(DataError, match=message):
        parse(name, body)


# --- NCF ----------------------------------------------------------------------------------------------------------

# items in order of appearance: 50 is NCF's 0, 7 its 1, 9 its 2; user 1 is NCF's 0
RATINGS = Raw(
    np.array([1, 1, 2, 2]), np.array([50, 7, 9, 50]), np.array([5, 3, 4, 1], np.float32), time=np.array([9, 8, 7, 6])
)
TEST = b"0\t1\t3\t8\n1\t2\t4\t7\n"


def negatives(*lines: tuple[str, int]) -> bytes:
    return "".join(f"{pair}\t" + "\t".join([str(item)] * 99) + "\n" for pair, item in lines).encode()


def test_ncf_marks_the_test_rows_and_keeps_raw_ids():
    marked = MORE_PARSERS["ncf.test"](TEST, "t", "utf-8", RATINGS)
    assert marked.part.tolist() == [0, 2, 2, 0]
    full = MORE_PARSERS["ncf.negative"](negatives(("(0,1)", 0), ("(1,2)", 1)), "n", "utf-8", marked)
    assert full.candidates.user.tolist() == [1, 2]
    assert [set(row.tolist()) for row in full.candidates.item] == [{50}, {7}]
    assert full.candidates.item.lengths.tolist() == [99, 99]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "t: the file holds no rows"),
        (b"0\t1\t3\t8\n5\t2\t4\t7\n", "t, line 2: user 5 is not among the ratings"),
        (b"0\t1\t3\t8\n1\t3\t4\t7\n", "t, line 2: item 3 is not among the ratings; expected 0 to 2"),
        (b"0\t1\t3\t8\n1\t1\t4\t7\n", "t, line 2: user 2 and item 7 are not among the ratings"),
        (b"0\t1\t3\t8\n1\t2\t5\t7\n", r"t, line 2: the rating is 5, but the ratings' row 3 has 4"),
        (b"0\t1\t3\t8\n1\t2\t4\t9\n", "t, line 2: the time is 9, another than in the ratings"),
        (b"0\t1\t3\t8\n0\t1\t3\t8\n", "t: user 0 has its test row twice"),
        (b"0\t1\t3\n", "t, line 1: 3 columns, expected 4"),
    ],
)
def test_a_test_row_that_is_not_among_the_ratings_is_an_error(body, message):
    with pytest.raises(DataError, match=message):
        MORE_PARSERS["ncf.test"](body, "t", "utf-8", RATINGS)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "n: the file holds no rows"),
        (b"(0,1)\t2\n", r"n, line 1: 1 items after \(0,1\), expected 99"),
        (negatives(("(0,1)", 0), ("(1,2)", 3)), "n, line 2: item 3 is not among the ratings"),
        (negatives(("(0,0)", 0)), r"n, line 1: \(0, 0\) is not a test row"),
        (negatives(("(0)", 0)), r"n, line 1: the row begins with \(0\)"),
        (negatives(("(0,x)", 0)), r"n, line 1: .* expected \(user,item\) and 99 items"),
    ],
)
def test_broken_negatives_are_named_with_their_line(body, message):
    with pytest.raises(DataError, match=message):
        MORE_PARSERS["ncf.negative"](body, "n", "utf-8", MORE_PARSERS["ncf.test"](TEST, "t", "utf-8", RATINGS))


# --- Netflix ------------------------------------------------------------------------------------------------------


def tarred(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(f"training_set/{name}.txt")
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def test_netflix_reads_a_file_per_movie():
    body = tarred(mv_0000002=b"2:\n7,5,2005-12-31\n", mv_0000001=b"1:\n7,3,2005-09-06\n30,4,1999-11-11\n", README=b"x")
    raw = parse("netflix", body)
    assert (raw.user.tolist(), raw.item.tolist(), raw.value.tolist()) == ([7, 30, 7], [1, 1, 2], [3, 4, 5])
    assert raw.time.astype("M8[s]").astype(str).tolist() == [
        f"{day}T00:00:00" for day in ("2005-09-06", "1999-11-11", "2005-12-31")
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (tarred(README=b"x"), "f: the archive holds no mv_"),
        (tarred(mv_1=b"1:\n7,3,2005-09-06\n")[:700], "f: cannot be unpacked"),
        (tarred(mv_1=b"1\n7,3,2005-09-06\n"), 'f, training_set/mv_1.txt, line 1: "1", expected a movie'),
        (tarred(mv_1=b"1:\n"), "f, training_set/mv_1.txt, line 2"),
        (tarred(mv_1=b"1:\n7,3,2005-09-06\n8,3\n"), 'mv_1.txt, line 3: "8,3", expected user,rating,YYYY-MM-DD'),
        (tarred(mv_1=b"1:\n7,3,2005-13-06\n"), 'mv_1.txt, line 2: "7,3,2005-13-06"'),
        (tarred(mv_1=b"1:\n7,x,2005-09-06\n"), 'mv_1.txt, line 2: "7,x,2005-09-06"'),
        (
            tarred(mv_1=b"1:\n7,3,1805-09-06\n"),
            'line 2: "7,3,1805-09-06", expected user,rating,YYYY-MM-DD from 1970 on',
        ),
        (tarred(mv_1=b"1:\n7,nan,2005-09-06\n"), 'mv_1.txt, line 2: "7,nan,2005-09-06"'),
        (tarred(mv_1=b"1:\n-7,3,2005-09-06\n"), 'mv_1.txt, line 2: "-7,3,2005-09-06"'),
        (tarred(mv_1=b"1:\n7,3,2005-09-06\n7,3,2005-09-07\n"), "user 7 rates movie 1 twice"),
    ],
)
def test_a_broken_movie_is_named(body, message):
    with pytest.raises(DataError, match=message):
        parse("netflix", body)


def test_netflix_titles_may_hold_commas():
    body = b"1,2003,Dinosaur Planet\n72,1974,At Home Among Strangers, A Stranger\n"
    assert TITLE_PARSERS["netflix"](body, "f", "latin-1")[72] == "At Home Among Strangers, A Stranger"
    # in latin-1 this byte is a line's end to Python, but not to the file
    assert TITLE_PARSERS["netflix"](b"1,2003,A\x85B\n", "f", "latin-1") == {1: "A\x85B"}


@pytest.mark.parametrize(
    ("name", "body"),
    [("netflix", b"1,2003,A\n2,2004,\xff\n"), ("movies.csv", b'movieId,title,genres\n1,"\xff",x\n')],
)
def test_titles_of_another_encoding_are_named_with_their_line(name, body):
    with pytest.raises(DataError, match="f, line 2: not utf-8 text"):
        TITLE_PARSERS[name](body, "f", "utf-8")


# --- Million Song Dataset -----------------------------------------------------------------------------------------

TRIPLETS = b"b8\tSOB\t1\nb8\tSOA\t5\na0\tSOB\t2\n"


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_triplets_number_text_in_its_order(monkeypatch, block):
    monkeypatch.setattr("recarena.data.parsers.msd._BLOCK_BYTES", block)
    raw = parse("triplets", TRIPLETS)
    assert (raw.user.tolist(), raw.item.tolist(), raw.value.tolist()) == ([1, 1, 0], [1, 0, 1], [1, 5, 2])
    assert raw.titles == {0: "SOA", 1: "SOB"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "f: the file holds no rows"),
        (TRIPLETS + b"c\tSOA\n", "f, line 4: 2 columns, expected 3"),
        (TRIPLETS + b"c\t\t3\n", 'f, line 4: song is "", expected text'),
        (TRIPLETS + b"c\tSOA\t12345678901234567890\n", 'f, line 4: plays is "12345678901234567890"'),
        (TRIPLETS + b"c\tSOA\tx\n", 'f, line 4: plays is "x", expected a whole number'),
        (TRIPLETS + b"b8\tSOA\t1\n", "f, line 4: .* occur again .first on line 2"),
    ],
)
def test_broken_triplets_are_named_with_their_line(body, message):
    with pytest.raises(DataError, match=message):
        parse("triplets", body)


# --- RecBole's files ----------------------------------------------------------------------------------------------


def test_inter_takes_any_columns_in_any_order():
    body = b"timestamp:float\titem_id:token\tmood:token_seq\tuser_id:token\n9.0\ti1\tgood bad\t4\n8\ti2\t\t5\n"
    raw = parse("recbole.inter", body)
    assert (raw.user.tolist(), raw.item.tolist(), raw.time.tolist(), raw.value) == ([4, 5], ["i1", "i2"], [9, 8], None)
    assert parse("recbole.inter", b"user_id:token\titem_id:token\n1\t2\n").time is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"user_id\titem_id:token\n1\t2\n", "f, line 1: the header is"),
        (b"user_id:token\tuser_id:token\n1\t2\n", "f, line 1: the header is"),
        (b"user_id:token\trating:float\n1\t2\n", "f, line 1: the header is"),
        (b"user_id:token\titem_id:float\n1\t2\n", "f, line 1: the header is"),
        (b"user_id:token\titem_id:token\n1\t2\n1\t\n", 'f, line 3: item_id is "", expected an id'),
    ],
)
def test_a_broken_inter_is_named(body, message):
    with pytest.raises(DataError, match=message):
        parse("recbole.inter", body)


SIDE = b"title:token_seq\titem_id:token\tyear:float\tvector:float_seq\nToy Story\t5\t1995\t1 2.5\nHeat\t7\t\t\n"


def test_a_side_table_has_typed_columns():
    found = side_table(SIDE, "f")
    assert found["item_id"].tolist() == [5, 7]
    assert found["title"] == [["Toy", "Story"], ["Heat"]]
    assert found["vector"] == [[1, 2.5], []]
    assert found["year"][0] == 1995
    assert np.isnan(found["year"][1])
    assert TITLE_PARSERS["recbole.item"](SIDE, "f", "utf-8") == {5: "Toy Story", 7: "Heat"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (SIDE + b"Fargo\t8\n", "f, line 4: 2 columns, expected 4"),
        (SIDE.replace(b"1995", b"old"), 'f, line 2: year is "old", expected a number'),
        (SIDE.replace(b"2.5", b"x"), 'f, line 2: vector is "x", expected a number'),
        (SIDE.partition(b"\n")[0] + b"\n", "f: the file holds no rows"),
    ],
)
def test_a_broken_side_table_is_named_with_its_line(body, message):
    with pytest.raises(DataError, match=message):
        side_table(body, "f")


# --- a user's own table -------------------------------------------------------------------------------------------

NAMED = {"user": "uid", "item": "iid", "value": "stars", "time": "ts"}
OWN = b"iid,note,uid,stars,ts\nx,hello,1,4.5,100\ny,,2,3,200\n"


def test_a_table_with_named_columns():
    raw = table(OWN, "f", columns=NAMED)
    assert (raw.user.tolist(), raw.item.tolist(), raw.value.tolist(), raw.time.tolist()) == (
        [1, 2], ["x", "y"], [4.5, 3], [100, 200],
    )  # fmt: skip
    assert table(OWN.replace(b",", b";"), "f", columns=NAMED).sha256() == raw.sha256()
    assert table(OWN.replace(b",", b"|"), "f", columns=NAMED, separator="|").sha256() == raw.sha256()
    quoted = OWN.replace(b"hello", b'"hello, you"')
    assert table(quoted, "f", columns=NAMED).sha256() == raw.sha256()
    assert table(OWN, "f", columns={"user": "uid", "item": "iid"}).value is None


def test_a_parquet_file():
    buffer = io.BytesIO()
    frame = pl.DataFrame({"uid": [1, 2], "iid": ["x", "y"], "stars": [4.5, 3], "ts": [100, 200]})
    frame.with_columns(ts=pl.from_epoch("ts")).write_parquet(buffer)
    raw = table(buffer.getvalue(), "f", columns=NAMED)
    assert raw.sha256() == table(OWN, "f", columns=NAMED).sha256()
    assert raw.time.tolist() == [100, 200]
    with pytest.raises(DataError, match="f: cannot be read as parquet"):
        table(buffer.getvalue()[:-20], "f", columns=NAMED)
    frame.with_columns(uid=pl.Series([1, None])).write_parquet(buffer := io.BytesIO())
    with pytest.raises(DataError, match="f, row 2: uid is empty, expected an id"):
        table(buffer.getvalue(), "f", columns=NAMED)
    for odd, message in (
        ([[1], [2]], r"f: column uid holds List.*, expected an id on every row: .*write the column anew"),
        ([1.0, float("nan")], 'f, row 2: uid is "nan", expected an id'),
        ([b"a", b"\xff"], "f: column uid holds Binary, expected an id"),
    ):
        frame.with_columns(uid=pl.Series(odd)).write_parquet(buffer := io.BytesIO())
        with pytest.raises(DataError, match=message):
            table(buffer.getvalue(), "f", columns=NAMED)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (OWN.replace(b"uid", b"uit"), r'f, line 1: no column "uid" for the user \(did you mean'),
        (OWN.replace(b"note", b"uid"), "f, line 1: the header .* names a column twice"),
        (OWN.replace(b"4.5", b"many"), 'f, line 2: stars is "many", expected a finite number'),
        (OWN.replace(b"200", b"nan"), 'f, line 3: ts is "nan"'),
        (OWN.replace(b"200", b"-2"), "f, line 3: the time is -2"),
        (OWN + b"x,,1,3,3\n", "f, line 4: user 1 and item x occur again"),
        (OWN + b"x,1\n", "f, line 4: 2 columns, expected 5"),
        (OWN.partition(b"\n")[0], "f: the file holds no rows"),
        (OWN.replace(b"hello", b'"hello"').replace(b"4.5", b"many"), 'f, line 2: stars is "many"'),
        (OWN.replace(b"hello", b'"hello'), "f, line 2: the cells cannot be told apart; expected 5"),
        (OWN.replace(b"hello", b'"hello"') + b"x,3,1,3,3,4\n", "f, line 4: the cells cannot be told apart"),
        (b"uid iid\n", "f, line 1: .* holds no tab, comma or semicolon"),
    ],
)
def test_a_broken_table_is_named_with_its_line(body, message):
    with pytest.raises(DataError, match=message):
        table(body, "f", columns=NAMED)


def test_a_mark_inside_a_plain_cell_is_taken_as_it_is_or_refused_with_its_line():
    body = OWN.replace(b"hello", b'"hello"') + b'x,7,a"b,3,3\n'
    try:
        assert table(body, "f", columns=NAMED).item[-1] == "x"  # polars 1
    except DataError as error:
        assert "f, line 4: the cells cannot be told apart" in str(error)  # polars 2


def test_the_usual_columns_are_found():
    assert usual_columns(["userId", "movieId", "rating", "timestamp"]) == {
        "user": "userId", "item": "movieId", "value": "rating", "time": "timestamp",
    }  # fmt: skip
    assert usual_columns(["a", "iid"]) == {"item": "iid"}
