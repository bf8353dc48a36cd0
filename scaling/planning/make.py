"""From a request to a plan: the best run for each budget, what binds, what it costs, and what the reader must know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from scaling.allocation import Allocation, Fitted, allocate, flops_for_loss, loss_at, shadow_prices
from scaling.compute import DENSE, INFERENCE, Accounting, Lifetime
from scaling.errors import PlanError, ScalingError
from scaling.hardware import Accelerator
from scaling.laws.law import Array
from scaling.laws.published import PublishedLaw
from scaling.planning.adjusted import adjusted, epochs_worth
from scaling.planning.request import (
    FULL_BITS,
    Machine,
    Request,
    constraint_values,
    count_of,
    machine_of,
    meaning,
    understand,
)
from scaling.planning.result import QUANTITIES, UNDETERMINED, Band, Hardware, Plan, Price, Repeats, Step, Warned
from scaling.planning.score import loss_for_score, score_bands
from scaling.quantities import parse_quantity

FAR = 10.0  # times beyond the runs, above which a plan is warned about
DRAWS = 1000  # parametric draws when a fit comes without resamples
LOPSIDED = (0.1, 1e5)  # tokens per parameter between which models have been trained; published runs lie at 1 to 10,000
MANY_EPOCHS = 4.0  # up to here repeated text is worth nearly as much as fresh text (Muennighoff et al. 2023)
UNITS = {"flops": "FLOP", "usd": "dollar", "kwh": "kWh", "days": "day", "max_epochs": "epoch"}


def plan(
    source: Fitted | Allocation,
    *,
    flops: Any = None,
    loss: float | str | None = None,
    score: float | str | None = None,
    link: Any = None,
    accelerator: str | Accelerator | None = None,
    count: int | str | None = None,
    days: float | str | None = None,
    deadline: Any = None,
    start: Any = None,
    mfu: float | str | None = None,
    usd: float | str | None = None,
    usd_per_hour: float | str | None = None,
    pricing: str | None = None,
    overhead: float | str | None = None,
    kwh: float | str | None = None,
    pue: float | str | None = None,
    power_share: float | str | None = None,
    band: float = 0.8,
    compute: Accounting = DENSE,
    unique_tokens: float | str | None = None,
    repeats: bool = False,
    max_epochs: float | str | None = None,
    inference_tokens: float | str | None = None,
    serving_accelerator: str | Accelerator | None = None,
    serving_mfu: float | str | None = None,
    serving_usd_per_hour: float | str | None = None,
    serving_memory: float | str | None = None,
    serving_speed: float | str | None = None,
    serving_count: int | str | None = None,
    active_share: float | str | None = None,
    law_counts: str = "total",
    train_bits: float | str | None = None,
    serve_bits: float | str | None = None,
    inputs: Mapping[str, float] | None = None,
    **constraints: float | str | None,
) -> Plan:
    """What to train with a budget, under every constraint at once.

    Parameters
    ----------
    source : a fit, a bootstrap, a published law, or an Allocation (its budgets are then the budgets).
    flops, usd, kwh, accelerator + count + days : budgets. The first given is spent, the others are limits beside it; all
        but flops need accelerator and mfu (default 40 %), and with flops these add time and money to the answer.
    loss, or score with a link : what is wanted; the least compute that reaches it within the budgets is found.
    link : from loss to score: a law of the loss (a fit, better a bootstrap), or an Emergence on a loss axis.
    deadline, start : dates (2027-03-31) instead of, or beside, days; start is today unless given.
    mfu : share of the accelerator's dense peak that training reaches, in (0, 1].
    usd_per_hour : price of one accelerator for an hour; default the assumption listed with the accelerator, or by `pricing`
        ("reserved", "on-demand") the end of its range. overhead : added to it (15% for storage, network, failed runs).
    kwh : energy ("500 MWh" or kWh), at `power_share` of the board's power (default 80 %) and `pue` (1.15).
    band : level of the bands.
    unique_tokens : text at hand. A law of repeated data weighs repeats, and so does any law with `repeats` (published
        constants) or `max_epochs`; else it is a limit on tokens.
    inference_tokens : tokens served over the model's life; the budget then pays for training and serving (2 FLOPs for each
        active parameter and token), at serving_mfu and serving_usd_per_hour on serving_accelerator where these differ.
    serving_memory ("80GB"), serving_count, serving_speed (tokens a second for one user) : bounds on the size from serving.
    active_share : active over total parameters of a mixture of experts; law_counts : which of them the law's N is.
    train_bits, serve_bits : precision; a law with these inputs takes them, for another the published cost is added.
    inputs : values of the law's other inputs.
    constraints : n_params, n_tokens, tokens_per_param (fixed); max_params, min_params, max_tokens, min_tokens,
        min_tokens_per_param, max_tokens_per_param, max_total_params, max_active_params (bounds).

    Quantities may be written as people write them ("70B", "30d", "$2.5M"). Returns a Plan; str(plan) is the page to read.
    Raises PlanError or QuantityError, saying the way out, when the request cannot be met.
    """
    if not (isinstance(band, int | float) and 0 < band < 1):
        raise PlanError(f"band must lie between 0 and 1 (0.8 is 80 %), not {band}.")
    if isinstance(source, Allocation):
        if any(v is not None for v in (flops, loss, score, usd, kwh, days, deadline)) or any(v is not None for v in constraints.values()):  # fmt: skip
            raise PlanError(
                "an allocation already has its budgets and constraints; leave budgets and constraints away."
            )
        machine = machine_of(accelerator, mfu, usd_per_hour, pricing=pricing, overhead=overhead, pue=pue, power_share=power_share)  # fmt: skip
        if machine is None and count is not None:
            raise PlanError("which accelerator? Name one, such as H100 (list them with: scaling accelerators).")
        return _make(source, float(band), None, machine, count_of(count), link, ())
    if score is not None:
        if link is None:
            raise PlanError("a score is reached through a link from loss to score: give link (a law of the loss, fitted or published).")  # fmt: skip
        if loss is not None:
            raise PlanError("more than one target was given: loss, score; give one of them.")
        if flops is not None:
            raise PlanError("more than one budget was given: flops, score; leave score away to see what score the flops reach (with link).")  # fmt: skip
        loss = loss_for_score(link, parse_quantity(score, "number", name="score"))
    constraint_values(constraints)  # an unknown name is refused before anything else is looked at
    request = understand(
        flops=flops, loss=loss, accelerator=accelerator, count=count, days=days, deadline=deadline, start=start, mfu=mfu,
        usd=usd, usd_per_hour=usd_per_hour, pricing=pricing, overhead=overhead, kwh=kwh, pue=pue, power_share=power_share,
        compute=compute, unique_tokens=unique_tokens, repeats=repeats, max_epochs=max_epochs,
        inference_tokens=inference_tokens, serving_accelerator=serving_accelerator, serving_mfu=serving_mfu,
        serving_usd_per_hour=serving_usd_per_hour, serving_memory=serving_memory, serving_speed=serving_speed,
        serving_count=serving_count, active_share=active_share, law_counts=law_counts, train_bits=train_bits,
        serve_bits=serve_bits, inputs=inputs, constraints=constraints, law_inputs=source.law.inputs,
    )  # fmt: skip
    if score is not None:
        request = replace(request, score=parse_quantity(score, "number", name="score"))
    weighed = "n_unique_tokens" in request.inputs
    fitted = adjusted(
        _with_draws(source), unique_tokens=request.unique_tokens if weighed else None, train_bits=request.train_bits,
        serve_bits=request.serve_bits,
    )  # fmt: skip
    allocation = _solve(fitted, request)
    return _make(allocation, float(band), request, request.machine, request.count, link, getattr(fitted, "caveats", ()))


# --- the request -----------------------------------------------------------------------------------------------------


def _with_draws(source: Fitted) -> Fitted:
    """A single fit gets parametric draws, so that its plan has bands; what has draws or cannot have them stays."""
    if isinstance(source, PublishedLaw):
        return source  # without loading the fitting layer, which takes longer than the plan
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


def _solve(fitted: Fitted, request: Request) -> Allocation:
    try:
        if request.loss is not None:
            point = getattr(fitted, "of", None) or fitted
            aim = request.aimed or request.compute
            needed = flops_for_loss(
                point, request.loss, compute=aim, constraints=request.constraints, inputs=request.inputs,
                limits=request.limits,
            )  # fmt: skip
            return allocate(
                fitted, float(needed), compute=aim, constraints=request.constraints, inputs=request.inputs,
                limits=request.limits,
            )  # fmt: skip
        if request.flops:
            limits = tuple(b.limit for b in request.budgets)
            return allocate(
                fitted, list(request.flops), compute=request.compute, constraints=request.constraints, inputs=request.inputs,
                limits=limits,
            )  # fmt: skip
        main = request.budgets[0].limit
        return allocate(
            fitted, float(main.flops), compute=main.compute, constraints=request.constraints, inputs=request.inputs,
            limits=request.limits,
        )  # fmt: skip
    except ScalingError as error:
        said = meaning(request.constraints.given, request.aliases)
        if not said or not isinstance(error, PlanError):
            raise
        raise PlanError(f"{error} {said}") from None


# --- the answer ------------------------------------------------------------------------------------------------------


def _make(
    allocation: Allocation, level: float, request: Request | None, machine: Machine | None, count: int | None, link: Any,
    more_caveats: tuple[str, ...],
) -> Plan:  # fmt: skip
    point = allocation.point
    if point.n_params.ndim != 1:
        raise PlanError("a plan is for one law: take one group or one draw first.")
    bands = {name: allocation.band(name, level) for name in ("n_params", "n_tokens", "tokens_per_param")}
    losses = None if allocation.of is None else _usable(loss_at(allocation, point.n_params, point.n_tokens))
    bands["loss"] = _quantiles(losses, level, len(point.flops))
    scores = None
    if link is not None:
        path = point.loss[None] if losses is None else losses
        scores = score_bands(link, point.flops, point.n_params, point.n_tokens, point.loss, path, level)
    prices = shadow_prices(point)
    domain = dict(getattr(point.fitted, "domain", {}) or {})
    steps = []
    for i in range(len(point.flops)):
        values = {
            name: Band(float(getattr(point, name)[i]), *(_finite(b[i]) for b in bands[name])) for name in QUANTITIES
        }
        training, total = _compute(allocation, request, i)
        reach = _flops_band(allocation, request, level, total)
        largest = domain.get("flops", (math.nan, math.nan))[1]
        names = [_alias(name, request) for name in str(point.binding[i]).split(", ") if name]
        steps.append(
            Step(
                flops=total,
                **values,
                binding=tuple(names),
                extrapolation=training / largest if largest and math.isfinite(largest) else None,
                hardware=_cost(training, reach, machine, count, request, float(point.n_params[i])),
                warnings=tuple(_warnings(allocation, i, values, domain, request, training)),
                flops_band=reach,
                budget=_budget_name(str(np.broadcast_to(point.budget, point.n_params.shape)[i]), request),
                prices=tuple(_prices(prices, point, request, i)),
                score=None
                if scores is None
                else Band(float(scores[0][i]), _finite(scores[1][i]), _finite(scores[2][i])),
                repeats=_repeats(point, i),
                n_active=_share(request, "active", values["n_params"]),
                n_total=_share(request, "total", values["n_params"]),
            )
        )
    caveats = [*_caveats(allocation, machine), *more_caveats, *(request.notes if request else ())]
    if scores is not None:
        caveats += scores[3]
    return Plan(
        law_title=_title(point.fitted), loss_unit=_loss_unit(point.fitted), level=level,
        band_source=_band_source(allocation), accounting=(request.compute if request else allocation.compute).equation,
        steps=tuple(steps), caveats=tuple(caveats), allocation=allocation, request=request,
    )  # fmt: skip


def _usable(losses: Array) -> Array | None:
    kept = losses[np.isfinite(losses).all(axis=-1)]
    return kept if len(kept) else None


def _quantiles(losses: Array | None, level: float, m: int) -> tuple[Array, Array]:
    """Loss of the recommended run over the draws, (m,) each."""
    if losses is None:
        return np.full(m, np.nan), np.full(m, np.nan)
    low, high = np.quantile(losses, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return low, high


def _compute(allocation: Allocation, request: Request | None, i: int) -> tuple[float, float]:
    """FLOPs of training, and with serving where the plan pays for it."""
    accounting = request.compute if request else allocation.compute
    n, d = allocation.point.n_params[i], allocation.point.n_tokens[i]
    base = accounting.base if isinstance(accounting, Lifetime) else accounting
    return float(base.flops(n, d)), float(accounting.flops(n, d))


def _flops_band(allocation: Allocation, request: Request | None, level: float, estimate: float) -> Band | None:
    """The compute that reaches a wanted loss, over the draws. Draws that never reach it count as infinite."""
    if request is None or request.loss is None:
        return None
    if allocation.of is None:
        return Band(estimate)
    aim = request.aimed or request.compute
    needed = flops_for_loss(
        allocation.fitted, request.loss, compute=aim, constraints=request.constraints, inputs=request.inputs
    )
    if request.aimed is not None:  # from what is spent least to FLOPs
        needed = needed * (estimate / float(allocation.point.spent[0]))
    known = np.where(np.isfinite(needed), needed, np.inf)[np.isfinite(np.asarray(allocation.fitted.theta)).all(axis=-1)]
    low, high = np.quantile(known, [0.5 - level / 2, 0.5 + level / 2], method="inverted_cdf")
    return Band(estimate, _finite(low), _finite(high))


def _cost(
    training: float, reach: Band | None, machine: Machine | None, count: int | None, request: Request | None, n_params: float
) -> Hardware | None:  # fmt: skip
    if machine is None:
        return None
    hours = training / machine.flops_per_hour
    days = request.days if request else None
    if count is None:  # the fewest that are done in time, or one
        count = 1 if days is None else max(1, math.ceil(hours / (days * 24) * (1 - 1e-12)))
    usd = None if machine.usd_per_flop is None else training * machine.usd_per_flop
    served: dict[str, float | None] = {}
    if request is not None and request.inference_tokens is not None and request.serving is not None:
        work = float(INFERENCE.flops(n_params * request.active_share, request.inference_tokens))
        at = request.serving
        served = {
            "serving_hours": work / at.flops_per_hour,
            "serving_usd": None if at.usd_per_flop is None else work * at.usd_per_flop,
            "serving_kwh": None if at.kwh_per_flop is None else work * at.kwh_per_flop,
        }
    spread = None if reach is None or reach.low is None else reach.times(1 / reach.estimate)
    return Hardware(
        accelerator=machine.accelerator, count=count, mfu=machine.mfu, usd_per_hour=machine.usd_per_hour, gpu_hours=hours,
        days=hours / count / 24, usd=usd, kwh=None if machine.kwh_per_flop is None else training * machine.kwh_per_flop,
        overhead=machine.overhead, **served,
        days_band=None if spread is None else spread.times(hours / count / 24),
        usd_band=None if spread is None or usd is None else spread.times(usd),
    )  # fmt: skip


def _alias(name: str, request: Request | None) -> str:
    return request.aliases.get(name, name) if request else name


def _budget_name(name: str, request: Request | None) -> str:
    """The budget as the user named it: "flops" is whatever was to be spent."""
    if ", " in name:
        return ", ".join(_budget_name(part, request) for part in name.split(", "))
    if name != "flops" or request is None or request.flops:
        return name
    if request.loss is not None:
        return "loss" if request.score is None else "score"
    return request.budgets[0].name


def _prices(prices: Mapping[str, Array], point: Allocation, request: Request | None, i: int) -> list[Price]:
    out = []
    amounts = {b.name: b.amount for b in request.budgets} if request else {}
    for name, values in prices.items():
        if name == "usd" and request is not None and request.aimed is not None and float(values[i]) == 0:
            continue  # a limit with room left; the money that the wanted loss takes has the price
        shown = _budget_name(_alias(name, request), request)
        if name == "flops" and request is not None and request.loss is not None:
            shown, limit = "flops", float(point.flops[i])
            if request.aimed is not None and request.machine is not None and request.machine.usd_per_flop is not None:
                shown, limit = "usd", limit * request.machine.usd_per_flop  # training and serving, at their prices
        elif name == "flops" and shown == "flops":
            limit = float(point.flops[i])
        elif name == "inference_tokens":
            limit = float((request.inference_tokens if request else None) or math.nan)
        elif request is not None and shown in request.shown:
            limit = request.shown[shown]
        elif shown in amounts:
            limit = amounts[shown]
        elif name == "n_unique_tokens":
            shown, limit = "unique_tokens", float(point.inputs[name])
        else:
            limit = float(np.broadcast_to(point.constraints.given[name], point.n_params.shape)[i])
        by_log = float(values[i])
        unit = UNITS.get(shown, "parameter" if "param" in name and "tokens_per" not in name else "token")
        unit = "token per parameter" if "tokens_per" in name else unit
        out.append(Price(shown, limit, unit, by_log / limit, by_log * 0.1))
    return sorted(out, key=lambda p: -abs(p.loss_per_tenth))


def _repeats(point: Allocation, i: int) -> Repeats | None:
    unique = point.inputs.get("n_unique_tokens")
    if unique is None:
        return None
    names = point.law.coef_names
    Rd = float(np.asarray(point.fitted.theta)[names.index("Rd")]) if "Rd" in names else None
    worth = epochs_worth(float(point.n_tokens[i]), float(unique), Rd)
    return Repeats(float(unique), **worth)


def _share(request: Request | None, which: str, n_params: Band) -> float | None:
    if request is None or request.active_share == request.total_share == 1.0:
        return None
    return n_params.estimate * (request.active_share if which == "active" else request.total_share)


def _warnings(
    allocation: Allocation, i: int, values: dict[str, Band], domain: dict[str, tuple[float, float]], request: Request | None,
    training: float,
) -> list[Warned]:  # fmt: skip
    out = []
    point = allocation.point
    if str(getattr(point.fitted, "status", "")) in ("undetermined", "max_iterations"):
        out.append(Warned(UNDETERMINED, f"the runs do not determine the law: {point.fitted.message}"))  # type: ignore[attr-defined]
    if not point.inside[i]:
        out.append(Warned("no_optimum", f"at {point.flops[i]:.3g} FLOPs the law has no best size inside the searched range: the answer is its end."))  # fmt: skip
    for column, value, what in (
        ("flops", training, "compute"), ("n_params", values["n_params"].estimate, "model size"),
        ("n_tokens", values["n_tokens"].estimate, "number of tokens"),
    ):  # fmt: skip
        low, high = domain.get(column, (math.nan, math.nan))
        if value > FAR * high:
            out.append(Warned("extrapolation", f"the {what} {value:.3g} is {value / high:.3g} times that of the largest run the law was fitted to."))  # fmt: skip
        elif value < low / FAR:
            out.append(Warned("extrapolation", f"the {what} {value:.3g} is {low / value:.3g} times below that of the smallest run the law was fitted to."))  # fmt: skip
    spent = float(point.spent[i] / point.flops[i])
    if spent < 0.999 and not str(np.broadcast_to(point.budget, point.n_params.shape)[i]):
        out.append(Warned("unspent", f"the constraints stop the run at {spent:.1%} of the budget: the rest buys nothing under them."))  # fmt: skip
    ratio = values["tokens_per_param"].estimate
    if not LOPSIDED[0] <= ratio <= LOPSIDED[1]:
        out.append(Warned("lopsided", f"{ratio:.3g} tokens per parameter is a run that nobody has trained: no law was fitted near it. Relax {' or '.join(str(point.binding[i]).split(', ')) or 'the constraints'}."))  # fmt: skip
    repeats = _repeats(point, i)
    if repeats is not None and repeats.epochs > MANY_EPOCHS:
        out.append(Warned("many_epochs", f"the text is read {repeats.epochs:.3g} times: its tokens are worth {repeats.worth:.0%} of fresh ones, the next one {repeats.next_token:.0%}."))  # fmt: skip
    if allocation.of is not None:
        lost = 1 - np.isfinite(allocation.n_params[:, i]).mean()
        if lost > 0.01:
            out.append(Warned("lost_draws", f"{lost:.1%} of the draws give no allocation and are left out of the bands."))  # fmt: skip
        band = values["n_params"]
        if band.low and band.high and band.high > 10 * band.low:
            out.append(Warned("wide_band", f"the runs hardly determine the best model size: its band spans a factor of {band.high / band.low:.2g}."))  # fmt: skip
    return out


def _caveats(allocation: Allocation, machine: Machine | None) -> list[str]:
    fitted = allocation.point.fitted
    out = []
    if n_counts := getattr(fitted, "n_counts", ""):
        out.append(f"under this law, model size counts: {n_counts}")
    out += [f"the fit warns: {w.message}" for w in getattr(fitted, "warnings", ()) or () if hasattr(w, "message")]
    if machine is not None and machine.usd_per_hour is not None:
        chip = machine.accelerator
        if machine.usd_per_hour in (chip.usd_per_hour, *(chip.usd_range or ())):
            out.append(f"the price of {chip.key} is an assumption; give your own with --usd-per-hour")
        if machine.bits < FULL_BITS and machine.peak != chip.bf16:
            out.append(
                "time and cost are those of 8-bit arithmetic at the same share of its peak, which is seldom reached"
            )
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
