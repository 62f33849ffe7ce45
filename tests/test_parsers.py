"""Parsers: rows in the file's order, and an error that names the file and the line."""

import numpy as np
import pytest

from recarena.contract.errors import DataError
from recarena.data import parsers
from recarena.data.parsers.movielens import movies_dat, ordered_tsv, ratings_dat, u_data, u_item
from recarena.data.parsers.recbole import recbole_inter, recbole_item
from recarena.data.raw import Raw

U_DATA = b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n"
INTER = (
    b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n186\t302\t3.5\t891717742\n"
)
ORDERED = b"user_id\tmovie_id\trating\ttimestamp\tchrono_pos\n1\t1193\t5\t978300760\t1\n1\t661\t3\t-1\t-1\n"


def test_u_data_keeps_the_row_order():
    raw = u_data(U_DATA, "u.data", "utf-8")
    assert raw.user.tolist() == [196, 186, 22]
    assert raw.item.tolist() == [242, 302, 377]
    assert raw.value.tolist() == [3, 3, 1]
    assert raw.time.tolist() == [881250949, 891717742, 878887116]
    assert (raw.user.dtype, raw.item.dtype) == (np.int32, np.int32)
    assert (raw.value.dtype, raw.time.dtype) == (np.float32, np.int64)
    assert raw.order is None


def test_ids_are_as_wide_as_the_largest():
    large = 2**31
    for parse, body in ((u_data, U_DATA), (recbole_inter, INTER)):
        raw = parse(body.replace(b"196", str(large).encode()), "f", "utf-8")
        assert (raw.user.dtype, raw.item.dtype) == (np.int64, np.int64)
        assert raw.user[:2].tolist() == [large, 186]
        assert raw.item[:2].tolist() == [242, 302]
        assert parse(body.replace(b"196", str(large - 1).encode()), "f", "utf-8").user.dtype == np.int32


def test_a_large_file_is_read_in_parts_as_a_small_one_is():
    rng = np.random.default_rng(0)
    item = rng.permutation(250_000)
    rows = [(int(i) % 977, int(i), int(i) % 5 + 1, 10**9 + int(i)) for i in item]
    body = "".join(f"{user}\t{item}\t{value}\t{time}\n" for user, item, value, time in rows).encode()
    raw = u_data(body, "u.data", "utf-8")
    assert list(zip(raw.user.tolist(), raw.item.tolist(), raw.value.tolist(), raw.time.tolist(), strict=True)) == rows
    again = f"{rows[7][0]}\t{rows[7][1]}\t1\t1\n".encode()
    with pytest.raises(DataError, match=r"line 250001: user \d+ and item \d+ occur again \(first on line 8\)"):
        u_data(body + again, "u.data", "utf-8")
    with pytest.raises(DataError, match=r"line 250001: 3 columns"):
        u_data(body + b"1\t2\t3\n", "u.data", "utf-8")


def test_ratings_dat_is_the_same_table_with_colons():
    raw = ratings_dat(U_DATA.replace(b"\t", b"::"), "ratings.dat", "utf-8")
    assert raw.sha256() == u_data(U_DATA, "u.data", "utf-8").sha256()


def test_recbole_inter_reads_integers_as_integers_and_tokens_as_text():
    raw = recbole_inter(INTER, "x.inter", "utf-8")
    assert raw.user.dtype == np.int32
    assert raw.value.tolist() == [3, 3.5]
    assert raw.time.tolist() == [881250949, 891717742]
    assert recbole_inter(INTER.replace(b"186", b"u-7"), "x.inter", "utf-8").user.tolist() == ["196", "u-7"]
    # "0196" and "196" may be two users
    assert recbole_inter(INTER.replace(b"196", b"0196"), "x.inter", "utf-8").user.tolist() == ["0196", "186"]


def test_ordered_tsv_gives_an_order_and_no_times():
    raw = ordered_tsv(ORDERED, "ratings.tsv", "utf-8")
    assert raw.time is None
    assert raw.order.tolist() == [1, -1]
    with pytest.raises(DataError, match=r"1 of 2 rows have no known place .*user 1, item 661"):
        raw.places()
    assert raw.take(np.array([0])).places().tolist() == [1]


def test_inline_rows():
    raw = parsers.inline([(1, 2, 3.5, 4), (1, 3, 4.0, 5)], "datasets/x.toml")
    assert raw.value.tolist() == [3.5, 4.0]
    for row in ((1.5, 3, 4, 5), (1, 3, 4, float("nan")), (1, True, 4, 5)):
        with pytest.raises(DataError, match=r"datasets/x.toml: row 1 is .*; expected four numbers"):
            parsers.inline([row], "datasets/x.toml")
    with pytest.raises(DataError, match=r"datasets/x.toml: row 2 is \[1, 3, 4.0\]; expected four numbers"):
        parsers.inline([(1, 2, 3.5, 4), (1, 3, 4.0)], "datasets/x.toml")


