"""From a budget in FLOPs, accelerators and days, money or a wanted loss, to the run to train: size, tokens, loss, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocation import Allocation, Constraints, Fitted, allocate, flops_for_loss, loss_at
from scaling.compute import DENSE, Accounting, Lifetime
from scaling.errors import PlanError
from scaling.hardware import Accelerator
from scaling.hardware import accelerator as find_accelerator
from scaling.laws.law import Array
from scaling.quantities import format_quantity, parse_quantity

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "scaling.plan/1"
FAR = 10.0  # times beyond the runs, above which a plan is warned about
DRAWS = 1000  # parametric draws when a fit comes without resamples
MOST_ACCELERATORS = 10_000_000  # more than were ever built of one kind
MOST_DAYS = 3650.0
HOUR = 3600.0


@dataclass(frozen=True)
class Band:
    """A value with the bounds of its band; low and high are None where nothing is known about them."""

    estimate: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Warned:
    """Something the reader of a plan must know; `code` is stable, `message` a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class Hardware:
    """What a run costs: accelerators in use, the share of their peak that is reached, and what follows."""

    accelerator: Accelerator
    count: int
    mfu: float
    usd_per_hour: float | None
    gpu_hours: float
    days: float
    usd: float | None


@dataclass(frozen=True)
class Step:
    """The plan for one budget.

    n_params, n_tokens, tokens_per_param : what to train; the band is how the best choice moves with the uncertainty of the law.
    loss : expected from the run that is recommended, not from the best run of each draw; the band is that of the law there.
    binding : the constraints that decide; extrapolation : compute over that of the largest run, None when not known.
    """

    flops: float
    n_params: Band
    n_tokens: Band
    tokens_per_param: Band
    loss: Band
    binding: tuple[str, ...]
    extrapolation: float | None
    hardware: Hardware | None
    warnings: tuple[Warned, ...]


