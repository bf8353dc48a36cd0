"""What a plan holds: the run to train for each budget, what binds and what that costs, time, money and energy, warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaling.allocation import Allocation
from scaling.hardware import Accelerator
from scaling.planning.request import Request

if TYPE_CHECKING:
    import pandas as pd

QUANTITIES = ("n_params", "n_tokens", "tokens_per_param", "loss")


@dataclass(frozen=True)
class Band:
    """A value with the bounds of its band; low and high are None where nothing is known about them."""

    estimate: float
    low: float | None = None
    high: float | None = None

    def times(self, factor: float) -> Band:
        return Band(
            self.estimate * factor, *(None if v is None else v * factor for v in (self.low, self.high))
        )  # fmt: skip


@dataclass(frozen=True)
class Warned:
    """Something the reader of a plan must know; `code` is stable, `message` a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class Price:
    """What a limit costs: how the expected loss would move if there were more of it.

    name : the constraint, budget or resource; limit : how much there is, in `unit`. loss_per_unit : d loss / d limit;
    loss_per_tenth : for a tenth more of it, to first order. Negative is an improvement; zero where the limit does not bind.
    """

    name: str
    limit: float
    unit: str
    loss_per_unit: float
    loss_per_tenth: float

    @property
    def binds(self) -> bool:
        return abs(self.loss_per_tenth) > 0


@dataclass(frozen=True)
class Hardware:
    """What a run costs: accelerators in use, the share of their peak that is reached, and what follows.

    gpu_hours, days, usd, kwh : of training; usd holds the overhead. serving_hours, serving_usd, serving_kwh : of serving all
    tokens of the model's life; None where none are served or nothing is known. *_band : where the compute has a band.
    """

    accelerator: Accelerator
    count: int
    mfu: float
    usd_per_hour: float | None
    gpu_hours: float
    days: float
    usd: float | None
    kwh: float | None = None
    overhead: float = 0.0
    serving_hours: float | None = None
    serving_usd: float | None = None
    serving_kwh: float | None = None
    days_band: Band | None = None
    usd_band: Band | None = None


@dataclass(frozen=True)
class Repeats:
    """Text seen more than once: epochs over it, the share of a fresh token that a token is worth on average, and the next one."""

    unique_tokens: float
    epochs: float
    worth: float
    next_token: float


UNDETERMINED = "undetermined"  # code of the warning that the law behind a plan is not determined by its runs


@dataclass(frozen=True)
class Step:
    """The plan for one budget.

    n_params, n_tokens, tokens_per_param : what to train; the band is how the best choice moves with the uncertainty of the law.
    loss : expected from the run that is recommended, not from the best run of each draw; the band is that of the law there.
    flops : of training, and of serving where the budget pays for it; flops_band : of the compute that reaches a wanted loss.
    binding : the constraints that decide; budget : the budget that is spent whole, "" where constraints stop first.
    extrapolation : training compute over that of the largest run, None when not known.
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
    flops_band: Band | None = None
    budget: str = "flops"
    prices: tuple[Price, ...] = ()
    score: Band | None = None
    repeats: Repeats | None = None
    n_active: float | None = None
    n_total: float | None = None

    @property
    def determined(self) -> bool:
        """Whether the runs behind the law determine it: else the plan is what the fit says at its word, and no more."""
        return all(w.code != UNDETERMINED for w in self.warnings)


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
    request: Request | None = None

    def table(self) -> pd.DataFrame:
        """One row per budget: flops [FLOPs], n_params, n_tokens, tokens_per_param, loss with bounds, and cost columns."""
        import pandas as pd

        rows = []
        for step in self.steps:
            row: dict[str, Any] = {"flops": step.flops}
            for name in QUANTITIES:
                band = getattr(step, name)
                row |= {name: band.estimate, f"{name}_low": band.low, f"{name}_high": band.high}
            if step.score is not None:
                row |= {"score": step.score.estimate, "score_low": step.score.low, "score_high": step.score.high}
            row |= {"binding": ", ".join(step.binding), "extrapolation": step.extrapolation}
            if step.hardware:
                row |= {k: getattr(step.hardware, k) for k in ("gpu_hours", "days", "usd", "kwh")}
            rows.append(row)
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document (`scaling.plan/1`); several budgets give {"plans": [...]}."""
        from scaling.planning.document import document

        return document(self)

    def __str__(self) -> str:
        from scaling.planning.page import overview, page

        return page(self, self.steps[0]) if len(self.steps) == 1 else overview(self)

    __repr__ = __str__
