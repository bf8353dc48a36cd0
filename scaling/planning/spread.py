"""One request under several laws: a plan for each, one under their average, and how far they are apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocation import Fitted
from scaling.errors import PlanError
from scaling.laws.law import Array, Coef, Inputs, Law
from scaling.planning.make import plan
from scaling.planning.result import Plan
from scaling.quantities import format_quantity

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "scaling.plans/1"
AVERAGE = "average"
TEXT = "n_unique_tokens"


@dataclass(frozen=True)
class Averaged:
    """The mean of several laws' losses as one law; theta (..., P) holds the coefficients of all, one law after the other."""

    law: Law
    theta: Array
    of: Averaged | None
    title: str
    members: tuple[str, ...]
    loss_unit: str = ""
    caveats: tuple[str, ...] = ()
    prepared: bool = True  # its members already hold what a request adds to a law


def average(sources: Mapping[str, Fitted], weights: Sequence[float] | None = None) -> Averaged:
    """The weighted mean of the losses that fitted laws predict.

    sources : name -> a fit, bootstrap or published law; weights : one each, positive; equal unless given. Where all have
    draws, draw i of the average is made of one draw of each, taken as independent; one without draws keeps its estimate.
    Raises PlanError for fewer than two laws, weights that are no weights, or different targets.
    """
    names = tuple(sources)
    if len(names) < 2:
        raise PlanError("an average needs at least two laws; name another.")
    shares = np.ones(len(names)) if weights is None else np.asarray(weights, float)
    if shares.shape != (len(names),) or not (np.isfinite(shares).all() and (shares > 0).all()):
        raise PlanError(f"weights must be {len(names)} positive numbers, one for each law, not {weights!r}.")
    shares = shares / shares.sum()
    fitted = list(sources.values())
    targets = {f.law.target for f in fitted}
    if len(targets) > 1:
        raise PlanError(
            f"the laws predict different things ({', '.join(sorted(targets))}): average laws of one target."
        )
    law = _mean_law(names, [f.law for f in fitted], shares)
    caveats = tuple(dict.fromkeys(c for f in fitted for c in getattr(f, "caveats", ())))
    about = (_title(names), names, _unit(fitted), caveats)
    point = Averaged(law, np.concatenate([_point(f) for f in fitted]), None, *about)
    draws = [_draws(f) for f in fitted]
    if all(len(d) == 1 for d in draws):
        return point
    n = max(len(d) for d in draws)
    # a second law's draws in another order, or the same resamples of one table would move all laws together
    rng = np.random.default_rng(0)
    rows = [d[rng.permutation(n) % len(d)] for d in draws]
    return Averaged(law, np.concatenate(rows, axis=-1), point, *about)


def _title(names: Sequence[str]) -> str:
    return f"the mean loss of {', '.join(names[:-1])} and {names[-1]}"


def _unit(fitted: Sequence[Fitted]) -> str:
    units = {str(getattr(f, "loss_unit", "") or "nats/token") for f in fitted}
    return units.pop() if len(units) == 1 else "mixed units"


def _point(fitted: Fitted) -> Array:
    point = getattr(fitted, "of", None) or fitted
    theta = np.asarray(point.theta, float)
    if theta.ndim != 1:
        raise PlanError("an average is of single laws: take one group first.")
    return theta


def _draws(fitted: Fitted) -> Array:
    """Finite draws (R, P), or the estimate (1, P)."""
    if getattr(fitted, "of", None) is None:
        return _point(fitted)[None]
    theta = np.asarray(fitted.theta, float)
    kept = theta[np.isfinite(theta).all(axis=-1)]
    return kept if len(kept) else _point(fitted)[None]


def _mean_law(names: Sequence[str], laws: Sequence[Law], shares: Array) -> Law:
    sizes = np.cumsum([0, *(len(law.coefs) for law in laws)])
    parts = [slice(a, b) for a, b in pairwise(sizes)]

    def mean(x: Inputs, theta: Array) -> Array:
        """The laws' losses, weighted by their shares; theta (..., P) holds their coefficients one after the other."""
        total: Any = 0.0
        for law, part, share in zip(laws, parts, shares, strict=True):
            total = total + share * law.formula(x, theta[..., part])
        return total

    coefs = [
        Coef(f"{name}.{c.name}", c.meaning, c.starts, c.lower, c.upper)
        for name, law in zip(names, laws, strict=True)
        for c in law.coefs
    ]
    return Law(
        name=AVERAGE,
        title=_title(names),
        equation="the weighted mean of the losses of " + ", ".join(names),
        inputs=tuple(dict.fromkeys(i for law in laws for i in law.inputs)),
        coefs=tuple(coefs),
        formula=mean,
        target=laws[0].target,
        source="an average of laws; no source of its own",
    )


