"""Which runs to do next, and how many are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.compute import DENSE, Accounting
from scaling.designing.local import QUANTITIES, Local, added, linearise
from scaling.designing.result import WORDS, Caveat, Design, Ladder, band_words
from scaling.designing.search import Found, Room, free_runs, information, isoflop_runs
from scaling.errors import PlanError
from scaling.fitting.result import FitResult
from scaling.laws.law import Array
from scaling.progress import Bar, Report
from scaling.quantities import parse_quantity

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("free", "isoflop")
LARGEST_SHARE = 1 / 4  # of the spend: the dearest run, so that one failed run does not lose it all
MOST_RUNS = 64  # many small runs tell much per FLOP, but each is work
TAILS = (0.02, 0.98)  # of the tokens per parameter of the runs done: one odd run opens no range
LEAST_RATIO_SPAN = 16.0  # of the tokens per parameter that runs may have
MOSTLY = 0.9  # of the spend: below it, it is said that some is left
FAR = 30.0  # times the largest run: beyond it the target is called far
BISECTIONS, PRECISION = 24, 0.02  # of the spend for a wanted band, as a relative error


def design(
    result: FitResult,
    flops: Any,
    spend: Any,
    *,
    quantity: str = "n_params",
    kind: str = "free",
    level: float = 0.8,
    largest: Any = None,
    smallest: Any = None,
    most_runs: int = MOST_RUNS,
    tokens_per_param: tuple[float, float] | None = None,
    floor: float = 1.0,
    compute: Accounting = DENSE,
    inputs: Mapping[str, float] | None = None,
    rng: int | np.random.Generator = 0,
    progress: Report | None = None,
) -> Design:
    """The next runs: those that narrow the band of what is to be decided most for the compute at hand.

    Parameters
    ----------
    result : a single fit of a law of n_params and n_tokens (or its bootstrap); best with its runs.
    flops : the budget of the decision. spend : compute at hand for more runs [FLOPs].
    quantity : what the band is of: "n_params" or "tokens_per_param" of the best run at `flops`, or its "loss".
    kind : "free", any sizes and tokens; "isoflop", one to three sweeps of sizes at equal compute.
    largest : the dearest single run [FLOPs]; default a quarter of the spend, so that one failed run does not lose it all.
    smallest : the cheapest [FLOPs]; default that of the runs done, with their least size and tokens: under an exact law tiny
        runs are the best lever, but there no law is exact. most_runs : how many runs at most.
    tokens_per_param : (lowest, highest) of the runs; default the range of the runs done, for beyond it the law was not seen.
    floor : width, high / low, of an error of the quantity that no run removes, such as the spread over plausible laws.
    compute : what a run costs. inputs : values of the law's other inputs.
    progress : called with (work done, work in all); what it raises ends the work.

    The law is linearised at the estimate and at draws of its coefficients; a run adds the information
    (gradient of its residual / its noise)^2, with the noise and its trend in compute as fitted, and with the error that
    runs of one budget share where the fit shows one. Minimised is the variance of the log of the quantity (c-optimality),
    relative to now and averaged over the draws: a convex problem over shares of the spend, then whole runs by exchange.
    Noise is scaled so that the band now is the fit's own interval.
    Raises PlanError for a fit or a spend that cannot be designed with.
    Source: Atkinson, Donev and Tobias 2007, Optimum Experimental Designs, ch. 10, 11 and 17 (from memory).
    """
    target, money = parse_quantity(flops, "flops", name="flops"), parse_quantity(spend, "flops", name="spend")
    _check(quantity, kind, level, floor, tokens_per_param, most_runs)
    local = linearise(result, target, quantity, compute, inputs or {}, level, rng)
    room = _room(local, money, largest, smallest, tokens_per_param, most_runs, compute)
    return _design(local, target, money, quantity, kind, level, room, floor, compute, Bar(progress))


def ladder_for(
    result: FitResult,
    flops: Any,
    band: float,
    *,
    quantity: str = "n_params",
    kind: str = "free",
    level: float = 0.8,
    limit: Any = None,
    smallest: Any = None,
    most_runs: int = MOST_RUNS,
    tokens_per_param: tuple[float, float] | None = None,
    floor: float = 1.0,
    compute: Accounting = DENSE,
    inputs: Mapping[str, float] | None = None,
    rng: int | np.random.Generator = 0,
    progress: Report | None = None,
) -> Ladder:
    """How much compute the next runs need for a band of +- `band` (0.1 is 10 %), by bisection on the spend.

    limit : most compute to consider; default the target itself, for beyond it the run to be planned is cheaper than its
    preparation. progress : called with (work done, work in all); what it raises ends the work. The rest as in `design`.
    The answer has a status: see Ladder.
    """
    target = parse_quantity(flops, "flops", name="flops")
    most = target if limit is None else parse_quantity(limit, "flops", name="limit")
    _check(quantity, kind, level, floor, tokens_per_param, most_runs)
    if not (np.isfinite(band) and 0 < band < 1e3):
        raise PlanError(f"a band is a positive share such as 0.1 for +-10 %, not {band}.")
    wanted = (1 + band) ** 2
    local = linearise(result, target, quantity, compute, inputs or {}, level, rng)
    words = f"the {level:.0%} band of the {WORDS[quantity]} at {target:.3g} FLOPs"

    bar = Bar(progress)

    def at(spend: float, part: Bar) -> Design:
        room = _room(local, spend, None, smallest, tokens_per_param, most_runs, compute)
        return _design(local, target, spend, quantity, kind, level, room, floor, compute, part)

    def answer(status: str, message: str, spend: float | None, made: Design | None) -> Ladder:
        bar(1, 1)
        return Ladder(status, message, wanted, quantity, target, level, spend, most, made)

    if floor >= wanted:
        why = f"The errors that no run removes are {band_words(floor)} already: no ladder brings {words} to {band_words(wanted)}."
        return answer("floor", why, None, None)
    now = _width(local, np.zeros_like(local.now), 0, level, floor)[0]
    if now <= wanted:
        return answer(
            "already", f"{words[0].upper()}{words[1:]} is {band_words(now)} now: no further runs are needed.", 0.0, None
        )
    of_most, of_search = bar.parts(1, BISECTIONS / 2)
    best = at(most, of_most)
    if best.width_then > wanted:
        why = (
            f"{words[0].upper()}{words[1:]} cannot be brought to {band_words(wanted)} with {most:.3g} FLOPs in at most {most_runs} further runs: "
            f"the best of them leave {band_words(best.width_then)}, from {band_words(now)} now."
        )
        return answer("out_of_reach", why, None, best)
    low, high = np.log(best.runs["flops"].min()), np.log(most)
    steps = min(BISECTIONS, int(np.ceil(np.log2(max((high - low) / PRECISION, 2)))))
    for part in of_search.each(steps):
        middle = 0.5 * (low + high)
        try:
            made = at(float(np.exp(middle)), part)
        except PlanError:  # too little for any run
            low = middle
            continue
        if made.width_then <= wanted:
            high, best = middle, made
        else:
            low = middle
        if high - low < PRECISION:
            break
    spend = float(np.exp(high))
    why = f"{spend:.2g} FLOPs of further runs should bring {words} from {band_words(now)} to {band_words(wanted)}, {spend / target:.2g} of the target."
    return answer("reached", why, spend, best)


def band_with(
    result: FitResult,
    runs: pd.DataFrame,
    flops: Any,
    *,
    quantity: str = "n_params",
    level: float = 0.8,
    floor: float = 1.0,
    compute: Accounting = DENSE,
    inputs: Mapping[str, float] | None = None,
    rng: int | np.random.Generator = 0,
) -> float:
    """Width, high / low, that the band of `quantity` should have after further runs (n_params, n_tokens, maybe count)."""
    target = parse_quantity(flops, "flops", name="flops")
    _check(quantity, "free", level, floor, None, 1)
    local = linearise(result, target, quantity, compute, inputs or {}, level, rng)
    n, d = (runs[c].to_numpy(float) for c in ("n_params", "n_tokens"))
    counts = runs["count"].to_numpy(float) if "count" in runs else np.ones(len(runs))
    if not len(runs):
        return _width(local, np.zeros_like(local.now), 0, level, floor)[0]
    from scaling.uncertainty.shared import cluster_budgets

    shared = local.shared(n, d)
    extra = added(local.of_runs(n, d), counts[None], cluster_budgets(compute.flops(n, d)), shared)[0]
    return _width(local, extra, _more_freedom(local, counts, cluster_budgets(compute.flops(n, d))), level, floor)[0]


def _design(
    local: Local, target: float, spend: float, quantity: str, kind: str, level: float, room: Room, floor: float,
    compute: Accounting, bar: Bar,
) -> Design:  # fmt: skip
    import pandas as pd

    search = free_runs if kind == "free" else isoflop_runs
    found = search(local, spend, room, compute, bar)
    bar(1, 1)
    extra = information(local, found)
    more = _more_freedom(local, found.count, found.group)
    then, spread = _width(local, extra, more, level, floor)
    now, _ = _width(local, np.zeros_like(extra), 0, level, floor)
    table = pd.DataFrame({"n_params": found.n_params, "n_tokens": found.n_tokens, "tokens_per_param": found.n_tokens / found.n_params,
                          "flops": found.flops, "count": found.count.astype(int), "beyond": _beyond(local.result, found)})  # fmt: skip
    table = table.sort_values(["flops", "n_params"], ignore_index=True)
    repeats, repeated, cost = _repeating(local, found, extra, level, floor, more, compute)
    made = Design(
        table,
        kind,
        quantity,
        target,
        level,
        now,
        then,
        spread,
        floor,
        repeats,
        repeated,
        cost,
        spend,
        room.largest,
        caveats=(),
    )
    return replace(made, caveats=tuple(_caveats(local, made)))


def _room(
    local: Local, spend: float, largest: Any, smallest: Any, ratios: tuple[float, float] | None, most_runs: int, compute: Accounting
) -> Room:  # fmt: skip
    """Where new runs may lie, as asked or as the runs done have it."""
    problem, domain = local.result.problem, local.result.domain
    if smallest is not None:
        least, least_n, least_d = parse_quantity(smallest, "flops", name="smallest"), 0.0, 0.0
    elif problem is not None:
        used = problem.weights[0] > 0
        n, d = problem.x["n_params"][used], problem.x["n_tokens"][used]
        least, least_n, least_d = float(compute.flops(n, d).min()), float(n.min()), float(d.min())
    else:
        least_n, least_d = domain["n_params"][0], domain["n_tokens"][0]
        least = float(domain["flops"][0]) if "flops" in domain else float(compute.flops(least_n, least_d))
    if largest is not None:
        top = min(spend, parse_quantity(largest, "flops", name="largest"))
    else:
        top = min(spend, max(LARGEST_SHARE * spend, least))
    if least > top * (1 + 1e-9):
        raise PlanError(
            f"runs of at most {top:.3g} FLOPs are smaller than the smallest of the runs done ({least:.3g}), where no law was seen: "
            "raise the spend or largest, or state smallest."
        )
    return Room(least, top, ratios or _ratios(local.result), least_n, least_d, most_runs)


def _width(local: Local, extra: Array, more: float, level: float, floor: float) -> tuple[float, tuple[float, float]]:
    """high / low of the band after extra information, at the estimate, and from 10 to 90 % of the draws."""
    from scipy.special import stdtrit

    half = stdtrit(local.dof + more, 0.5 + level / 2) * np.sqrt(local.variance(extra))
    widths = np.exp(np.minimum(np.hypot(2 * half, np.log(floor)), 700.0))
    low, high = np.quantile(widths, [0.1, 0.9])
    return float(widths[0]), (float(low), float(high))


def _more_freedom(local: Local, counts: Array, groups: Array) -> float:
    """Degrees of freedom that runs add: one each, or one for each budget where those share an error."""
    return float(len(np.unique(groups))) if local.tau > 0 else float(counts.sum())


def _repeating(
    local: Local, found: Found, extra: Array, level: float, floor: float, more: float, compute: Accounting
) -> tuple[float | None, float | None, float | None]:
    """(times, width, cost): how often over, the band after the runs done are repeated for the same compute, and what repeating costs to be equal."""
    if local.done is None or local.result.problem is None:
        return None, None, None
    problem = local.result.problem
    used = problem.weights[0] > 0
    cost = float(compute.flops(problem.x["n_params"][used], problem.x["n_tokens"][used]).sum())
    times = float(found.flops @ found.count) / cost
    width, _ = _width(local, local.repeated(times), more, level, floor)
    wanted = float(local.variance(extra)[0])
    low, high = np.log(1e-9), np.log(1e9)  # how many times over
    if float(local.variance(local.repeated(np.exp(high)))[0]) > wanted:
        return times, width, np.inf  # what runs of one budget share stays
    while high - low > 1e-4:
        middle = 0.5 * (low + high)
        if float(local.variance(local.repeated(np.exp(middle)))[0]) > wanted:
            low = middle
        else:
            high = middle
    return times, width, cost * float(np.exp(high))


def _beyond(result: FitResult, found: Found) -> Array:
    outside = np.zeros(len(found.count), bool)
    for name in ("n_params", "n_tokens", "flops"):
        if name in result.domain:
            low, high = result.domain[name]
            values = getattr(found, name)
            outside |= (values < low * (1 - 1e-6)) | (values > high * (1 + 1e-6))
    return outside


def _ratios(result: FitResult) -> tuple[float, float]:
    """Tokens per parameter that new runs may have: those of the runs done, widened where these hardly differ."""
    if result.problem is not None:
        used = result.problem.weights[0] > 0
        ratio = (result.problem.x["n_tokens"] / result.problem.x["n_params"])[used]
        low, high = (float(v) for v in np.quantile(ratio, TAILS, method="nearest"))
    else:
        low, high = 2.0, 200.0
    if high / low < LEAST_RATIO_SPAN:
        middle = np.sqrt(low * high)
        low, high = float(middle / LEAST_RATIO_SPAN**0.5), float(middle * LEAST_RATIO_SPAN**0.5)
    return low, high


def _caveats(local: Local, made: Design) -> list[Caveat]:
    result = local.result
    found = [Caveat(
        "law_error",
        f"the promise holds if {result.law.equation} is the law out to {made.target:.3g} FLOPs: a design narrows the noise, not the "
        "error of the law; plan under other laws too, and give their spread as the floor.",
    )]  # fmt: skip
    for warning in result.warnings:
        if warning.code == "lack_of_fit" or warning.code.startswith("undetermined"):
            found.append(Caveat(warning.code, f"of the fit: {warning.message}"))
    if made.share_beyond > 0:
        found.append(Caveat(
            "beyond_runs",
            f"{made.share_beyond:.0%} of the compute goes to runs outside the sizes, tokens or compute of the runs done: "
            "that is where they tell most, and where the law and its noise have not been seen.",
        ))  # fmt: skip
    if "flops" in result.domain and made.target > FAR * max(result.domain["flops"][1], float(made.runs["flops"].max())):
        times = made.target / max(result.domain["flops"][1], float(made.runs["flops"].max()))
        found.append(
            Caveat(
                "far_target",
                f"the target is {times:.2g} times the largest run even after these: errors of the law grow with that.",
            )
        )
    if local.tau > 0:
        found.append(Caveat(
            "shared_error",
            f"runs of one budget seem to share an error (standard deviation {local.tau:.2g}): repeats within a budget do not remove it.",
        ))  # fmt: skip
    if made.flops < MOSTLY * made.spend:
        found.append(
            Caveat(
                "unspent",
                f"{1 - made.flops / made.spend:.0%} of the spend is left: the number of runs ({int(made.runs['count'].sum())}) decides, "
                "not the compute; allow more runs, or a larger one.",
            )
        )
    if made.width_repeated is not None and made.repeats is not None and made.width_repeated < made.width_then:
        again = made.repeats * int(result.n_runs)
        if again > made.runs["count"].sum():
            found.append(
                Caveat(
                    "few_runs",
                    f"repeating the runs done, {again:.3g} of them, narrows more than these {int(made.runs['count'].sum())}: the number "
                    "of runs decides, not the compute; allow more runs.",
                )
            )
    if made.flops > made.target:
        found.append(
            Caveat(
                "dear",
                f"these runs take {made.flops / made.target:.3g} times the compute of the run that they are to decide on: try sizes there instead.",
            )
        )
    if local.slope != 0:
        found.append(
            Caveat(
                "noise_trend",
                f"the noise goes as compute to the power {local.slope:.2g}; beyond the runs done it is taken as at their ends.",
            )
        )
    if len(local.c) < 10:
        found.append(
            Caveat(
                "few_draws",
                "most draws of the coefficients have no best size at the target: the design rests on few of them.",
            )
        )
    if (made.largest > 0.5 * made.spend) and len(made.runs) and made.runs["flops"].max() > 0.5 * made.spend:
        found.append(
            Caveat("one_run", "one run takes more than half of the spend: if it fails, most of the money is lost.")
        )
    return found


def _check(
    quantity: str, kind: str, level: float, floor: float, ratios: tuple[float, float] | None, most_runs: int
) -> None:
    if quantity not in QUANTITIES:
        raise PlanError(f"quantity={quantity!r}: choose {', '.join(QUANTITIES)}.")
    if kind not in KINDS:
        raise PlanError(f"kind={kind!r}: choose {' or '.join(KINDS)}.")
    if not 0 < level < 1:
        raise PlanError(f"level must lie between 0 and 1, not {level}.")
    if not (np.isfinite(floor) and floor >= 1):
        raise PlanError(f"floor is a width, high / low, of at least 1 (1 is none), not {floor}.")
    if most_runs < 1:
        raise PlanError(f"most_runs must be at least 1, not {most_runs}.")
    if ratios is not None and not (0 < ratios[0] <= ratios[1] < np.inf):
        raise PlanError(f"tokens_per_param is (lowest, highest), both positive, not {ratios}.")
