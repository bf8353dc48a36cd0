"""Quantities: every accepted spelling, every refusal with its way out, and the round trip."""

from __future__ import annotations

import math
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.errors import QuantityError
from scaling.quantities import format_quantity, parse_quantity

KINDS = ("count", "params", "tokens", "flops", "usd", "duration", "days", "hours", "fraction", "loss", "number")


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("70B", "count", 70e9),
        ("70B", "params", 70e9),
        ("7B params", "params", 7e9),
        ("7 billion parameters", "params", 7e9),
        ("1.4T", "tokens", 1.4e12),
        ("300B tokens", "tokens", 300e9),
        ("32k", "count", 32_000),
        ("32K", "count", 32_000),
        ("300_000", "count", 300_000),
        ("6.8e9", "count", 6.8e9),
        (" 6.8E+9 ", "count", 6.8e9),
        (".5", "loss", 0.5),
        ("5.", "count", 5),
        ("5.76e23", "flops", 5.76e23),
        ("10^21", "flops", 1e21),
        ("10**21", "flops", 1e21),
        ("1.4x10^12", "tokens", 1.4e12),
        ("1.4\N{MULTIPLICATION SIGN}10^12", "tokens", 1.4e12),
        ("500 ZFLOP", "flops", 5e23),
        ("500 ZFLOPs", "flops", 5e23),
        ("1e21 FLOPs", "flops", 1e21),
        ("2 PF-days", "flops", 2 * 8.64e19),
        ("2 petaflop/s-days", "flops", 2 * 8.64e19),
        ("30d", "duration", 30 * 86400),
        ("12h", "duration", 12 * 3600),
        ("90min", "duration", 90 * 60),
        ("1d 12h", "duration", 36 * 3600),
        ("2 weeks", "days", 14),
        ("12h", "days", 0.5),
        ("30", "days", 30),
        ("3d", "hours", 72),
        ("$2.5M", "usd", 2.5e6),
        ("2.5M USD", "usd", 2.5e6),
        ("USD 40k", "usd", 40e3),
        ("$1,234,567", "usd", 1_234_567),
        ("1,234.5", "usd", 1234.5),
        ("40%", "fraction", 0.4),
        ("0.4", "fraction", 0.4),
        ("100%", "fraction", 1.0),
        ("\N{MINUS SIGN}1.5e-3", "number", -1.5e-3),
        ("0", "number", 0.0),
    ],
)
def test_a_quantity_is_read_as_written(text, kind, value):
    assert parse_quantity(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("5,000", "count", "'5,000' can be read as 5000 or as 5.0; write 5000 or 5.0."),
        ("$5,250", "usd", "'$5,250' can be read as $5250 or as $5.25; write $5250 or $5.25."),
        ("1,4", "count", "'1,4' has a comma for a decimal point; write 1.4."),
        ("0,005", "loss", "'0,005' has a comma for a decimal point; write 0.005."),
        ("1,4T", "tokens", "write 1.4T."),
        ("12,34,567", "count", "commas that do not separate thousands"),
        ("1.234.567", "count", "two decimal points"),
        ("5 000", "count", "'5 000' has a space inside a number; write 5000."),
        ("70b", "params", "'70b' can be read as bits; write 70B for 70 billion."),
        ("70m", "params", "write 70M for 70 million."),
        ("1.4t", "tokens", "write 1.4T for 1.4 trillion."),
        ("5E", "flops", "write 5e18 or 5 EFLOP."),
        ("989 TFLOP/s", "flops", "is a rate"),
        ("$5M", "params", "is money, not a number of parameters"),
        ("300B tokens", "params", "which is no unit of a number of parameters"),
        ("40", "fraction", "'40' is not a fraction above 0, at most 1; write 40% or 0.4."),
        ("40%", "count", "is a percentage"),
        ("30", "duration", "'30' has no unit of time; write 30d, 12h"),
        ("3m", "days", "can be read as minutes or months; write 3min"),
        ("3 fortnights", "days", "no unit of time"),
        ("d", "days", "is not a time"),
        ("0", "flops", "'0' is not positive"),
        ("-1", "flops", "'-1' is not positive"),
        ("-1d", "days", "'-1d' is not positive"),
        ("0", "days", "'0' is not positive"),
        ("nan", "flops", "'nan' is not a number"),
        ("inf", "usd", "too large"),
        ("1e400", "flops", "'1e400' is too large"),
        ("1e-400", "flops", "is not positive"),
        ("1e400", "number", "too large"),
        ("", "count", "an empty text"),
        ("   ", "count", "an empty text"),
        ("many", "count", "'many' is not a count; write 300_000, 70B or 6.8e9."),
        ("0x10", "count", "which is no unit of a count"),
        ("7__0", "count", "no unit of a count"),
        ("\u0663", "count", "is not a count"),
        ("1\n2", "count", "is not a count"),
        ("9" * 1000, "count", "(1000 characters) is not a count"),
        (None, "count", "'None' is not a count"),
        (True, "count", "'True' is not a count"),
        ([1], "count", "is not a count"),
        (math.nan, "count", "is not a number"),
        (math.inf, "count", "too large"),
        (-3, "count", "'-3' is not positive"),
        (10**400, "count", "too large"),
        pytest.param(10**5000, "count", "too large", id="an-integer-of-5000-digits"),
        (3, "duration", "no unit of time"),
    ],
)
def test_a_refusal_says_what_to_write_instead(text, kind, message):
    with pytest.raises(QuantityError) as caught:
        parse_quantity(text, kind)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_the_name_of_an_option_leads_the_message():
    with pytest.raises(QuantityError, match=r"^--flops: '-1' is not positive"):
        parse_quantity("-1", "flops", name="--flops")


