"""Which runs to do next, and how many are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.compute import DENSE, Accounting
from scaling.designing.caveats import caveats_of
from scaling.designing.decision import Decision, decide
from scaling.designing.limits import MOST_RUNS, Limits
from scaling.designing.local import added
from scaling.designing.result import WORDS, Design, Ladder, band_words
from scaling.designing.search import Found, free_runs, information, isoflop_runs
from scaling.errors import PlanError
from scaling.fitting.result import FitResult
from scaling.laws.law import Array
from scaling.progress import Bar, Report
from scaling.quantities import parse_quantity

if TYPE_CHECKING:
    import pandas as pd

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
    money = parse_quantity(spend, "flops", name="spend")
    limits = Limits(kind, smallest, most_runs, tokens_per_param)
    decision = decide(result, flops, quantity, level, floor, compute, inputs, rng)
    return _design(decision, limits, money, largest, Bar(progress))


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
    if not (np.isfinite(band) and 0 < band < 1e3):
        raise PlanError(f"a band is a positive share such as 0.1 for +-10 %, not {band}.")
    wanted = (1 + band) ** 2
    limits = Limits(kind, smallest, most_runs, tokens_per_param)
    decision = decide(result, flops, quantity, level, floor, compute, inputs, rng)
    target = decision.target
    most = target if limit is None else parse_quantity(limit, "flops", name="limit")
    words = f"the {level:.0%} band of the {WORDS[quantity]} at {target:.3g} FLOPs"
    bar = Bar(progress)

    def at(spend: float, part: Bar) -> Design:
        return _design(decision, limits, spend, None, part)

    def answer(status: str, message: str, spend: float | None, made: Design | None) -> Ladder:
        bar(1, 1)
        return Ladder(status, message, wanted, quantity, target, level, spend, most, made)

    if floor >= wanted:
        why = f"The errors that no run removes are {band_words(floor)} already: no ladder brings {words} to {band_words(wanted)}."
        return answer("floor", why, None, None)
    now = decision.width_now
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
    decision = decide(result, flops, quantity, level, floor, compute, inputs, rng)
    if not len(runs):
        return decision.width_now
    from scaling.uncertainty.shared import cluster_budgets

    local = decision.local
    n, d = (runs[c].to_numpy(float) for c in ("n_params", "n_tokens"))
    counts = runs["count"].to_numpy(float) if "count" in runs else np.ones(len(runs))
    budgets = cluster_budgets(compute.flops(n, d))
    extra = added(local.of_runs(n, d), counts[None], budgets, local.shared(n, d))[0]
    return decision.width(extra, decision.more_freedom(counts, budgets))[0]


def _design(decision: Decision, limits: Limits, spend: float, largest: Any, bar: Bar) -> Design:
    import pandas as pd

    local, compute = decision.local, decision.compute
    room = limits.room(local.result, spend, largest, compute)
    search = free_runs if limits.kind == "free" else isoflop_runs
    found = search(local, spend, room, compute, bar)
    bar(1, 1)
    extra = information(local, found)
    more = decision.more_freedom(found.count, found.group)
    then, spread = decision.width(extra, more)
    repeats, repeated, cost = decision.repeating(found, extra, more)
    table = pd.DataFrame(
        {
            "n_params": found.n_params,
            "n_tokens": found.n_tokens,
            "tokens_per_param": found.n_tokens / found.n_params,
            "flops": found.flops,
            "count": found.count.astype(int),
            "beyond": _beyond(local.result, found),
        }
    )
    made = Design(
        runs=table.sort_values(["flops", "n_params"], ignore_index=True),
        kind=limits.kind,
        quantity=decision.quantity,
        target=decision.target,
        level=decision.level,
        width_now=decision.width_now,
        width_then=then,
        then_range=spread,
        floor=decision.floor,
        repeats=repeats,
        width_repeated=repeated,
        repeat_flops=cost,
        spend=spend,
        largest=room.largest,
        caveats=(),
    )
    return replace(made, caveats=tuple(caveats_of(local, made)))


def _beyond(result: FitResult, found: Found) -> Array:
    """(runs,) True outside the sizes, tokens or compute of the runs done."""
    outside = np.zeros(len(found.count), bool)
    for name in ("n_params", "n_tokens", "flops"):
        if name in result.domain:
            low, high = result.domain[name]
            values = getattr(found, name)
            outside |= (values < low * (1 - 1e-6)) | (values > high * (1 + 1e-6))
    return outside
