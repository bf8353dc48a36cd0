"""Quantities as people write them ('70B', '1.4T', '5.76e23', '30d', '$2.5M') <-> numbers, both ways.

A text that can be read in two ways ('5,000', '1,4', '70b') is refused with what to write instead: a wrong guess
here is a plan that is wrong by a factor of a thousand.
"""

from __future__ import annotations

import math
import numbers
import re
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal

from scaling.errors import QuantityError

_LONGEST = 80  # characters; nothing that people write as one quantity is longer

_POWERS = {"k": 3, "K": 3, "M": 6, "B": 9, "G": 9, "T": 12, "P": 15}
_POWER_WORDS = {
    "thousand": 3,
    "million": 6,
    "mn": 6,
    "billion": 9,
    "bn": 9,
    "trillion": 12,
    "tn": 12,
    "quadrillion": 15,
}
_FLOP_POWERS = {**_POWERS, "E": 18, "Z": 21, "Y": 24}
_LOOKALIKES = {
    "m": ("M", "million"),
    "b": ("B", "billion"),
    "t": ("T", "trillion"),
    "g": ("G", "giga"),
    "p": ("P", "peta"),
}
_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "wk", "week", "weeks"), 7 * 86400),
}
PF_DAY = 86400e15  # one petaFLOP/s for one day, in FLOPs


@dataclass(frozen=True)
class _Kind:
    """What a kind of quantity is called, how to write it, and which unit words may follow the number."""

    what: str
    examples: str
    nouns: tuple[str, ...] = ()
    signed: bool = False
    at_most: float = math.inf
    seconds_per_unit: float = 0.0  # time kinds: 1 for seconds, 86400 for days
    bare: str = field(default="")  # time kinds: what a number without a unit means; '' refuses it


_KINDS = {
    "count": _Kind("a count", "300_000, 70B or 6.8e9"),
    "params": _Kind("a number of parameters", "70B or 6.8e9", ("param", "params", "parameter", "parameters")),
    "tokens": _Kind("a number of tokens", "300B, 1.4T or 1.4e12", ("token", "tokens")),
    "flops": _Kind("an amount of compute in FLOPs", "5.76e23, 1e21 or 500 ZFLOP", ("flop", "flops")),
    "usd": _Kind("an amount of US dollars", "$2.5M, $40k or 40000", ("usd", "dollar", "dollars", "us$")),
    "duration": _Kind("a time", "30d, 12h, 90min or 1d12h", seconds_per_unit=1.0),
    "days": _Kind("a time", "30d, 12h or 30 (days)", seconds_per_unit=86400.0, bare="days"),
    "hours": _Kind("a time", "12h, 3d or 12 (hours)", seconds_per_unit=3600.0, bare="hours"),
    "fraction": _Kind("a fraction above 0, at most 1", "40% or 0.4", at_most=1.0),
    "loss": _Kind("a loss", "2.35"),
    "number": _Kind("a number", "0.34 or -1.5e-3", signed=True),
}

_DIGITS = r"(?:\d+(?:_\d+)*(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+)"
_NUMBER = re.compile(rf"(?P<sign>[+-]?)\s*(?P<mantissa>{_DIGITS})(?:[eE](?P<exp>[+-]?\d+))?\s*(?P<unit>.*)", re.ASCII)
_TIMES_TEN = re.compile(
    rf"(?P<sign>[+-]?)\s*(?:(?P<mantissa>{_DIGITS})\s*[x*]\s*)?10\s*(?:\^|\*\*)\s*(?P<exp>[+-]?\d+)\s*(?P<unit>.*)",
    re.ASCII,
)
_TIME_PART = re.compile(rf"\s*({_DIGITS})(?:[eE]([+-]?\d+))?\s*([A-Za-z]*)", re.ASCII)
_GROUPED = re.compile(r"(?<![\d,.])(?:\d{1,3}(?:,\d{3}){2,}(?:\.\d+)?|\d{1,3}(?:,\d{3})+\.\d+)(?![\d,])", re.ASCII)
_ONE_COMMA = re.compile(r"(?<![\d.,])(\d+),(\d+)(?![\d.,])", re.ASCII)
_PF_DAYS = re.compile(r"(?:PF|petaflops?(?:/s)?)[-\s]?days?", re.IGNORECASE)
_TIDY = str.maketrans(
    {"\N{MINUS SIGN}": "-", "\N{MULTIPLICATION SIGN}": "x", "\N{NO-BREAK SPACE}": " ", "\u202f": " ", "\u2009": " "}
)