def test_zero_is_accepted_only_where_asked_for():
    assert parse_quantity("0", "tokens", zero=True) == 0.0
    with pytest.raises(QuantityError, match="not zero or more"):
        parse_quantity("-1", "tokens", zero=True)


@pytest.mark.parametrize("number", [3, 3.0, np.int64(3), np.float32(3), np.float64(3), Decimal(3)])
def test_numbers_pass_through(number):
    value = parse_quantity(number)
    assert value == 3.0
    assert type(value) is float


def test_an_unknown_kind_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="unknown kind"):
        parse_quantity("3", "parsecs")


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (70e9, "params", "70B"),
        (1.4e12, "tokens", "1.4T"),
        (1234, "count", "1.23k"),
        (999.9996e6, "count", "1B"),  # rounding carries into the next suffix
        (1e15, "tokens", "1e15"),
        (5.76e23, "flops", "5.76e23"),
        (30 * 86400, "duration", "30d"),
        (12 * 3600, "duration", "12h"),
        (30, "duration", "30s"),
        (30, "days", "30d"),
        (2.5e6, "usd", "$2.5M"),
        (-5e6, "usd", "-$5M"),
        (0.4, "fraction", "40%"),
        (0.1 + 0.2, "fraction", "30%"),
        (0, "count", "0"),
        (math.nan, "count", "nan"),
        (-math.inf, "flops", "-inf"),
    ],
)
def test_a_number_is_printed_as_people_write_it(value, kind, text):
    assert format_quantity(value, kind) == text


positive = st.floats(min_value=5e-324, max_value=1.7e308, exclude_min=False)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "fraction"])
@given(value=positive)
def test_what_is_printed_in_full_reads_back_exactly(kind, value):
    assert parse_quantity(format_quantity(value, kind, digits=None), kind) == value


@given(value=st.floats(min_value=1e-300, max_value=1.0))
def test_a_fraction_printed_in_full_reads_back_exactly(value):
    assert parse_quantity(format_quantity(value, "fraction", digits=None), "fraction") == value


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "fraction"])
@given(value=st.floats(min_value=1e-300, max_value=1e300), digits=st.integers(min_value=1, max_value=12))
def test_what_is_printed_short_reads_back_to_its_digits(kind, value, digits):
    # half a unit of the last digit, relative to a leading digit that may be 1; plus the rounding of a division by a unit of time
    assert parse_quantity(format_quantity(value, kind, digits=digits), kind) == pytest.approx(
        value, rel=0.5 * 10.0 ** (1 - digits) + 1e-15
    )


def number_or_sentence(text, kind):
    try:
        return parse_quantity(text, kind)
    except QuantityError as error:
        return str(error)


def is_number_or_sentence(answer):
    return answer.endswith(".") if isinstance(answer, str) else math.isfinite(answer)


@given(text=st.text(max_size=30), kind=st.sampled_from(KINDS))
def test_any_text_is_a_number_or_a_sentence(text, kind):
    assert is_number_or_sentence(number_or_sentence(text, kind))


@given(
    text=st.from_regex(
        r"[-+$]?[0-9]{0,3}[,._]?[0-9]{1,3}[,. ]?[0-9]{0,3}(e[0-9]{1,4})?[kMBTGPEZbmtdh%]{0,2}", fullmatch=True
    )
)
def test_anything_like_a_number_is_read_or_refused_with_words(text):
    for kind in KINDS:
        assert is_number_or_sentence(number_or_sentence(text, kind))


def test_quantities_load_neither_numpy_nor_pandas():
    code = "import sys, scaling.quantities; print([m for m in ('numpy', 'pandas', 'scipy') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
