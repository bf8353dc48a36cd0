"""What to set for a run, as published laws suggest it.

The laws of learning rate and batch disagree between groups, were fitted to runs far smaller than those they are asked about,
and hold for one optimiser and schedule each: `settings` shows them side by side and says how far each one is stretched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.compute import FAMILIES, Family, Shape
from scaling.errors import PlanError
from scaling.laws.law import Array
from scaling.laws.published import PublishedLaw, published
from scaling.laws.tuning import weight_decay
from scaling.training.trade_off import positive

if TYPE_CHECKING:
    import pandas as pd


DEEPSEEK_CONTEXT = 4096  # the context at which DeepSeek counts FLOPs per token


@dataclass(frozen=True)
class Suggestion:
    """What one published law says about one setting.

    setting : 'lr' (peak), 'batch_tokens', 'critical_batch_tokens' [tokens] or 'weight_decay' (AdamW).
    low, high : from the law's printed intervals; None where none are printed.
    beyond : {input: times above (or below, < 1) the runs of the law}, for the inputs outside of them.
    """

    setting: str
    value: float
    law: str
    title: str
    source: str
    status: str
    domain: Mapping[str, tuple[float, float]]
    beyond: Mapping[str, float]
    low: float | None = None
    high: float | None = None
    notes: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return asdict(self) | {"domain": {k: list(v) for k, v in self.domain.items()}, "beyond": dict(self.beyond)}

    def __str__(self) -> str:
        unit = " tokens" if self.setting.endswith("tokens") else ""
        far = ", ".join(
            f"{max(times, 1 / times):.3g} times {'above' if times > 1 else 'below'} its {_WORDS[name]}"
            for name, times in self.beyond.items()
        )
        if not self.domain:
            far = "where it holds is not printed"
        return f"{_WORDS[self.setting]} {self.value:.3g}{unit} ({self.title}{'; ' + far if far else ''})"


_WORDS = {
    "lr": "learning rate", "batch_tokens": "batch", "critical_batch_tokens": "critical batch", "weight_decay": "weight decay",
    "n_params": "model sizes", "n_tokens": "tokens", "flops": "compute",
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Suggestions for a run of n_params (all of them; n_non_embedding outside embeddings) on n_tokens.

    flops_deepseek : the run's compute in DeepSeek's count, on which its laws depend.
    """

    n_params: float
    n_non_embedding: float
    n_tokens: float
    flops_deepseek: float
    suggestions: tuple[Suggestion, ...]

    def of(self, setting: str) -> tuple[Suggestion, ...]:
        """The suggestions for one setting."""
        return tuple(s for s in self.suggestions if s.setting == setting)

    def steps(self, batch_tokens: float) -> float:
        """Optimiser steps of the run at a batch [tokens]."""
        return self.n_tokens / positive("batch_tokens", batch_tokens)

    def time_and_cost(self, batch_tokens: float, critical_batch_tokens: float | None = None) -> tuple[float, float]:
        """(steps, tokens) to the loss that n_tokens reach at a small batch: S_min (1 + B_crit/B), E_min (1 + B/B_crit).

        critical_batch_tokens : default the geometric mean of the suggestions that grow with the run.
        Source: McCandlish et al. 2018, arXiv:1812.06162, eq. 2.11.
        """
        batch = positive("batch_tokens", batch_tokens)
        if critical_batch_tokens is None:
            critical_batch_tokens = math.exp(np.mean([math.log(s.value) for s in self.of("critical_batch_tokens")]))
        critical = positive("critical_batch_tokens", critical_batch_tokens)
        return self.n_tokens / critical * (1 + critical / batch), self.n_tokens * (1 + batch / critical)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dictionary."""
        return asdict(self) | {"suggestions": [s.to_dict() for s in self.suggestions]}

    def table(self) -> pd.DataFrame:
        """One row per suggestion: setting, value, low, high, law, source, status, beyond, steps (for a batch)."""
        import pandas as pd

        rows = [
            {
                "setting": s.setting, "value": s.value, "low": s.low, "high": s.high, "law": s.title, "source": s.source,
                "status": s.status, "beyond": max((*s.beyond.values(), *(1 / b for b in s.beyond.values())), default=1.0),
                "steps": self.steps(s.value) if s.setting == "batch_tokens" else math.nan,
            }
            for s in self.suggestions
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        lines = [str(s) for s in self.suggestions]
        counts = sorted(self.steps(s.value) for s in self.of("batch_tokens"))
        return "\n".join([*lines, f"steps {counts[0]:,.0f} to {counts[-1]:,.0f} at these batches"])


def settings(
    n_params: float,
    n_tokens: float,
    *,
    n_non_embedding: float | None = None,
    shape: Shape | None = None,
    family: str = "modern",
) -> Settings:
    """Learning rate, batch, critical batch and weight decay by the published hyper-parameter laws.

    Parameters
    ----------
    n_params : all parameters. n_tokens : tokens seen in training.
    n_non_embedding : parameters outside the embeddings; default those of `shape`, else of the family's shape of that size.
    shape : for DeepSeek's count of FLOPs per token; default the family's shape.

    Raises PlanError when a number is not positive and finite.
    Sources: Li et al. 2025, arXiv:2503.04715 (step law); DeepSeek LLM 2024, arXiv:2401.02954, eq. 1; Zhang et al. 2024,
    arXiv:2410.21676; Bergsma et al. 2025, arXiv:2505.13738.
    """
    n, d = positive("n_params", n_params), positive("n_tokens", n_tokens)
    if shape is None:
        shape = _family(family).continuous(n)
    core = positive("n_non_embedding", shape.n_non_embedding if n_non_embedding is None else n_non_embedding)
    flops = float(shape.flops_per_token(DEEPSEEK_CONTEXT, "deepseek")) * d
    at = {"n_params": core, "n_tokens": d, "flops": flops}
    total = at | {"n_params": n}
    step_lr, step_batch = _suggest("lr", "li2025-lr", at), _suggest("batch_tokens", "li2025-batch", at)
    decay = published("bergsma2025-timescale")
    return Settings(
        n_params=n, n_non_embedding=core, n_tokens=d, flops_deepseek=flops,
        suggestions=(
            step_lr,
            _suggest("lr", "deepseek2024-lr", at),
            step_batch,
            _suggest("batch_tokens", "deepseek2024-batch", at),
            _suggest("critical_batch_tokens", "zhang2024-cbs", total),
            _suggest("critical_batch_tokens", "bergsma2025-cbs", total),
            Suggestion(
                "weight_decay", float(weight_decay(*(np.array([v]) for v in (step_lr.value, step_batch.value, d, n)))[0]),
                decay.key, decay.title, decay.source, decay.status, dict(decay.domain), {},
                notes="with the step law's learning rate and batch",
            ),
        ),
    )  # fmt: skip


def _suggest(setting: str, key: str, at: Mapping[str, float]) -> Suggestion:
    law = published(key)
    x = {name: np.array([at[name]]) for name in law.law.inputs}
    beyond = {
        name: at[name] / (high if at[name] > high else low)
        for name, (low, high) in law.domain.items()
        if name in x and not low <= at[name] <= high
    }
    low, high = _printed_band(law, x)
    return Suggestion(
        setting, float(law.predict(x)[0]), key, law.title, law.source, law.status, dict(law.domain), beyond, low, high, law.notes
    )  # fmt: skip


def _printed_band(law: PublishedLaw, x: Mapping[str, Array]) -> tuple[float | None, float | None]:
    """Bounds from the printed intervals of the exponents, taken about the middle of the law's runs, one at a time.

    The amplitude belongs to the exponents: the law is known where its runs are, and fans out from there.
    """
    logs = []
    for name, column in _EXPONENTS.get(law.key, {}).items():
        ends, inside = law.ci[name], law.domain[column]
        away = math.log(float(x[column][0])) - 0.5 * (math.log(inside[0]) + math.log(inside[1]))
        logs.append(0.5 * abs((ends[1] - ends[0]) * away))
    if not logs:
        return None, None
    value, spread = float(law.predict(x)[0]), math.hypot(*logs)
    return value * math.exp(-spread), value * math.exp(spread)


_EXPONENTS = {"li2025-lr": {"p": "n_params", "q": "n_tokens"}, "li2025-batch": {"r": "n_tokens"}}


def _family(name: str) -> Family:
    if name not in FAMILIES:
        raise PlanError(f"no family of shapes is called {name[:40]!r}; there are: {', '.join(FAMILIES)}.")
    return FAMILIES[name]
