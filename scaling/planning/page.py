"""The page of a plan: the answer, what binds, what it costs, and last what to mind."""

from __future__ import annotations

from collections.abc import Sequence

from scaling.planning.result import Band, Hardware, Plan, Price, Step
from scaling.quantities import format_quantity

#: the steps in which people buy more of a thing: (how much of its unit, what to call it)
PIECES = {
    "flops": (1e21, "1e21 FLOPs"), "usd": (1e5, "$100k"), "kwh": (1e5, "100 MWh"), "days": (1.0, "one day"),
    "unique_tokens": (1e9, "1B unique tokens"), "max_tokens": (1e9, "1B tokens"), "max_epochs": (1.0, "one epoch"),
    "n_tokens": (1e9, "1B tokens"), "min_tokens": (1e9, "1B tokens"), "inference_tokens": (1e12, "1T tokens served"),
}  # fmt: skip
PARAMETERS = (1e9, "1B parameters")
RATIO = (1.0, "one token per parameter")


def page(plan: Plan, step: Step, more: Sequence[str] = ()) -> str:
    """One budget, in the order in which it is read; `more` goes between cost and caveats."""
    n, d = format_quantity(step.n_params.estimate), format_quantity(step.n_tokens.estimate)
    score = "" if step.score is None else f", score {step.score.estimate:.3g}{_around(step.score, '.3g')}"
    lines = [
        f"{'Train' if step.determined else 'Not determined by the runs. Taken at its word, the fit says: train'} {n} parameters on {d} tokens ({step.tokens_per_param.estimate:.3g} tokens per parameter): "
        f"expected loss {step.loss.estimate:.4g}{_around(step.loss, '.4g')} {plan.loss_unit}{score}.",
        "",
        f"  compute           {step.flops:.3g} FLOPs {_flops_range(step)}({plan.accounting})",
        f"  model size        {n:<9} {_range(step.n_params, 'params')}",
        f"  training tokens   {d:<9} {_range(step.n_tokens, 'tokens')}",
        f"  tokens per param  {step.tokens_per_param.estimate:<9.3g} {_around(step.tokens_per_param, '.3g').strip()}",
    ]
    if step.n_total is not None and step.n_active is not None:
        lines.append(
            f"  experts           {format_quantity(step.n_total)} parameters in all, {format_quantity(step.n_active)} active"
        )
    if step.repeats is not None:
        r = step.repeats
        lines.append(
            f"  epochs            {r.epochs:<9.3g} over {format_quantity(r.unique_tokens)} unique tokens; worth {r.worth:.0%} of fresh "
            f"text, the next token {r.next_token:.0%}"
        )
    lines = [line.rstrip() for line in lines]
    lines += ["", "What binds: " + _binding(plan, step)]
    lines += _prices(step)
    if step.hardware:
        lines += ["", *_cost(plan, step.hardware)]
    lines += more
    lines += ["", f"Law: {plan.law_title}. Bands of {plan.level:.0%}: {plan.band_source}."]
    lines += [f"warning ({w.code}): {w.message}" for w in step.warnings]
    lines += [f"note: {c}" for c in plan.caveats]
    return "\n".join(lines)


def overview(plan: Plan) -> str:
    """Several budgets, a line each."""
    head = f"{'FLOPs':>9}  {'params':>8} {'':<18} {'tokens':>8} {'':<18} {'tok/param':>9}  {'loss':>7} {'':<18}"
    timed = plan.steps[0].hardware is not None
    lines = [head + ("  GPU-hours    days" if timed else "") + "  beyond the runs"]
    for s in plan.steps:
        line = (
            f"{s.flops:>9.3g}  {format_quantity(s.n_params.estimate):>8} {_range(s.n_params, 'params'):<18} "
            f"{format_quantity(s.n_tokens.estimate):>8} {_range(s.n_tokens, 'tokens'):<18} {s.tokens_per_param.estimate:>9.3g}  "
            f"{s.loss.estimate:>7.4g} {_around(s.loss, '.4g').strip():<18}"
        )
        if s.hardware:
            line += f"  {format_quantity(s.hardware.gpu_hours):>9} {s.hardware.days:>7.3g}"
        lines.append(line + (f"  {s.extrapolation:.3g}x" if s.extrapolation else ""))
    lines += ["", f"Law: {plan.law_title}; {plan.accounting}. Bands of {plan.level:.0%}: {plan.band_source}."]
    said = dict.fromkeys(f"warning ({w.code}): {w.message}" for s in plan.steps for w in s.warnings)
    return "\n".join([*lines, *said, *(f"note: {c}" for c in plan.caveats)])