def parse_quantity(value: object, kind: str = "count", *, name: str = "", zero: bool = False) -> float:
    """The number that `value` stands for.

    value : text, or a number, which is checked like text.
    kind : 'count', 'params', 'tokens', 'flops' (FLOPs), 'usd', 'duration' (-> seconds, a unit is required),
        'days' (-> days), 'hours' (-> hours), 'fraction' (in (0, 1]; 40% is 0.4), 'loss', or 'number' (any finite number).
    name : what the user calls it ('--flops'), put before the message.
    zero : whether 0 is allowed. Every kind but 'number' refuses negative values.

    Raises QuantityError, with what to write instead, for text that is not a quantity, that can be read two ways,
    or whose value makes no sense for its kind.
    """
    spec = _kind(kind)
    try:
        return _checked(_value(value, kind, spec), value, spec, zero)
    except QuantityError as error:
        if not name:
            raise
        raise QuantityError(f"{name}: {error}") from None


def format_quantity(value: float, kind: str = "count", *, digits: int | None = 3) -> str:
    """`value` as people write it; parse_quantity reads it back.

    digits : significant digits; None keeps every one, so that parse_quantity returns `value` itself.
    Counts get k, M, B, T below 1e15; FLOPs are in scientific notation; a duration (seconds) gets its largest unit.
    Never raises for a number: nan and inf are printed as such.
    """
    _kind(kind)
    value = float(value)
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{'-' if value < 0 else ''}inf"
    if value < 0:
        return "-" + format_quantity(-value, kind, digits=digits)
    if kind == "duration":
        return _format_seconds(value, digits)
    if kind in ("days", "hours"):
        return _digits_of(value, digits) + kind[0]
    if kind == "fraction":
        return _plain(_rounded(value, digits).scaleb(2)) + "%"
    if kind in ("loss", "number"):
        return _digits_of(value, digits)
    if kind == "flops":
        return _scientific(_rounded(value, digits)) if value >= 1e4 else _digits_of(value, digits)
    return ("$" if kind == "usd" else "") + _with_suffix(_rounded(value, digits))


def quote(value: object, longest: int = 40) -> str:
    """A value from a file or a command line as it may stand in a message: one line, printable, short."""
    try:
        text = value if isinstance(value, str) else str(value)
    except ValueError:  # an integer of thousands of digits
        text = "a very long integer"
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: longest + 1])
    return f"'{shown[:longest]}...'" if len(text) > longest else f"'{shown}'"


def _kind(kind: str) -> _Kind:
    try:
        return _KINDS[kind]
    except KeyError:
        raise ValueError(f"unknown kind of quantity {kind!r}; known: {', '.join(_KINDS)}") from None