def test_titles():
    latin = "1|Café (1995)|01-Jan\n2|GoldenEye (1995)|x\n".encode("latin-1")
    assert u_item(latin, "u.item", "latin-1") == {1: "Café (1995)", 2: "GoldenEye (1995)"}
    assert movies_dat(b"1::Toy Story::Animation|x\n", "movies.dat", "latin-1") == {1: "Toy Story"}
    assert recbole_item(b"item_id:token\tmovie_title:token_seq\n1\tToy\t1995\n", "x", "utf-8") == {1: "Toy"}
    with pytest.raises(DataError, match=r'u.item, line 2: expected "item\|title"'):
        u_item(b"1|a\n2\n", "u.item", "utf-8")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "u.data: the file holds no rows"),
        (b"\n", "u.data: the file holds no rows"),
        (b"1\t2\t3\t4\n1\t3\t3\n", "u.data, line 2: 3 columns, expected 4"),
        (b"1\t2\t3\t4\t5\n", "u.data, line 1: 5 columns, expected 4"),
        (b"1\t2\t3\t4\n1\t3\t3\t4\t5\n", "u.data, line 2: 5 columns, expected 4"),
        (b"1\t2\t3\t4\n\n1\t3\t3\t4\n", "u.data, line 2: the line is empty; remove it"),
        (b"1\t2\t3\t4\n1\t3\tgood\t4\n", 'u.data, line 2: rating is "good", expected a finite number'),
        (b"1\t2\t3\t4\n1\t3\t\t4\n", 'u.data, line 2: rating is "", expected a finite number'),
        (b"1\t2\t3\t4\n1\t3\tnan\t4\n", 'u.data, line 2: rating is "nan", expected a finite number'),
        (b"1\t2\t3\t4\n1\t3\tinf\t4\n", "u.data, line 2: the rating is inf"),
        (b"1\t2\t3\t4\n1.5\t3\t3\t4\n", 'u.data, line 2: user is "1.5", expected a whole number'),
        (b"1\t2\t3\t4\n1\t3\t3\t-4\n", "u.data, line 2: the time is -4"),
        (b"1\t2\t3\t4\n1\t3\t3\t4\n1\t2\t5\t9\n", r"u.data, line 3: user 1 and item 2 occur again \(first on line 1\)"),
        (b"1\t2\t3\t4\n1\t\xe9\t3\t4\n", "u.data, line 2: not utf-8 text"),
        # what Python's int and float take, and a table must not
        (b"1\t2\t3\t4\n1 \t3\t3\t4\n", 'u.data, line 2: user is "1 ", expected a whole number'),
        (b"1\t2\t3\t4\n1_0\t3\t3\t4\n", 'u.data, line 2: user is "1_0", expected a whole number'),
        (b"1\t2\t3\t4\n1\t3\t1_0.5\t4\n", 'u.data, line 2: rating is "1_0.5", expected a finite number'),
        ("1\t2\t3\t4\n\u0661\t3\t3\t4\n".encode(), 'u.data, line 2: user is "\u0661", expected a whole number'),
        (b"1\t2\t3\t4\n12345678901234567890\t3\t3\t4\n", 'line 2: user is "12345678901234567890", expected a whole'),
        (b"1\t2\t3\t4\n1\t3\t1e39\t4\n", "u.data, line 2: the rating is inf"),
        (b"1\t2\t3\t4\n1\t3\0\t3\t4\n", "u.data, line 2: item is"),
    ],
)
def test_a_broken_file_is_named_with_its_line(body, message):
    with pytest.raises(DataError, match=message):
        u_data(body, "u.data", "utf-8")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (INTER.replace(b"rating:float", b"rating:token"), "x.inter, line 1: the header is"),
        (INTER.partition(b"\n")[0] + b"\n", "x.inter: the file holds no rows"),
        (INTER.replace(b"3.5", b"x"), 'x.inter, line 3: rating is "x"'),
        (INTER.replace(b"891717742", b"nan"), 'x.inter, line 3: timestamp is "nan", expected a finite number'),
        (INTER.replace(b"186\t302", b"196\t242"), "x.inter, line 3: user 196 and item 242 occur again"),
    ],
)
def test_lines_are_counted_with_the_header(body, message):
    with pytest.raises(DataError, match=message):
        recbole_inter(body, "x.inter", "utf-8")


def test_the_fingerprint_sees_order_values_and_kind_but_not_the_width_of_text():
    raw = u_data(U_DATA, "u.data", "utf-8")
    backwards = raw.take(np.array([2, 1, 0]))
    assert backwards.sha256() != raw.sha256()
    assert backwards.take(np.array([2, 1, 0])).sha256() == raw.sha256()
    text = recbole_inter(INTER.replace(b"186", b"u-7"), "x.inter", "utf-8")
    wide = Raw(text.user.astype("<U40"), text.item, text.value, text.time)
    assert wide.sha256() == text.sha256()
