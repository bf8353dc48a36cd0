"""What was asked for, in numbers: budgets, prices, limits and inputs, checked where they enter."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from scaling.allocation import Constraints, Limit
from scaling.compute import DENSE, Accounting, ActiveExperts, Lifetime
from scaling.errors import PlanError
from scaling.hardware import Accelerator
from scaling.hardware import accelerator as find_accelerator
from scaling.planning.adjusted import FULL_BITS
from scaling.quantities import parse_quantity

MOST_ACCELERATORS = 10_000_000  # more than were ever built of one kind
MOST_DAYS = 3650.0
MOST_USD, MOST_KWH = 1e14, 3e13  # what the world produces in a year
MOST_FLOPS = 1e36  # thousands of times what the world's product of a year would buy
HOUR = 3600.0
TRAINING_BYTES = 16.0  # of weights, gradients and Adam's state for each parameter, however they are spread
USABLE = 0.8  # of an accelerator's memory; the rest is activations, buffers and fragments
FP8_BITS = 8.0
#: power over the board's limit in training, and of a building over its machines (compute.md: 0.6 to 0.9, 1.1 to 1.2)
POWER_SHARE, PUE = 0.8, 1.15
_ENERGY = {"": 1.0, "kwh": 1.0, "mwh": 1e3, "gwh": 1e6, "twh": 1e9}
_BYTES = {
    "": 1.0,
    "b": 1.0,
    "kb": 1e3,
    "mb": 1e6,
    "gb": 1e9,
    "tb": 1e12,
    "gib": 2.0**30,
    "tib": 2.0**40,
    "mib": 2.0**20,
}


@dataclass(frozen=True)
class Machine:
    """What a pool of accelerators reaches, costs and draws. Numbers of one accelerator; None where not known."""

    accelerator: Accelerator
    mfu: float
    usd_per_hour: float | None
    bits: float = FULL_BITS
    overhead: float = 0.0
    pue: float = PUE
    power_share: float = POWER_SHARE

    @property
    def peak(self) -> float:
        """Dense peak [FLOP/s] in the arithmetic that is used."""
        fp8 = self.accelerator.fp8
        return fp8 if self.bits <= FP8_BITS and fp8 is not None else self.accelerator.bf16

    @property
    def flops_per_hour(self) -> float:
        return self.peak * self.mfu * HOUR

    @property
    def usd_per_flop(self) -> float | None:
        return None if self.usd_per_hour is None else self.usd_per_hour * (1 + self.overhead) / self.flops_per_hour

    @property
    def kwh_per_flop(self) -> float | None:
        power = self.accelerator.power
        return None if power is None else power / 1e3 * self.power_share * self.pue / self.flops_per_hour


@dataclass(frozen=True)
class Budget:
    """One budget as the user gave it: amount in its unit, the FLOPs it buys, and its accounting."""

    name: str  # flops, usd, kwh, days
    amount: float
    limit: Limit


@dataclass(frozen=True)
class Request:
    """A checked request. `budgets[0]` is what is spent, the rest are limits; none when a loss is wanted instead."""

    flops: tuple[Any, ...]
    budgets: tuple[Budget, ...]
    compute: Accounting
    constraints: Constraints
    inputs: dict[str, float]
    machine: Machine | None
    serving: Machine | None
    count: int | None
    days: float | None
    loss: float | None
    inference_tokens: float | None
    unique_tokens: float | None
    active_share: float
    total_share: float
    train_bits: float | None
    serve_bits: float | None
    aliases: dict[str, str] = field(default_factory=dict)  # max_params, max_tokens -> what they stand for
    shown: dict[str, float] = field(default_factory=dict)  # what these were given as, where it is another number
    notes: tuple[str, ...] = ()
    score: float | None = None  # that the loss stands for
    aimed: Accounting | None = None  # what a wanted loss is reached at the least of, where that is not `compute`

    @property
    def limits(self) -> tuple[Limit, ...]:
        main = 0 if self.loss is not None else 1
        return tuple(b.limit for b in self.budgets[main:])


def machine_of(
    accelerator: str | Accelerator | None, mfu: Any, usd_per_hour: Any, *, pricing: str | None = None, overhead: Any = None,
    pue: Any = None, power_share: Any = None, bits: float | None = None, default_mfu: float = 0.4,
) -> Machine | None:  # fmt: skip
    """The machine of a request, or None when no accelerator is named."""
    chip = find_accelerator(accelerator) if isinstance(accelerator, str) else accelerator
    if chip is None:
        return None
    return Machine(
        accelerator=chip,
        mfu=default_mfu if mfu is None else parse_quantity(mfu, "fraction", name="mfu"),
        usd_per_hour=_price(chip, usd_per_hour, pricing),
        bits=FULL_BITS if bits is None else bits,
        overhead=0.0 if overhead is None else _overhead(overhead),
        pue=PUE if pue is None else _pue(pue),
        power_share=POWER_SHARE if power_share is None else parse_quantity(power_share, "fraction", name="power_share"),
    )


def _price(chip: Accelerator, usd_per_hour: Any, pricing: str | None) -> float | None:
    if usd_per_hour is not None:
        return parse_quantity(usd_per_hour, "usd", name="usd_per_hour")
    if pricing in (None, "listed"):
        return chip.usd_per_hour
    if pricing not in ("reserved", "on-demand"):
        raise PlanError(f"pricing {pricing!r} is not known: it is listed, reserved or on-demand.")
    if chip.usd_range is None:
        raise PlanError(f"no {pricing} price is listed for {chip.key}: give usd_per_hour.")
    return chip.usd_range[0 if pricing == "reserved" else 1]


def _overhead(value: Any) -> float:
    number = parse_quantity(
        value, "fraction" if isinstance(value, str) and "%" in value else "number", name="overhead", zero=True
    )
    if not 0 <= number <= 10:
        raise PlanError(
            f"overhead {value!r} is no share of the price: 0.15, or 15%, adds 15 % for storage, network and failed runs."
        )
    return number


def _pue(value: Any) -> float:
    number = parse_quantity(value, "number", name="pue")
    if not 1 <= number <= 5:
        raise PlanError(
            f"pue {value!r} is not possible: power of the building over that of its machines, 1.1 to 1.2 in good ones."
        )
    return number


def unit_quantity(value: Any, units: Mapping[str, float], name: str, example: str) -> float:
    """A number with one of `units` behind it, in the base unit."""
    text = str(value).strip()
    match = re.fullmatch(r"(.*?)\s*([A-Za-z]*)", text, re.DOTALL)
    word = match.group(2).lower() if match else ""
    if word in units and match and word:
        number = parse_quantity(match.group(1), "count", name=name)
    elif isinstance(value, int | float):
        number, word = parse_quantity(value, "count", name=name), ""
    else:
        try:
            number, word = parse_quantity(value, "count", name=name), ""
        except ValueError:
            raise PlanError(f"{name}: {value!r} is not understood; write {example}.") from None
    return number * units[word]


def days_of(days: Any, deadline: Any, start: Any) -> float | None:
    """Length of the training in days, from a length or from dates (start: today unless given)."""
    if deadline is None:
        if start is not None:
            raise PlanError("start needs a deadline: give both dates, or the length as days.")
        number = None if days is None else parse_quantity(days, "days", name="days")
    else:
        end, begin = _date(deadline, "deadline"), date.today() if start is None else _date(start, "start")
        if end <= begin:
            raise PlanError(
                f"the deadline {end.isoformat()} lies {'in the past' if start is None else 'before the start'} "
                f"({begin.isoformat()}); give a later date, or the length of the training as days."
            )
        between = float((end - begin).days)
        number = between if days is None else min(between, parse_quantity(days, "days", name="days"))
    if number is not None and number > MOST_DAYS:
        raise PlanError(
            f"days: {number:.3g} days are more than ten years; write the length of the training, such as 30d."
        )
    return number


def _date(value: Any, name: str) -> date:
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value).strip())
    except ValueError:
        raise PlanError(f"{name}: {value!r} is no date; write it as 2027-03-31.") from None


def count_of(count: Any, name: str = "count") -> int | None:
    """A whole number of accelerators, or None; PlanError for a fraction or more than exist."""
    if count is None:
        return None
    value = parse_quantity(count, "count", name=name)
    if value != round(value):
        raise PlanError(f"{name}: {count} is not a whole number of accelerators.")
    if value > MOST_ACCELERATORS:
        raise PlanError(
            f"{name}: {value:.3g} accelerators are more than exist (limit {MOST_ACCELERATORS:,}); write how many you have."
        )
    return int(value)


def bits_of(value: Any, name: str) -> float | None:
    """Bits of a weight, 1 to 32, or None; PlanError for anything else."""
    if value is None:
        return None
    number = parse_quantity(value, "number", name=name)
    if not 1 <= number <= 32:
        raise PlanError(f"{name}: {value!r} is no number of bits of a weight; it lies between 1 and 32.")
    return number


def tightest(bounds: list[tuple[str, float]]) -> tuple[str, float] | None:
    return min(bounds, key=lambda b: b[1]) if bounds else None


_KINDS = {name: "tokens" if name.endswith("_tokens") else "params" for name in Constraints.__dataclass_fields__}
_KINDS |= {name: "count" for name in _KINDS if "tokens_per_param" in name}
_KINDS |= {"max_total_params": "params", "max_active_params": "params"}


def constraint_values(given: Mapping[str, Any]) -> dict[str, float]:
    if unknown := sorted(set(given) - set(_KINDS)):
        raise PlanError(f"unknown constraint {', '.join(unknown)}; there are: {', '.join(_KINDS)}.")
    return {k: parse_quantity(v, _KINDS[k], name=k) for k, v in given.items() if v is not None}


def understand(
    *, flops: Any, loss: Any, accelerator: Any, count: Any, days: Any, deadline: Any, start: Any, mfu: Any, usd: Any,
    usd_per_hour: Any, pricing: Any, overhead: Any, kwh: Any, pue: Any, power_share: Any, compute: Accounting,
    unique_tokens: Any, repeats: bool, max_epochs: Any, inference_tokens: Any, serving_accelerator: Any, serving_mfu: Any,
    serving_usd_per_hour: Any, serving_memory: Any, serving_speed: Any, serving_count: Any, active_share: Any,
    law_counts: str, train_bits: Any, serve_bits: Any, inputs: Mapping[str, float] | None, constraints: Mapping[str, Any],
    law_inputs: tuple[str, ...],
) -> Request:  # fmt: skip
    """The request in numbers. Raises PlanError or QuantityError, with the way out, for what makes no sense."""
    training, served_in = bits_of(train_bits, "train_bits"), bits_of(serve_bits, "serve_bits")
    prices: dict[str, Any] = {"overhead": overhead, "pue": pue, "power_share": power_share}
    machine = machine_of(accelerator, mfu, usd_per_hour, pricing=pricing, bits=training, **prices)
    n, length = count_of(count), days_of(days, deadline, start)
    money = None if usd is None else parse_quantity(usd, "usd", name="usd")
    energy = None if kwh is None else unit_quantity(kwh, _ENERGY, "kwh", "500 MWh, or a number of kWh")
    for name, amount, ceiling in (("usd", money, MOST_USD), ("kwh", energy, MOST_KWH)):
        if amount is not None and amount > ceiling:
            raise PlanError(
                f"{name}: {amount:.3g} is more than the world produces in a year ({ceiling:.0e}); write what you have."
            )
    if machine is None and any(v is not None for v in (n, length, money, energy, mfu)):
        raise PlanError("which accelerator? Name one, such as H100 (list them with: scaling accelerators).")
    served = None if inference_tokens is None else parse_quantity(inference_tokens, "tokens", name="inference_tokens")
    serving = machine_of(
        serving_accelerator, serving_mfu, serving_usd_per_hour, pricing=pricing, bits=served_in, **prices
    )
    if serving is None and machine is not None:
        serving = replace(
            machine, bits=FULL_BITS if served_in is None else served_in,
            mfu=machine.mfu if serving_mfu is None else parse_quantity(serving_mfu, "fraction", name="serving_mfu"),
            usd_per_hour=machine.usd_per_hour if serving_usd_per_hour is None
            else parse_quantity(serving_usd_per_hour, "usd", name="serving_usd_per_hour"),
        )  # fmt: skip
    if serving is None and (serving_mfu is not None or serving_usd_per_hour is not None):
        raise PlanError("which accelerator serves? Name it with serving_accelerator, such as H100.")
    share = 1.0 if active_share is None else parse_quantity(active_share, "fraction", name="active_share")
    if law_counts not in ("total", "active"):
        raise PlanError(
            f"law_counts is 'total' or 'active', what the law's N counts in a mixture of experts, not {law_counts!r}."
        )
    active, total = (share, 1.0) if law_counts == "total" else (1.0, 1 / share)
    if active < 1:
        if compute is not DENSE:
            raise PlanError("active_share decides the accounting; leave compute away.")
        compute = ActiveExperts(active)

    values = constraint_values(constraints)
    aliases: dict[str, str] = {}
    shown: dict[str, float] = {}
    notes: list[str] = []
    extra = {k: float(v) for k, v in (inputs or {}).items()}
    if unknown := sorted(set(extra) - set(law_inputs)):
        raise PlanError(f"the law takes no input {', '.join(unknown)}; it takes {', '.join(law_inputs)}.")
    sizes = [("max_params", values["max_params"])] if "max_params" in values else []
    for name, factor in (("max_total_params", 1 / total), ("max_active_params", 1 / active)):
        if name in values:
            shown[name] = values.pop(name)
            sizes.append((name, shown[name] * factor))
    if machine is not None and n is not None:
        sizes.append(("training memory", USABLE * machine.accelerator.memory * n / TRAINING_BYTES / total))
    sizes += _served_sizes(serving, serving_memory, serving_speed, serving_count, served_in, active, total)
    if (least := tightest(sizes)) is not None:
        aliases["max_params"], values["max_params"] = least
    _conflict_with_memory(values, aliases)

    unique = None if unique_tokens is None else parse_quantity(unique_tokens, "tokens", name="unique_tokens")
    texts = [("max_tokens", values["max_tokens"])] if "max_tokens" in values else []
    if unique is not None:
        if "n_unique_tokens" in law_inputs or repeats or max_epochs is not None:
            extra["n_unique_tokens"] = unique
            if max_epochs is not None:
                shown["max_epochs"] = parse_quantity(max_epochs, "count", name="max_epochs")
                texts.append(("max_epochs", unique * shown["max_epochs"]))
        else:
            texts.append(("unique_tokens", unique))
    elif max_epochs is not None or repeats:
        raise PlanError("how much text is there? Give unique_tokens, which repeats and max_epochs are about.")
    if (most := tightest(texts)) is not None:
        aliases["max_tokens"], values["max_tokens"] = most
    for name, bits in (("bits_weights", training), ("bits_activations", training), ("bits_kv_cache", training), ("bits_post", served_in)):  # fmt: skip
        if name in law_inputs and name not in extra:
            extra[name] = FULL_BITS if bits is None else bits
    if machine is not None and training is not None and training <= FP8_BITS and machine.accelerator.fp8 is None:
        notes.append(f"{machine.accelerator.key} has no 8-bit arithmetic on record: time and cost are those of 16 bits")

    pools = [m for m in (machine, serving if served is not None else None) if m is not None]
    for pool in dict.fromkeys(pools):
        reached = pool.accelerator.matmul_share
        if reached is not None and pool.mfu > reached:
            notes.append(
                f"{pool.mfu:.0%} of peak is more than the best matrix products alone reach on {pool.accelerator.key} "
                f"({reached:.0%} measured): the hours and costs are too low"
            )
    budgets = _budgets(
        flops, money, energy, length, n, machine, serving, compute, served, active, overhead, usd_per_hour
    )
    wanted = None if loss is None else parse_quantity(loss, "loss", name="loss")
    amounts: tuple[Any, ...] = ()
    aimed: Accounting | None = None
    if flops is not None:
        if wanted is not None:
            raise PlanError(
                "more than one budget was given: flops, loss; give one of flops, accelerator + count + days, usd, kwh, score or loss."
            )
        amounts = (flops,) if isinstance(flops, str | int | float) else tuple(flops)
        for amount in amounts:
            asked = parse_quantity(amount, "flops", name="flops")
            if asked > MOST_FLOPS:
                raise PlanError(
                    f"flops: {asked:.3g} are more than all machines of the world could do (limit {MOST_FLOPS:.0e}); write what you have."
                )
        if not amounts:
            raise PlanError("no budget was given: name at least one, such as 1e21.")
    elif wanted is None and not budgets:
        raise PlanError("no budget was given; give one of flops, accelerator + count + days, usd, kwh, score or loss.")
    if served is not None:
        # the budget that is asked about pays for serving; a wanted loss is reached at the least cost of training and serving
        if wanted is not None:
            dearer = _dearer(machine, serving)
            aimed = Lifetime(compute, served * active * dearer)
            if abs(dearer - 1) > 1e-9:
                notes.append(
                    f"the wanted loss is reached at the least {'money' if _priced(machine, serving) else 'time'} for training and "
                    f"serving together: a FLOP of serving counts {dearer:.3g} times one of training"
                )
        compute = Lifetime(compute, served * active)
    return Request(
        amounts, budgets, compute, _constraints(values, aliases), extra, machine, serving, n, length, wanted, served, unique, active,
        total, training, served_in, aliases, shown, tuple(notes), aimed=aimed,
    )  # fmt: skip


def _priced(machine: Machine | None, serving: Machine | None) -> bool:
    return all(m is not None and m.usd_per_flop is not None for m in (machine, serving))


def _dearer(machine: Machine | None, serving: Machine | None) -> float:
    """What a FLOP of serving costs over one of training: in money, else in hours of one kind of machine, else the same."""
    if machine is None or serving is None:
        return 1.0
    if machine.usd_per_flop is not None and serving.usd_per_flop is not None:
        return serving.usd_per_flop / machine.usd_per_flop
    same = machine.accelerator.key == serving.accelerator.key
    return machine.flops_per_hour / serving.flops_per_hour if same else 1.0


def _served_sizes(
    serving: Machine | None, memory: Any, speed: Any, count: Any, bits: float | None, active: float, total: float
) -> list[tuple[str, float]]:
    """Largest sizes that can be served: weights within a memory, and read fast enough for one user."""
    width = (FULL_BITS if bits is None else bits) / 8
    replica = count_of(count, "serving_count") or 1
    sizes = []
    if memory is not None:
        held = unit_quantity(memory, _BYTES, "serving_memory", "80GB")
        sizes.append(("serving memory", USABLE * held / width / total))
    elif count is not None and serving is not None:
        sizes.append(("serving memory", USABLE * serving.accelerator.memory * replica / width / total))
    if speed is not None:
        if serving is None:
            raise PlanError("which accelerator serves? serving_speed needs its bandwidth: name serving_accelerator.")
        per_second = parse_quantity(speed, "count", name="serving_speed")
        # each token of one user reads every active weight once
        sizes.append(("serving speed", serving.accelerator.bandwidth * replica / (per_second * width) / active))
    return sizes


def _constraints(values: Mapping[str, float], aliases: Mapping[str, str]) -> Constraints:
    try:
        return Constraints(**values)
    except PlanError as error:
        raise PlanError(f"{error} {meaning(values, aliases)}".strip()) from None


def meaning(values: Mapping[str, float], aliases: Mapping[str, str]) -> str:
    """What the limits stand for that the user gave under another name; empty when none."""
    said = [
        f"the limit on {'model size' if k == 'max_params' else 'tokens'} is the {v.replace('_', ' ')} ({values[k]:.3g})"
        for k, v in aliases.items()
        if k != v
    ]
    return f"Here {' and '.join(said)}." if said else ""


def _conflict_with_memory(values: Mapping[str, float], aliases: Mapping[str, str]) -> None:
    for name in ("n_params", "min_params"):
        most = values.get("max_params", math.inf)
        if values.get(name, 0.0) > most:
            limit = aliases["max_params"]
            way = " or use more accelerators" if limit == "training memory" else ""
            raise PlanError(
                f"{name} = {values[name]:.3g} parameters are more than {limit} allows, {most:.3g}: ask for at most that{way}."
            )


def _budgets(
    flops: Any, money: float | None, energy: float | None, days: float | None, count: int | None, machine: Machine | None,
    serving: Machine | None, compute: Accounting, served: float | None, active: float, overhead: Any, price: Any,
) -> tuple[Budget, ...]:  # fmt: skip
    """Money, energy and time as limits on FLOPs, in the order in which one is taken as the budget."""
    out = []

    def pays(name: str, amount: float, per_flop: float, per_served_flop: float | None) -> None:
        """Add what `amount` buys at a price per FLOP of training, and of serving where tokens are served."""
        accounting = compute
        if served is not None and per_served_flop is not None:
            accounting = Lifetime(compute, served * active * per_served_flop / per_flop)
        out.append(Budget(name, amount, Limit(name, amount / per_flop, accounting)))

    if money is not None and machine is not None:
        if machine.usd_per_flop is None:
            raise PlanError(
                f"what does an hour of {machine.accelerator.key} cost? Give usd_per_hour: there is no listed assumption for it."
            )
        if served is not None and serving is not None and serving.usd_per_flop is None:
            raise PlanError(f"what does an hour of {serving.accelerator.key} cost? Give serving_usd_per_hour.")
        pays("usd", money, machine.usd_per_flop, serving.usd_per_flop if serving else None)
    if energy is not None and machine is not None:
        if machine.kwh_per_flop is None:
            raise PlanError(
                f"the power of {machine.accelerator.key} is not known: give the budget as money, days or FLOPs."
            )
        pays("kwh", energy, machine.kwh_per_flop, serving.kwh_per_flop if serving else None)
    if days is not None and machine is not None:
        alone = flops is None and not out
        if count is None:
            if alone:
                raise PlanError(f"how many {machine.accelerator.key}? Give count with days.")
        else:
            per_day = count * 24.0 * machine.flops_per_hour
            served_flop = serving.peak * serving.mfu if serving else math.nan
            same_pool = machine.peak * machine.mfu / served_flop / per_day if served is not None and alone else None
            pays("days", days, 1 / per_day, same_pool)
    return tuple(out)