def _value(value: object, kind: str, spec: _Kind) -> float:
    if isinstance(value, str):
        return _parse(value, kind, spec)
    if isinstance(value, bool) or not isinstance(value, numbers.Real | Decimal):
        raise QuantityError(f"{quote(value)} is not {spec.what}; write {spec.examples}.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if spec.seconds_per_unit and not spec.bare and math.isfinite(number) and number > 0:
        raise QuantityError(f"{quote(value)} has no unit of time; write {spec.examples}.")
    return number


def _checked(number: float, value: object, spec: _Kind, zero: bool) -> float:
    shown = quote(value)
    if math.isnan(number):
        raise QuantityError(f"{shown} is not a number; write {spec.examples}.")
    if math.isinf(number):
        raise QuantityError(
            f"{shown} is too large to be {spec.what} (a number ends at 1.8e308); write {spec.examples}."
        )
    if spec.signed:
        return number
    if number < 0 or (number == 0 and not zero):
        raise QuantityError(
            f"{shown} is not {'zero or more' if zero else 'positive'}; write {spec.what} such as {spec.examples}."
        )
    if number > spec.at_most:
        raise QuantityError(f"{shown} is not {spec.what}; write {spec.examples}.")
    return number


def _parse(raw: str, kind: str, spec: _Kind) -> float:
    if len(raw) > _LONGEST:
        raise QuantityError(f"{quote(raw)} ({len(raw)} characters) is not {spec.what}; write {spec.examples}.")
    text = raw.translate(_TIDY).strip()
    if not text.isprintable():
        raise QuantityError(f"{quote(raw)} is not {spec.what}; write {spec.examples}.")
    if not text:
        raise QuantityError(f"an empty text is not {spec.what}; write {spec.examples}.")
    if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        return float(text)
    text = _without_commas(text, raw)
    if spec.seconds_per_unit:
        return _parse_time(text, raw, spec)
    if kind == "usd":
        text = re.sub(r"^(?P<sign>[+-]?)\s*(?:US\$|USD\s*|\$)\s*", r"\g<sign>", text)
    match = _TIMES_TEN.fullmatch(text) or _NUMBER.fullmatch(text)
    if match is None:
        if text.startswith("$") and kind != "usd":
            raise QuantityError(f"{quote(raw)} is money, not {spec.what}; write {spec.examples}.")
        raise QuantityError(f"{quote(raw)} is not {spec.what}; write {spec.examples}.")
    if re.match(r"\d", match["unit"]):
        raise QuantityError(
            f"{quote(raw)} has a space inside a number; write {re.sub(r'(?<=[0-9]) +(?=[0-9])', '', text)}."
        )
    if re.match(r"\.\d", match["unit"]):
        raise QuantityError(f"{quote(raw)} has two decimal points; write {spec.examples}.")
    mantissa, exponent = (match["mantissa"] or "1").replace("_", ""), int(match["exp"] or 0)
    power, factor = _unit(match["unit"].strip(), raw, match, kind, spec)
    # a power of ten joins the exponent, so that '1.4T' is the float nearest to 1.4e12, not a rounded product
    return float(f"{match['sign']}{mantissa}e{exponent + power}") * factor


def _without_commas(text: str, raw: str) -> str:
    """`text` without thousands commas where they can be nothing else ('1,234,567', '1,234.5'); refuses other commas."""
    text = _GROUPED.sub(lambda m: m[0].replace(",", ""), text)
    if "," not in text:
        return text
    if one := _ONE_COMMA.search(text):
        whole, part = one[1], one[2]
        before, after = text[: one.start()], text[one.end() :]
        plain, decimal = f"{before}{whole}{part}{after}", f"{before}{whole}.{part.rstrip('0') or '0'}{after}"
        if len(part) == 3 and len(whole) <= 3 and whole != "0":
            raise QuantityError(f"{quote(raw)} can be read as {plain} or as {decimal}; write {plain} or {decimal}.")
        raise QuantityError(f"{quote(raw)} has a comma for a decimal point; write {decimal}.")
    raise QuantityError(f"{quote(raw)} has commas that do not separate thousands; write the number without them.")


def _unit(unit: str, raw: str, match: re.Match[str], kind: str, spec: _Kind) -> tuple[int, float]:
    """(power of ten, other factor) of what follows the number."""
    if not unit:
        return 0, 1.0
    number = raw.strip()[: len(raw.strip()) - len(unit)].strip()
    if kind == "fraction":
        if unit == "%":
            return -2, 1.0
        raise QuantityError(f"{quote(raw)} is not {spec.what}; write {spec.examples}.")
    if unit == "%":
        raise QuantityError(f"{quote(raw)} is a percentage, not {spec.what}; write {spec.examples}.")
    if kind == "flops":
        if re.search(r"/\s*s(ec)?$|per\s*s", unit, re.IGNORECASE) and not _PF_DAYS.fullmatch(unit):
            raise QuantityError(f"{quote(raw)} is a rate (FLOPs per second), not {spec.what}; write {spec.examples}.")
        if _PF_DAYS.fullmatch(unit):
            return 0, PF_DAY
        if flop := re.fullmatch(r"([kKMGTPEZYB]?)\s*(?i:flops?)", unit):
            return _FLOP_POWERS.get(flop[1], 0), 1.0
        if unit in ("E", "Z", "Y"):
            plain = f"{match['mantissa'] or 1}e{int(match['exp'] or 0) + _FLOP_POWERS[unit]}"
            raise QuantityError(
                f"{quote(raw)} can be read as an unfinished power of ten; write {plain} or {number} {unit}FLOP."
            )
    head, _, noun = unit.partition(" ")
    for known in sorted(spec.nouns, key=len, reverse=True):
        if unit.lower() == known:
            return 0, 1.0
        if noun.strip().lower() == known:
            unit = head
            break
    if unit in _POWERS:
        return _POWERS[unit], 1.0
    if unit.lower() in _POWER_WORDS:
        return _POWER_WORDS[unit.lower()], 1.0
    if unit in _LOOKALIKES:
        letter, word = _LOOKALIKES[unit]
        other = {"b": "bits", "m": "milli or minutes"}.get(unit, "another unit")
        raise QuantityError(f"{quote(raw)} can be read as {other}; write {number}{letter} for {number} {word}.")
    raise QuantityError(f"{quote(raw)} ends in {quote(unit)}, which is no unit of {spec.what}; write {spec.examples}.")


def _parse_time(text: str, raw: str, spec: _Kind) -> float:
    sign = -1.0 if text.startswith("-") else 1.0
    rest, total = text.lstrip("+-"), 0.0
    while rest:
        part = _TIME_PART.match(rest)
        if part is None:
            raise QuantityError(f"{quote(raw)} is not {spec.what}; write {spec.examples}.")
        number = float(part[1].replace("_", "") + (f"e{part[2]}" if part[2] else ""))
        unit, rest = part[3], rest[part.end() :]
        if not unit:
            if not spec.bare or rest or total:
                if not number:  # zero needs no unit to be refused (or allowed) as zero
                    continue
                raise QuantityError(f"{quote(raw)} has no unit of time; write {spec.examples}.")
            return sign * number
        if unit in ("m", "M", "mo", "month", "months"):
            raise QuantityError(
                f"{quote(raw)} can be read as minutes or months; write {part[1]}min, or the number of days."
            )
        if unit.lower() not in _SECONDS:
            raise QuantityError(f"{quote(raw)} ends in {quote(unit)}, which is no unit of time; write {spec.examples}.")
        size = _SECONDS[unit.lower()]
        total += (
            number if size == spec.seconds_per_unit else number * size / spec.seconds_per_unit
        )  # no rounding in its own unit
    return sign * total


def _rounded(value: float, digits: int | None) -> Decimal:
    exact = Decimal(repr(value))
    return exact if digits is None else Context(prec=digits, rounding=ROUND_HALF_EVEN).plus(exact)


def _plain(number: Decimal) -> str:
    if number == 0:
        return "0"
    number = number.normalize(Context(prec=60))
    return f"{number:f}" if -4 <= number.adjusted() <= 15 else _scientific(number)


def _scientific(number: Decimal) -> str:
    number = number.normalize(Context(prec=60))
    exponent = number.adjusted()
    return f"{number.scaleb(-exponent, Context(prec=60)):f}e{exponent}"


def _digits_of(value: float, digits: int | None) -> str:
    return _plain(_rounded(value, digits))


def _with_suffix(number: Decimal) -> str:
    magnitude = number.adjusted() if number else 0
    for power, suffix in ((12, "T"), (9, "B"), (6, "M"), (3, "k")):
        if power <= magnitude < 15:
            return _plain(number.scaleb(-power, Context(prec=60))) + suffix
    return _scientific(number) if magnitude >= 15 else _plain(number)


def _format_seconds(seconds: float, digits: int | None) -> str:
    for unit in ("d", "h", "min"):
        size = _SECONDS[unit]
        if seconds >= size:
            shown = seconds / size
            if digits is not None or shown * size == seconds:
                return _digits_of(shown, digits) + unit
    return _digits_of(seconds, digits) + "s"