def _binding(plan: Plan, step: Step) -> str:
    limits = {p.name: p.limit for p in step.prices}
    held = ", ".join(
        f"{name.replace('_', ' ') if name not in plan.allocation.constraints.given else name}"
        + (f" = {limits[name]:.4g}" if name in limits else "")
        for name in step.binding
    )
    budget = {
        "flops": "the budget",
        "usd": "the money",
        "kwh": "the energy",
        "days": "the time",
        "loss": "the wanted loss",
        "score": "the wanted score",
    }
    if not step.budget:
        return f"{held}; the budget is not spent."
    first = " and ".join(budget.get(name, name) for name in step.budget.split(", "))
    return f"{first}, and {held}." if held else f"only {first}."


def _prices(step: Step) -> list[str]:
    shown = [p for p in step.prices if abs(p.loss_per_tenth) >= 5e-6]
    if not shown:
        return []
    rows = [("", "10 % more", "each")]
    for p in shown:
        size, words = _piece(p)
        rows.append((p.name, f"{p.loss_per_tenth:+.4f}", f"{p.loss_per_unit * size:+.2g} for {words}"))
    wide = [max(len(r[i]) for r in rows) for i in range(2)]
    return [
        "What more of it does to the loss:",
        *(f"  {a.replace('_', ' '):<{wide[0]}}  {b:>{wide[1]}}  {c}" for a, b, c in rows),
    ]


def _piece(price: Price) -> tuple[float, str]:
    if price.unit == "token per parameter":
        return RATIO
    size, words = PIECES.get(price.name, PARAMETERS if price.unit == "parameter" else (1e9, f"1B {price.unit}s"))
    if price.name == "flops" and not 0.1 * size <= price.limit <= 1e5 * size:  # a piece that suits the budget
        size = 10.0 ** len(f"{price.limit / 10:.0f}"[1:])
        words = f"{size:.0e} FLOPs".replace("e+", "e")
    return size, words


def _cost(plan: Plan, h: Hardware) -> list[str]:
    extra = f" and {h.overhead:.0%} overhead" if h.overhead else ""
    money = "" if h.usd is None else f", {format_quantity(h.usd, 'usd')} at ${h.usd_per_hour:.2f} an hour{extra}"
    energy = "" if h.kwh is None else f", {_energy(h.kwh)}"
    asked = plan.request is None or plan.request.count is not None or plan.request.days is not None
    time = f"{h.days:.3g} days on {h.count:,}" if asked else _times(h.gpu_hours)
    lines = [
        f"Cost: {format_quantity(h.gpu_hours)} {h.accelerator.key} hours: {time} at {h.mfu:.0%} of peak{money}{energy}."
    ]
    if h.days_band is not None and h.days_band.low is not None:
        hours = h.days_band.times(h.count * 24)
        spans = [f"{_span(h.days_band, '.3g')} days" if asked else f"{_span(hours, '.3g')} hours"]
        if h.usd_band is not None:
            spans.append(_range(h.usd_band, "usd").strip("()"))
        lines.append(f"      With the uncertainty of the law: {', '.join(spans)}.")
    request = plan.request
    if h.serving_hours is not None and request is not None and request.serving is not None:
        money = "" if h.serving_usd is None else f", {format_quantity(h.serving_usd, 'usd')}"
        energy = "" if h.serving_kwh is None else f", {_energy(h.serving_kwh)}"
        lines.append(
            f"Serving {format_quantity(request.inference_tokens or 0)} tokens: {format_quantity(h.serving_hours)} "
            f"{request.serving.accelerator.key} hours at {request.serving.mfu:.0%} of peak{money}{energy}."
        )
    return lines


def _times(gpu_hours: float) -> str:
    """Where no number of accelerators was given: the days on a few powers of ten of them that end within a year or so."""
    shown = []
    for count in (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000):
        days = gpu_hours / count / 24
        if days <= 400 or count == 1_000_000:
            shown.append(f"{days:.3g} days on {count:,}")
        if len(shown) == 2 or days <= 10:
            break
    return " or ".join(shown)


def _energy(kwh: float) -> str:
    for size, unit in ((1e6, "GWh"), (1e3, "MWh")):
        if kwh >= size:
            return f"{kwh / size:.3g} {unit}"
    return f"{kwh:.3g} kWh"


def _flops_range(step: Step) -> str:
    b = step.flops_band
    return (
        ""
        if b is None or b.low is None
        else f"({b.low:.3g} to {'beyond reach' if b.high is None else f'{b.high:.3g}'}) "
    )


def _span(band: Band, form: str) -> str:
    return f"{band.low:{form}} to " + ("beyond reach" if band.high is None else f"{band.high:{form}}")


def _around(band: Band, form: str) -> str:
    return "" if band.low is None or band.high is None else f" ({band.low:{form}} to {band.high:{form}})"


def _range(band: Band, kind: str) -> str:
    if band.low is None or band.high is None:
        return ""
    return f"({format_quantity(band.low, kind)} to {format_quantity(band.high, kind)})"