@dataclass(frozen=True)
class Spread:
    """Plans of one request under several laws. `plans` by name, the average last under "average"; refused : name -> why not."""

    plans: dict[str, Plan]
    refused: dict[str, str]

    @property
    def average(self) -> Plan | None:
        return self.plans.get(AVERAGE)

    def range(self, quantity: str, i: int = 0) -> tuple[float, float]:
        """Smallest and largest estimate of n_params, n_tokens, tokens_per_param, loss or flops over the laws, average aside."""
        values = [_value(p.steps[i], quantity) for name, p in self.plans.items() if name != AVERAGE]
        return min(values), max(values)

    def table(self) -> pd.DataFrame:
        """One row for each law and budget: law, then the columns of `Plan.table`."""
        import pandas as pd

        tables = [p.table().assign(law=name) for name, p in self.plans.items()]
        table = pd.concat([t.dropna(axis=1, how="all") for t in tables], ignore_index=True)
        return table[["law", *(c for c in table if c != "law")]]

    def to_dict(self) -> dict[str, Any]:
        """The JSON document (`scaling.plans/1`): each law's plan, and the spread of its estimates."""
        n = len(next(iter(self.plans.values())).steps)
        spread = [
            {q: dict(zip(("low", "high"), self.range(q, i), strict=True)) for q in ("flops", "n_params", "n_tokens", "tokens_per_param", "loss")}
            for i in range(n)
        ]  # fmt: skip
        return {
            "schema": SCHEMA,
            "laws": {name: p.to_dict() for name, p in self.plans.items()},
            "spread": spread,
            "refused": dict(self.refused),
        }

    def __str__(self) -> str:
        lines = []
        lead = self.average or next(iter(self.plans.values()))
        for i, step in enumerate(lead.steps):
            (n_low, n_high), (d_low, d_high) = self.range("n_params", i), self.range("n_tokens", i)
            lines += [
                f"Train {format_quantity(step.n_params.estimate)} parameters on {format_quantity(step.n_tokens.estimate)} tokens"
                + (" under the average of the laws" if self.average else "")
                + f"; they say {format_quantity(n_low)} to {format_quantity(n_high)} parameters on {format_quantity(d_low)} to "
                f"{format_quantity(d_high)} tokens, a factor of {n_high / n_low:.2g} in size.",
                "",
                *self._rows(i),
                "",
            ]
        lines += [f"not planned under {name}: {why}" for name, why in self.refused.items()]
        lines += self._said()
        if self.average:
            lines.append(
                "note: losses of laws fitted on different text or tokenizers do not compare; sizes and tokens do"
            )
        return "\n".join(lines).rstrip()

    def _said(self) -> list[str]:
        """What the single plans warn of and note, each once, with the laws it holds for."""
        said: dict[str, list[str]] = {}
        for name, p in self.plans.items():
            if name != AVERAGE:
                warnings = [f"warning ({{}}): {w.message}" for s in p.steps for w in s.warnings]
                for text in dict.fromkeys([*warnings, *(f"note ({{}}): {c}" for c in p.caveats)]):
                    said.setdefault(text, []).append(name)
        single = [n for n in self.plans if n != AVERAGE]
        return [
            t.replace("{}", ", ".join(names) if len(names) < len(single) else "all laws", 1)
            for t, names in said.items()
        ]

    def _rows(self, i: int) -> list[str]:
        rows = [("law", "FLOPs", "parameters", "tokens", "tokens/param", "loss", "binds")]
        for name, p in self.plans.items():
            s = p.steps[i]
            rows.append(
                (
                    name, f"{s.flops:.3g}", format_quantity(s.n_params.estimate), format_quantity(s.n_tokens.estimate),
                    f"{s.tokens_per_param.estimate:.3g}", f"{s.loss.estimate:.4g}", ", ".join([*filter(None, [s.budget]), *s.binding]),
                )
            )  # fmt: skip
        wide = [max(len(r[k]) for r in rows) for k in range(len(rows[0]))]
        return [
            "  " + "  ".join(c.ljust(w) if k in (0, 6) else c.rjust(w) for k, (c, w) in enumerate(zip(r, wide, strict=True))).rstrip()
            for r in rows
        ]  # fmt: skip

    __repr__ = __str__


def _value(step: Any, quantity: str) -> float:
    value = getattr(step, quantity)
    return float(value if isinstance(value, float) else value.estimate)


def plan_each(
    sources: Mapping[str, Fitted],
    *,
    weights: Sequence[float] | None = None,
    planner: Callable[..., Plan] = plan,
    **request: Any,
) -> Spread:
    """A plan under each law and under their average, with the spread.

    sources : name -> a fit, bootstrap or published law. request : what `scaling.plan` takes. weights : of the average.
    Where one law weighs repeated text, the others do too, with published constants.
    A law that cannot meet the request is listed in `refused` with the reason; PlanError when none can.
    """
    if not sources:
        raise PlanError("no law was given to plan with.")
    if AVERAGE in sources:
        raise PlanError(f"a law cannot be called {AVERAGE!r} here: that is the name of the average; rename it.")
    inputs = dict(request.pop("inputs", None) or {})
    if unknown := set(inputs) - {i for source in sources.values() for i in source.law.inputs}:
        raise PlanError(f"none of the laws takes the input {', '.join(sorted(unknown))}.")

    def make(source: Fitted) -> Plan:
        own = {k: v for k, v in inputs.items() if k in source.law.inputs}
        return planner(source, inputs=own, **request)

    # text that one law may repeat, no law may take for a limit or, in the average, for fresh
    if request.get("unique_tokens") is not None and any(TEXT in source.law.inputs for source in sources.values()):
        request["repeats"] = True
    plans, refused = {}, {}
    for name, source in sources.items():
        try:
            plans[name] = make(source)
        except ValueError as error:
            refused[name] = str(error)
    if not plans:
        raise PlanError(f"none of the laws can meet the request: {'; '.join(f'{k}: {v}' for k, v in refused.items())}")
    if len(plans) > 1:
        # as the single plans saw them: with the draws that a fit alone was given, and what the request added to a law
        shares = None if weights is None else [w for w, name in zip(weights, sources, strict=True) if name in plans]
        try:
            mean = average({name: p.allocation.fitted for name, p in plans.items()}, shares)
            plans[AVERAGE] = make(mean)
        except ValueError as error:
            if weights is not None:
                raise
            refused[AVERAGE] = str(error)
    if not all(math.isfinite(_value(s, "n_params")) for p in plans.values() for s in p.steps):
        raise PlanError("a law gives no finite plan: check its coefficients.")
    return Spread(plans, refused)
