"""From scale to loss to score: which score a budget buys, and which budget buys a score, with the doubt of both steps.

Step 1 is a loss law over (N, D), step 2 a link from loss to score. Each comes with draws of its coefficients (resamples,
or draws from a posterior); a draw of the chain is one of each, so that the error of the first step enters the second
through its slope and not as a number plugged in. A fit given with its runs is drawn from what these allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np

from scaling.capability.link import (
    Curve,
    Fitted,
    has_runs,
    is_rate,
    least_loss_seen,
    link_draws,
    refuse_other_axis,
    usable_coefs,
)
from scaling.capability.result import Capability
from scaling.errors import LawError, PlanError
from scaling.laws.law import Array


class Path(Protocol):
    """Models along budgets: what `allocate` returns. flops (m,), n_params, n_tokens, loss (..., m)."""

    @property
    def flops(self) -> Array: ...
    @property
    def n_params(self) -> Array: ...
    @property
    def n_tokens(self) -> Array: ...
    @property
    def loss(self) -> Array: ...


def score_along(
    path: Path | Fitted,
    link: Fitted | Curve,
    *,
    flops: Any = None,
    level: float = 0.9,
    n_draws: int = 1000,
    rng: int | np.random.Generator = 0,
    paired: bool = False,
) -> Capability:
    """Scores along budgets: the loss of the best model at each budget, put through the link.

    Parameters
    ----------
    path : an Allocation (of a bootstrap, so that its loss is (R, m) and its doubt is carried along), or with `flops` a
        fitted loss law over N and D, whose compute-optimal frontier is then the path.
    link : from loss to score. A law in one input (a fit with its runs, drawn by `link_draws`, or a bootstrap of it), or an
        Emergence on a loss axis. A law whose target is an error gives one minus it.
    flops : budgets (m,) [FLOPs] when `path` is a fitted law; numbers, or text such as "1e21".
    level : of the bands. n_draws : draws of the chain.
    paired : both bootstraps come from the same resamples, in the same order: draw i goes with draw i. By default draws
        are matched at random, which takes the errors of the two steps as independent.

    Returns a Capability. Raises LawError if the link takes anything but one loss.
    """
    generator = np.random.default_rng(rng)
    if flops is not None:
        from scaling.allocation import allocate

        path = cast(Path, allocate(cast(Any, _drawn_law(cast(Fitted, path), n_draws, generator)), flops=flops))
    elif not hasattr(path, "loss"):
        raise PlanError(
            "a fitted law alone names no budgets: pass flops=..., or the Allocation that allocate() returns."
        )
    path = cast(Path, path)
    m = len(np.atleast_1d(path.flops))
    loss = np.reshape(np.asarray(path.loss, float), (-1, m))
    sizes = [np.median(np.reshape(np.asarray(v, float), (-1, m)), axis=0) for v in (path.n_params, path.n_tokens)]
    return _chain(
        np.atleast_1d(np.asarray(path.flops, float)), sizes[0], sizes[1], loss, link, level, n_draws, generator, paired
    )


def score_at(
    fitted: Fitted,
    link: Fitted | Curve,
    *,
    n_params: Any,
    n_tokens: Any,
    flops: Any = None,
    level: float = 0.9,
    n_draws: int = 1000,
    rng: int | np.random.Generator = 0,
    paired: bool = False,
) -> Capability:
    """Scores of models of n_params (m,) trained on n_tokens (m,), compute-optimal or not.

    fitted : a loss law over any of n_params, n_tokens and flops: a fit with its runs, or draws (R, P). flops defaults to
    6 N D. The rest as in `score_along`. Raises LawError if the law needs another input.
    """
    n, d = np.broadcast_arrays(np.atleast_1d(np.asarray(n_params, float)), np.atleast_1d(np.asarray(n_tokens, float)))
    c = 6 * n * d if flops is None else np.broadcast_to(np.asarray(flops, float), n.shape)
    known: Mapping[str, Array] = {"n_params": n, "n_tokens": d, "flops": c}
    if missing := [name for name in fitted.law.inputs if name not in known]:
        raise LawError(
            f"law {fitted.law.name!r} needs {', '.join(missing)}: score_at knows n_params, n_tokens and flops only; "
            "make an Allocation and use score_along."
        )
    generator = np.random.default_rng(rng)
    theta = usable_coefs(_drawn_law(fitted, n_draws, generator))
    loss = fitted.law.predict({name: known[name] for name in fitted.law.inputs}, theta)
    return _chain(c, n, d, loss, link, level, n_draws, generator, paired)


def _drawn_law(fitted: Fitted, n: int, rng: np.random.Generator) -> Fitted:
    if not has_runs(fitted):
        return fitted
    from scaling.uncertainty import draws

    return cast(Fitted, draws(cast(Any, fitted), n, rng))


def _chain(
    flops: Array,
    n_params: Array,
    n_tokens: Array,
    loss: Array,
    link: Fitted | Curve,
    level: float,
    n_draws: int,
    rng: int | np.random.Generator,
    paired: bool,
) -> Capability:
    if not 0 < level < 1:
        raise PlanError(f"level must lie between 0 and 1, not {level}.")
    if n_draws < 1:
        raise PlanError(f"n_draws must be at least 1, not {n_draws}.")
    loss = loss[np.isfinite(loss).all(axis=1)]
    if not len(loss):
        raise PlanError("the loss law gives no finite loss at any of its draws: check the fit and the budgets.")
    generator = np.random.default_rng(rng)
    rates = has_runs(link) and is_rate(cast(Any, link))
    if has_runs(link) and len(cast(Fitted, link).law.inputs) == 1:
        link = cast(Fitted, link_draws(cast(Any, link), n_draws, generator, np.median(loss, axis=0)))
    warnings = []
    if len(loss) == 1:
        warnings.append(
            "the loss law has one set of coefficients: its own error is not in the bands (pass a bootstrap)"
        )
    score, n_link = _scores(link, loss, n_draws, generator, paired)
    score = np.clip(score, 0.0, 1.0) if rates else score
    if n_link == 1:
        warnings.append("the link has one set of coefficients: its own error is not in the bands (pass a bootstrap)")
    tails = [0.5 - level / 2, 0.5, 0.5 + level / 2]
    loss_low, loss_mid, loss_high = np.quantile(loss, tails, axis=0)
    low, mid, high = np.quantile(score, tails, axis=0)
    # the share of the loss law: the variance that is left when the link is held at each of its draws
    from_loss = _scores(link, np.broadcast_to(loss_mid, loss.shape[1:])[None], n_draws, generator, False)[0].var(axis=0)
    total = score.var(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(total > 0, np.clip(1 - from_loss / total, 0, 1), np.nan)
    seen = least_loss_seen(link)
    extrapolated = loss_mid < seen if seen is not None else np.zeros(len(flops), bool)
    if extrapolated.any():
        warnings.append(
            f"the link was fitted on losses down to {seen:.4g}: {int(extrapolated.sum())} of {len(flops)} budgets go below"
        )
    return Capability(
        flops=flops,
        n_params=n_params,
        n_tokens=n_tokens,
        loss=loss_mid,
        loss_low=loss_low,
        loss_high=loss_high,
        score=mid,
        low=low,
        high=high,
        level=level,
        extrapolated=extrapolated,
        loss_share=share,
        draws=score,
        warnings=tuple(warnings),
    )


def _scores(
    link: Fitted | Curve, loss: Array, n_draws: int, rng: np.random.Generator, paired: bool
) -> tuple[Array, int]:
    """Scores (n_draws, m) of draws of the chain from losses (R, m), and how many draws the link has."""
    if not hasattr(link, "law"):
        refuse_other_axis(link)
        chosen = loss[rng.integers(len(loss), size=n_draws)]
        return _curve_scores(link, chosen, rng)
    fitted = cast(Fitted, link)
    law = fitted.law
    if len(law.inputs) != 1:
        raise LawError(
            f"law {law.name!r} takes {', '.join(law.inputs)}: a link from loss to score takes one input, the loss."
        )
    theta = usable_coefs(fitted)
    if paired:
        if len(theta) != len(loss):
            raise LawError(
                f"paired draws need as many of the link ({len(theta)}) as of the loss law ({len(loss)}): make both "
                "bootstraps with the same n_resamples and rng, or leave paired off."
            )
        a = b = np.arange(len(theta))
    else:
        n = 1 if len(loss) == len(theta) == 1 else n_draws
        a, b = rng.integers(len(loss), size=n), rng.integers(len(theta), size=n)
    value = law.predict({law.inputs[0]: loss[a]}, theta[b])
    return (1 - value if "err" in law.target.lower() else value), len(theta)


def _curve_scores(curve: Curve, loss: Array, rng: np.random.Generator) -> tuple[Array, int]:
    """One draw of the curve for each row of losses (R, m).

    A curve gives all its draws at each loss; they are evaluated on a fine grid of losses once and read off there.
    """
    low, high = float(loss.min()), float(loss.max())
    nodes = np.linspace(low, high, 513) if high > low else np.array([low])
    table = curve.score_draws(nodes)  # (K, 513)
    rows = rng.integers(len(table), size=len(loss))
    if high == low:
        return np.broadcast_to(table[rows], loss.shape).copy(), len(table)
    place = (loss - low) / (high - low) * 512
    left = np.clip(place.astype(int), 0, 511)
    part = place - left
    return (1 - part) * table[rows[:, None], left] + part * table[rows[:, None], left + 1], len(table)