@dataclass(frozen=True)
class Plan:
    """What to train with each budget (`steps`), under which law, with which band and caveats."""

    law_title: str
    loss_unit: str
    level: float
    band_source: str
    accounting: str
    steps: tuple[Step, ...]
    caveats: tuple[str, ...]
    allocation: Allocation

    def table(self) -> pd.DataFrame:
        """One row per budget: flops [FLOPs], n_params, n_tokens, tokens_per_param, loss with bounds, and cost columns."""
        import pandas as pd

        rows = []
        for step in self.steps:
            row: dict[str, Any] = {"flops": step.flops}
            for name in ("n_params", "n_tokens", "tokens_per_param", "loss"):
                band = getattr(step, name)
                row |= {name: band.estimate, f"{name}_low": band.low, f"{name}_high": band.high}
            row |= {"binding": ", ".join(step.binding), "extrapolation": step.extrapolation}
            if step.hardware:
                row |= {k: getattr(step.hardware, k) for k in ("gpu_hours", "days", "usd")}
            rows.append(row)
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document (`scaling.plan/1`); several budgets give {"plans": [...]}."""
        documents = [self._document(step) for step in self.steps]
        return documents[0] if len(documents) == 1 else {"schema": SCHEMA, "plans": documents}

    def _document(self, step: Step) -> dict[str, Any]:
        def band(b: Band) -> dict[str, Any]:
            return {"estimate": b.estimate, "low": b.low, "high": b.high, "level": self.level}

        document: dict[str, Any] = {
            "schema": SCHEMA,
            "law": self.allocation.law.name,
            "title": self.law_title,
            "flops": band(Band(step.flops)),
            **{name: band(getattr(step, name)) for name in ("n_params", "n_tokens", "tokens_per_param", "loss")},
            "loss_unit": self.loss_unit,
            "accounting": self.accounting,
            "constraints": self.allocation.constraints.given,
            "binding": list(step.binding),
            "extrapolation": step.extrapolation,
            "hardware": None,
            "warnings": [{"code": w.code, "message": w.message} for w in step.warnings],
            "caveats": list(self.caveats),
        }
        if step.hardware is not None:
            h = step.hardware
            document["hardware"] = {
                "accelerator": h.accelerator.key, "count": h.count, "mfu": h.mfu, "usd_per_hour": h.usd_per_hour,
                "gpu_hours": h.gpu_hours, "days": h.days, "usd": h.usd,
            }  # fmt: skip
        return document

    def __str__(self) -> str:
        if len(self.steps) == 1:
            return self._page(self.steps[0])
        return self._overview()

    def _page(self, step: Step) -> str:
        n, d = format_quantity(step.n_params.estimate), format_quantity(step.n_tokens.estimate)
        lines = [
            f"Train {n} parameters on {d} tokens ({step.tokens_per_param.estimate:.3g} tokens per parameter): "
            f"expected loss {step.loss.estimate:.4g}{_around(step.loss, '.4g')} {self.loss_unit}.",
            "",
            f"  compute           {step.flops:.3g} FLOPs ({self.accounting})",
            f"  model size        {n:<9} {_range(step.n_params, 'params')}",
            f"  training tokens   {d:<9} {_range(step.n_tokens, 'tokens')}",
            f"  tokens per param  {step.tokens_per_param.estimate:<9.3g} {_around(step.tokens_per_param, '.3g').strip()}",
        ]
        lines += ["", "What binds: " + _binding_words(step, self.allocation.constraints)]
        if step.hardware:
            h = step.hardware
            money = "" if h.usd is None else f", {format_quantity(h.usd, 'usd')} at ${h.usd_per_hour:.2f} an hour"
            lines += [
                "",
                f"Cost: {format_quantity(h.gpu_hours)} {h.accelerator.key} hours: {h.days:.3g} days on {h.count:,} at {h.mfu:.0%} "
                f"of peak{money}.",
            ]
        lines += ["", f"Law: {self.law_title}. Bands of {self.level:.0%}: {self.band_source}."]
        lines += [f"warning ({w.code}): {w.message}" for w in step.warnings]
        lines += [f"note: {c}" for c in self.caveats]
        return "\n".join(lines)

    def _overview(self) -> str:
        head = f"{'FLOPs':>9}  {'params':>8} {'':<18} {'tokens':>8} {'':<18} {'tok/param':>9}  {'loss':>7} {'':<18}"
        timed = self.steps[0].hardware is not None
        lines = [head + ("  GPU-hours    days" if timed else "") + "  beyond the runs"]
        for s in self.steps:
            line = (
                f"{s.flops:>9.3g}  {format_quantity(s.n_params.estimate):>8} {_range(s.n_params, 'params'):<18} "
                f"{format_quantity(s.n_tokens.estimate):>8} {_range(s.n_tokens, 'tokens'):<18} {s.tokens_per_param.estimate:>9.3g}  "
                f"{s.loss.estimate:>7.4g} {_around(s.loss, '.4g').strip():<18}"
            )
            if s.hardware:
                line += f"  {format_quantity(s.hardware.gpu_hours):>9} {s.hardware.days:>7.3g}"
            lines.append(line + (f"  {s.extrapolation:.3g}x" if s.extrapolation else ""))
        lines += ["", f"Law: {self.law_title}; {self.accounting}. Bands of {self.level:.0%}: {self.band_source}."]
        said = dict.fromkeys(f"warning ({w.code}): {w.message}" for s in self.steps for w in s.warnings)
        return "\n".join([*lines, *said, *(f"note: {c}" for c in self.caveats)])

    __repr__ = __str__


def plan(
    source: Fitted | Allocation,
    *,
    flops: Any = None,
    loss: float | str | None = None,
    accelerator: str | Accelerator | None = None,
    count: int | str | None = None,
    days: float | str | None = None,
    mfu: float | str | None = None,
    usd: float | str | None = None,
    usd_per_hour: float | str | None = None,
    band: float = 0.8,
    compute: Accounting = DENSE,
    unique_tokens: float | str | None = None,
    inference_tokens: float | str | None = None,
    inputs: Mapping[str, float] | None = None,
    **constraints: float | str | None,
) -> Plan:
    """What to train with a budget.

    Parameters
    ----------
    source : a fit, a bootstrap, a published law, or an Allocation (its budgets are then the budgets).
    flops, loss, usd, or accelerator + count + days : the budget; exactly one. usd and days need accelerator and mfu
        (default 40 %); with another budget, accelerator + count add time and money to the answer.
    mfu : share of the accelerator's dense bf16 peak that training reaches, in (0, 1].
    usd_per_hour : price of one accelerator for an hour; default the assumption listed with the accelerator.
    band : level of the bands.
    unique_tokens : text at hand; a law of repeated data weighs repeats, under any other it is a limit on tokens.
    inference_tokens : tokens served over the model's life; a budget then pays for training and serving (2 N FLOPs a token).
    inputs : values of the law's other inputs.
    constraints : n_params, n_tokens, tokens_per_param (fixed); max_params, min_params, max_tokens, min_tokens_per_param,
        max_tokens_per_param (bounds).

    Quantities may be written as people write them ("70B", "30d", "$2.5M"). Returns a Plan; str(plan) is the page to read.
    Raises PlanError or QuantityError, saying the way out, when the request cannot be met.
    """
    if not (isinstance(band, int | float) and 0 < band < 1):
        raise PlanError(f"band must lie between 0 and 1 (0.8 is 80 %), not {band}.")
    chip = find_accelerator(accelerator) if isinstance(accelerator, str) else accelerator
    n_chips = _count(count)
    n_days = None if days is None else parse_quantity(days, "days", name="days")
    money = None if usd is None else parse_quantity(usd, "usd", name="usd")
    share = None if mfu is None else parse_quantity(mfu, "fraction", name="mfu")
    price = _price(chip, usd_per_hour)
    if n_days is not None and n_days > MOST_DAYS:
        raise PlanError(
            f"days: {n_days:.3g} days are more than ten years; write the length of the training, such as 30d."
        )
    if chip is None and (n_chips is not None or n_days is not None or money is not None or share is not None):
        raise PlanError("which accelerator? Name one, such as H100 (list them with: scaling accelerators).")
    share = 0.4 if share is None else share
    inputs = dict(inputs or {})
    if unique_tokens is not None:
        unique = parse_quantity(unique_tokens, "tokens", name="unique_tokens")
        if "n_unique_tokens" in source.law.inputs:
            inputs["n_unique_tokens"] = unique
        else:
            limit = constraints.get("max_tokens")
            constraints["max_tokens"] = (
                unique if limit is None else min(unique, parse_quantity(limit, "tokens", name="max_tokens"))
            )
    limits = _constraints(constraints)
    if inference_tokens is not None:
        compute = Lifetime(compute, parse_quantity(inference_tokens, "tokens", name="inference_tokens"))
    if isinstance(source, Allocation):
        given = [n for n, v in (("flops", flops), ("loss", loss), ("usd", money), ("days", n_days)) if v is not None]
        if given or limits.given:
            raise PlanError(
                f"an allocation already has its budgets and constraints; leave {', '.join(given) or 'constraints'} away."
            )
        allocation = source
    else:
        fitted = _with_draws(source)
        budget = _budget(fitted, flops, loss, chip, n_chips, n_days, share, money, price, compute, limits, inputs)
        allocation = allocate(fitted, budget, compute=compute, constraints=limits, inputs=inputs)
    return _make(allocation, float(band), chip, n_chips, n_days, share, price)


# --- the request -----------------------------------------------------------------------------------------------------


def _count(count: int | str | None) -> int | None:
    if count is None:
        return None
    value = parse_quantity(count, "count", name="count")
    if value != round(value):
        raise PlanError(f"count: {count} is not a whole number of accelerators.")
    if value > MOST_ACCELERATORS:
        raise PlanError(
            f"count: {value:.3g} accelerators are more than exist (limit {MOST_ACCELERATORS:,}); write how many you have."
        )
    return int(value)


def _price(chip: Accelerator | None, usd_per_hour: float | str | None) -> float | None:
    if usd_per_hour is not None:
        return parse_quantity(usd_per_hour, "usd", name="usd_per_hour")
    return None if chip is None else chip.usd_per_hour


def _constraints(given: Mapping[str, float | str | None]) -> Constraints:
    kinds = {f.name: "tokens" if f.name.endswith("_tokens") else "params" for f in fields(Constraints)}
    kinds |= {name: "count" for name in kinds if "tokens_per_param" in name}
    if unknown := sorted(set(given) - set(kinds)):
        raise PlanError(f"unknown constraint {', '.join(unknown)}; there are: {', '.join(kinds)}.")
    return Constraints(**{k: parse_quantity(v, kinds[k], name=k) for k, v in given.items() if v is not None})


def _with_draws(source: Fitted) -> Fitted:
    """A single fit gets parametric draws, so that its plan has bands; what has draws or cannot have them stays."""
    from scaling.fitting.result import FitResult
    from scaling.uncertainty import draws

    if isinstance(source, FitResult):
        if source.of is None and source.shape:
            raise PlanError(f"this fit has {source.shape[0]} groups: plan with one of them, result.group(i).")
        if not bool(np.isfinite(source.point.theta).all()):
            raise PlanError(f"this fit has no usable estimate to plan with: {source.point.message}")
        if source.of is None:
            return draws(source, DRAWS, 0)
    return source


def _budget(
    fitted: Fitted, flops: Any, loss: float | str | None, chip: Accelerator | None, count: int | None, days: float | None,
    mfu: float, usd: float | None, price: float | None, compute: Accounting, limits: Constraints,
    inputs: Mapping[str, float] | None,
) -> Any:  # fmt: skip
    ways = {
        "flops": flops is not None, "loss": loss is not None, "usd": usd is not None, "days": days is not None and usd is None
    }  # fmt: skip
    if sum(ways.values()) != 1:
        named = [k for k, v in ways.items() if v]
        raise PlanError(
            ("more than one budget was given: " + ", ".join(named) if named else "no budget was given")
            + "; give one of flops, accelerator + count + days, usd, or loss."
        )
    if flops is not None:
        return flops
    if loss is not None:
        wanted = parse_quantity(loss, "loss", name="loss")
        return float(
            flops_for_loss(
                getattr(fitted, "of", None) or fitted, wanted, compute=compute, constraints=limits, inputs=inputs
            )
        )
    if chip is None:
        raise PlanError("which accelerator? Name one, such as H100 (list them with: scaling accelerators).")
    if usd is not None:
        if price is None:
            raise PlanError(
                f"what does an hour of {chip.key} cost? Give usd_per_hour: there is no listed assumption for it."
            )
        hours = usd / price
        if count is not None and days is not None and hours > count * days * 24 * (1 + 1e-9):
            hours = count * days * 24.0  # the deadline, not the money, is the limit
    else:
        if count is None:
            raise PlanError(f"how many {chip.key}? Give count with days.")
        assert days is not None
        hours = count * days * 24.0
    return hours * HOUR * chip.bf16 * mfu


# --- the answer ------------------------------------------------------------------------------------------------------


def _make(
    allocation: Allocation, level: float, chip: Accelerator | None, count: int | None, days: float | None, mfu: float,
    price: float | None,
) -> Plan:  # fmt: skip
    point = allocation.point
    if point.n_params.ndim != 1:
        raise PlanError("a plan is for one law: take one group or one draw first.")
    bands = {name: allocation.band(name, level) for name in ("n_params", "n_tokens", "tokens_per_param")}
    bands["loss"] = _loss_band(allocation, level)
    domain = dict(getattr(point.fitted, "domain", {}) or {})
    steps = []
    for i, flops in enumerate(point.flops):
        values = {name: Band(float(getattr(point, name)[i]), *(_finite(b[i]) for b in bands[name])) for name in bands}
        largest = domain.get("flops", (math.nan, math.nan))[1]
        accounting = allocation.compute
        base = accounting.base if isinstance(accounting, Lifetime) else accounting  # serving is paid for later
        training = base.flops(point.n_params[i], point.n_tokens[i])
        steps.append(
            Step(
                flops=float(flops),
                **values,
                binding=tuple(filter(None, [str(point.binding[i])])),
                extrapolation=float(flops / largest) if largest and math.isfinite(largest) else None,
                hardware=_cost(float(training), chip, count, days, mfu, price),
                warnings=tuple(_warnings(allocation, i, values, domain)),
            )
        )
    return Plan(
        law_title=_title(point.fitted), loss_unit=_loss_unit(point.fitted), level=level,
        band_source=_band_source(allocation), accounting=allocation.compute.equation, steps=tuple(steps),
        caveats=tuple(_caveats(allocation, chip, price)), allocation=allocation,
    )  # fmt: skip


def _loss_band(allocation: Allocation, level: float) -> tuple[Array, Array]:
    """Loss of the recommended run over the draws, (m,) each."""
    point = allocation.point
    if allocation.of is None:
        nothing = np.full(point.flops.shape, np.nan)
        return nothing, nothing
    losses = loss_at(allocation, point.n_params, point.n_tokens)
    losses = losses[np.isfinite(losses).all(axis=-1)]
    if not len(losses):
        nothing = np.full(point.flops.shape, np.nan)
        return nothing, nothing
    low, high = np.quantile(losses, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return low, high


def _cost(
    flops: float, chip: Accelerator | None, count: int | None, days: float | None, mfu: float, price: float | None
) -> Hardware | None:
    if chip is None:
        return None
    hours = flops / (chip.bf16 * mfu) / HOUR
    if count is None:  # the fewest that are done in time, or one
        count = 1 if days is None else max(1, math.ceil(hours / (days * 24) * (1 - 1e-12)))
    return Hardware(
        accelerator=chip, count=count, mfu=mfu, usd_per_hour=price, gpu_hours=hours, days=hours / count / 24,
        usd=None if price is None else hours * price,
    )  # fmt: skip


def _warnings(
    allocation: Allocation, i: int, values: dict[str, Band], domain: dict[str, tuple[float, float]]
) -> list[Warned]:
    out = []
    point = allocation.point
    if not point.inside[i]:
        out.append(Warned("no_optimum", f"at {point.flops[i]:.3g} FLOPs the law has no best size inside the searched range: the answer is its end."))  # fmt: skip
    for column, value, words in (
        ("flops", float(point.flops[i]), "compute"), ("n_params", values["n_params"].estimate, "model size"),
        ("n_tokens", values["n_tokens"].estimate, "number of tokens"),
    ):  # fmt: skip
        low, high = domain.get(column, (math.nan, math.nan))
        if value > FAR * high:
            out.append(Warned("extrapolation", f"the {words} {value:.3g} is {value / high:.3g} times that of the largest run the law was fitted to."))  # fmt: skip
        elif value < low / FAR:
            out.append(Warned("extrapolation", f"the {words} {value:.3g} is {low / value:.3g} times below that of the smallest run the law was fitted to."))  # fmt: skip
    if allocation.of is not None:
        lost = 1 - np.isfinite(allocation.n_params[:, i]).mean()
        if lost > 0.01:
            out.append(Warned("lost_draws", f"{lost:.1%} of the draws give no allocation and are left out of the bands."))  # fmt: skip
        band = values["n_params"]
        if band.low and band.high and band.high > 10 * band.low:
            out.append(Warned("wide_band", f"the runs hardly determine the best model size: its band spans a factor of {band.high / band.low:.2g}."))  # fmt: skip
    return out


def _caveats(allocation: Allocation, chip: Accelerator | None, price: float | None) -> list[str]:
    fitted = allocation.point.fitted
    out = []
    if n_counts := getattr(fitted, "n_counts", ""):
        out.append(f"under this law, model size counts: {n_counts}")
    out += [f"the fit warns: {w.message}" for w in getattr(fitted, "warnings", ()) or () if hasattr(w, "message")]
    if chip is not None and price is not None and price == chip.usd_per_hour:
        out.append(f"the price of {chip.key} is an assumption; give your own with --usd-per-hour")
    return out


def _title(fitted: Fitted) -> str:
    if title := getattr(fitted, "title", ""):
        return str(title)
    n = getattr(fitted, "n_runs", None)
    return f"{fitted.law.title}, {fitted.law.equation}" + ("" if n is None else f", fitted to {int(n)} runs")


def _loss_unit(fitted: Fitted) -> str:
    return str(getattr(fitted, "loss_unit", "") or "nats/token")


def _band_source(allocation: Allocation) -> str:
    if allocation.of is None:
        return "none, because no uncertainty is known for these coefficients"
    n = allocation.n_params.shape[0]
    seeded = getattr(allocation.fitted, "seed", None)
    kind = "bootstrap resamples" if seeded is not None else "draws from the fit's uncertainty"
    return f"{n:,} {kind}"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _around(band: Band, form: str) -> str:
    return "" if band.low is None or band.high is None else f" ({band.low:{form}} to {band.high:{form}})"


def _range(band: Band, kind: str) -> str:
    if band.low is None or band.high is None:
        return ""
    return f"({format_quantity(band.low, kind)} to {format_quantity(band.high, kind)})"


def _binding_words(step: Step, constraints: Constraints) -> str:
    if not step.binding:
        return "only the budget."
    return (
        "the budget, and "
        + ", ".join(f"{b} = {constraints.given.get(b, float('nan')):.4g}" for b in step.binding)
        + "."
    )
