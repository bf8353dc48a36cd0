"""From scale to loss to score: which score a budget buys, and which budget buys a score, with the doubt of both steps.

Step 1 is a loss law over (N, D), step 2 a link from loss to score. Each comes with draws of its coefficients (resamples,
or draws from a posterior); a draw of the chain is one of each, so that the error of the first step enters the second
through its slope and not as a number plugged in. A fit given with its runs is drawn from what these allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import pandas as pd

from scaling.errors import FitError, LawError, PlanError
from scaling.laws.law import Array, Law

if TYPE_CHECKING:
    from scaling.fitting import FitResult

SCHEMA = "scaling.capability/1"
PROPOSALS = 20_000  # curves from which the draws of a link are chosen
PROPOSAL_DOF = 4  # of the Student's t that they come from, so that its tails are heavier than the likelihood's
PROPOSAL_WIDTH = 1.3  # times the spread of the linearised fit
FEWEST_EFFECTIVE = 100  # proposals that must carry the weight


class Fitted(Protocol):
    """A law with coefficients theta (..., P): a fit, a bootstrap of it, a published law."""

    @property
    def law(self) -> Law: ...
    @property
    def theta(self) -> Array: ...


class Curve(Protocol):
    """A link known by its draws, such as an Emergence on a loss axis."""

    def score_draws(self, x: Array) -> Array: ...


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


@dataclass(frozen=True)
class Budget:
    """The budget that reaches a score: flops with bounds, inf where the score is not reached within the budgets looked at.

    share : part of the draws that reach the score within the budgets. n_params, n_tokens : the model at `flops`.
    """

    score: float
    flops: float
    low: float
    high: float
    level: float
    share: float
    n_params: float
    n_tokens: float
    smallest: float
    largest: float

    def __str__(self) -> str:
        if not np.isfinite(self.flops):
            least = f", {self.level:.0%} of them only beyond {self.low:.3g}" if np.isfinite(self.low) else ""
            return (
                f"a score of {self.score:.3g} is not expected within {self.largest:.3g} FLOPs: "
                f"{self.share:.0%} of the curves reach it{least}."
            )
        high = f"{self.high:.3g}" if np.isfinite(self.high) else f"beyond {self.largest:.3g}"
        low = f"{self.low:.3g}" if self.low > self.smallest else f"below {self.smallest:.3g}"
        return (
            f"a score of {self.score:.3g} needs {self.flops:.3g} FLOPs ({self.level:.0%}: {low} to {high}), "
            f"a model of {self.n_params:.3g} parameters on {self.n_tokens:.3g} tokens."
        )


@dataclass(frozen=True)
class Capability:
    """Scores along models of rising cost.

    flops, n_params, n_tokens (m,) ; loss, score (m,) medians over the draws with bounds *_low, *_high at `level`.
    draws (R, m) : the score of each draw of the chain. extrapolated (m,) : the loss lies below every loss the link was
    fitted on. loss_share (m,) : part of the variance of the score that comes from the loss law rather than the link.
    """

    flops: Array
    n_params: Array
    n_tokens: Array
    loss: Array
    loss_low: Array
    loss_high: Array
    score: Array
    low: Array
    high: Array
    level: float
    extrapolated: Array
    loss_share: Array
    draws: Array = field(repr=False)
    warnings: tuple[str, ...] = ()

    def reaches(self, score: float, *, level: float | None = None) -> Budget:
        """The least budget at which the expected score passes `score`, from every draw's own crossing.

        Between budgets the score is interpolated in log compute. Raises PlanError for fewer than two budgets.
        """
        level = self.level if level is None else level
        if len(self.flops) < 2 or np.any(np.diff(self.flops) <= 0):
            raise PlanError(
                "which budget reaches a score needs at least two budgets in rising order: give a range of flops."
            )
        if not np.isfinite(score):
            raise PlanError(f"the score to reach must be a number, not {score!r}.")
        log_c = np.log(self.flops)
        crossings = _first_crossing(log_c, self.draws, score)
        low, mid, high = (
            float(v) for v in np.quantile(crossings, [0.5 - level / 2, 0.5, 0.5 + level / 2], method="inverted_cdf")
        )
        at = np.exp(mid) if np.isfinite(mid) else np.inf
        model = [
            float(np.exp(np.interp(mid, log_c, np.log(v)))) if np.isfinite(mid) else float("nan")
            for v in (self.n_params, self.n_tokens)
        ]
        return Budget(
            score=float(score),
            flops=float(at),
            low=float(np.exp(low)),
            high=float(np.exp(high)),
            level=level,
            share=float(np.mean(np.isfinite(crossings))),
            n_params=model[0],
            n_tokens=model[1],
            smallest=float(self.flops[0]),
            largest=float(self.flops[-1]),
        )

    def table(self) -> pd.DataFrame:
        """One row per budget: flops, n_params, n_tokens, loss, score, their bounds, extrapolated."""
        names = (
            "flops",
            "n_params",
            "n_tokens",
            "loss",
            "loss_low",
            "loss_high",
            "score",
            "low",
            "high",
            "extrapolated",
            "loss_share",
        )
        return pd.DataFrame({name: getattr(self, name) for name in names})

    @property
    def finding(self) -> str:
        """One sentence: the score at the largest budget, and where the doubt comes from."""
        share = float(self.loss_share[-1])
        source = "the loss law" if share > 0.5 else "the link from loss to score"
        tail = f", most of the doubt from {source} ({max(share, 1 - share):.0%})" if np.isfinite(share) else ""
        beyond = "; this loss is lower than any the link has seen" if self.extrapolated[-1] else ""
        return (
            f"{self.flops[-1]:.3g} FLOPs buy a score of {self.score[-1]:.3g} ({self.level:.0%}: {self.low[-1]:.3g} to "
            f"{self.high[-1]:.3g}){tail}{beyond}."
        )

    def __str__(self) -> str:
        shown = self.table()[["flops", "n_params", "n_tokens", "loss", "score", "low", "high", "extrapolated"]]
        text = shown.to_string(index=False, float_format=lambda v: f"{v:.4g}")
        return "\n".join([self.finding, "", text, *(f"warning: {w}" for w in self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        """The JSON document `scaling.capability/1`."""
        rows = [
            {str(k): (bool(v) if isinstance(v, bool) else _finite(v)) for k, v in row.items()}
            for row in self.table().to_dict("records")
        ]
        return {
            "schema": SCHEMA,
            "finding": self.finding,
            "level": self.level,
            "points": rows,
            "warnings": list(self.warnings),
        }


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
    theta = _usable(_drawn_law(fitted, n_draws, generator))
    loss = fitted.law.predict({name: known[name] for name in fitted.law.inputs}, theta)
    return _chain(c, n, d, loss, link, level, n_draws, generator, paired)


def link_draws(fitted: FitResult, n: int = 1000, rng: int | np.random.Generator = 0, losses: Any = None) -> FitResult:
    """Coefficients of a link from loss to score, drawn from what its runs allow, in the shape of a bootstrap.

    fitted : a single fit with its runs. Draws follow the likelihood of the residuals (normal, of unknown size, with the
    weights that the fit ended with; flat in working coordinates), which is skewed where scores say little of the ceiling
    or of the end of the rise: a bell curve around the fit then ends below it. Where errors are unequal and the HC3
    sandwich is wider than the likelihood, draws are stretched to it.
    losses : (m,) where the curves will be read. Where all scores that were fitted are rates between 0 and 1, curves that
    leave this range there are not drawn.

    Returns theta (n, P), `of` the fit. Raises FitError for batches, loaded fits and fits without estimate.
    """
    from dataclasses import replace

    from scaling.fitting.solver import evaluate
    from scaling.uncertainty import draws
    from scaling.uncertainty.intervals import _wider

    generator = np.random.default_rng(rng)
    plain = draws(fitted, n, generator)
    problem, coordinates = fitted.problem, fitted.coordinates
    if problem is None:
        raise FitError("this fit was loaded from a file: its runs are not in it, so nothing can be drawn from them.")
    centre = coordinates.to_working(fitted.theta)
    p, n_runs = len(centre), int(fitted.n_runs)
    residual, jac = (a[0] for a in evaluate(coordinates, fitted.objective, problem, centre[None]))
    weights = problem.weights[0] * np.broadcast_to(fitted.objective.majoriser(residual, fitted.delta), residual.shape)
    squares = float(weights @ residual**2)
    information = (jac * weights) @ jac.T
    sandwich = np.nan_to_num(fitted.covariance)
    dof = n_runs - p
    if dof < 1 or squares <= 0 or np.linalg.matrix_rank(information) < p or (np.diagonal(sandwich) <= 0).any():
        return plain  # exact runs, or a coefficient at its bound
    inner = np.linalg.inv(information) * squares / dof
    root_in, root_out = np.linalg.cholesky(inner), np.linalg.cholesky(_wider(sandwich, inner))
    z = generator.standard_normal((PROPOSALS, p)) * np.sqrt(
        PROPOSAL_DOF / generator.chisquare(PROPOSAL_DOF, (PROPOSALS, 1))
    )
    u = centre + PROPOSAL_WIDTH * z @ root_in.T
    with np.errstate(all="ignore"):
        off = fitted.objective.residuals(
            fitted.law.predict({k: v.reshape(-1) for k, v in problem.x.items()}, coordinates.to_theta(u)[0]),
            problem.y.reshape(-1),
        )[0]
        # Student's t of the likelihood against Student's t of the proposals
        log_weight = -n_runs / 2 * np.log((off**2 @ weights) / squares)
        log_weight += (PROPOSAL_DOF + p) / 2 * np.log1p((z**2).sum(axis=1) / PROPOSAL_DOF)
        if losses is not None and _is_rate(fitted):
            read = fitted.law.predict({fitted.law.inputs[0]: np.ravel(losses)}, coordinates.to_theta(u)[0])
            log_weight[~((read >= 0) & (read <= 1)).all(axis=1)] = -np.inf
    log_weight = np.where(np.isfinite(log_weight), log_weight, -np.inf)
    share = np.exp(log_weight - log_weight.max()) if np.isfinite(log_weight).any() else np.zeros(PROPOSALS)
    if share.sum() ** 2 < FEWEST_EFFECTIVE * (share**2).sum() or not share.any():
        return plain
    chosen = u[generator.choice(PROPOSALS, size=n, p=share / share.sum())]
    stretched = centre + np.linalg.solve(root_in, (chosen - centre).T).T @ root_out.T
    return replace(plain, theta=coordinates.to_theta(stretched)[0])


def _is_rate(fitted: FitResult) -> bool:
    """The law is of a rate by its name, and all values that were fitted lie between 0 and 1."""
    assert fitted.problem is not None
    named = any(word in fitted.law.target.lower() for word in ("score", "acc", "err", "rate"))
    return named and bool(((fitted.problem.y >= 0) & (fitted.problem.y <= 1)).all())


def _has_runs(fitted: Any) -> bool:
    """A single fit with its runs, not yet drawn."""
    return (
        getattr(fitted, "problem", None) is not None
        and getattr(fitted, "of", None) is None
        and np.ndim(fitted.theta) == 1
        and bool(np.isfinite(fitted.theta).all())
    )


def _drawn_law(fitted: Fitted, n: int, rng: np.random.Generator) -> Fitted:
    if not _has_runs(fitted):
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
        raise PlanError(f"level must lie between 0 and 1, not {level!r}.")
    if n_draws < 1:
        raise PlanError(f"n_draws must be at least 1, not {n_draws}.")
    loss = loss[np.isfinite(loss).all(axis=1)]
    if not len(loss):
        raise PlanError("the loss law gives no finite loss at any of its draws: check the fit and the budgets.")
    generator = np.random.default_rng(rng)
    rates = _has_runs(link) and _is_rate(cast(Any, link))
    if _has_runs(link) and len(cast(Fitted, link).law.inputs) == 1:
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
    seen = _seen(link)
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
        _refuse_other_axis(link)
        chosen = loss[rng.integers(len(loss), size=n_draws)]
        return _curve_scores(link, chosen, rng)
    fitted = cast(Fitted, link)
    law = fitted.law
    if len(law.inputs) != 1:
        raise LawError(
            f"law {law.name!r} takes {', '.join(law.inputs)}: a link from loss to score takes one input, the loss."
        )
    theta = _usable(fitted)
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


def _refuse_other_axis(curve: Any) -> None:
    if not getattr(curve, "flipped", True):
        raise LawError(
            f"the link is a curve over {curve.x!r}, not over a loss: call emergence(..., x='loss') on the same scores."
        )


def _usable(fitted: Fitted) -> Array:
    """Coefficients (R, P): one row, or the converged resamples."""
    theta = np.reshape(np.asarray(fitted.theta, float), (-1, np.shape(fitted.theta)[-1]))
    converged = getattr(fitted, "converged", None)
    keep = np.isfinite(theta).all(axis=1)
    if converged is not None and np.size(converged) == len(theta) and getattr(fitted, "of", None) is not None:
        keep &= np.reshape(np.asarray(converged, bool), -1)
    if not keep.any():
        raise LawError(f"law {fitted.law.name!r} has no finite coefficients: check the fit's status.")
    return theta[keep]


def _seen(link: Any) -> float | None:
    """The least loss a link was fitted on, where it says so."""
    if hasattr(link, "points"):
        return float(link.points[link.x].min())
    domain = getattr(link, "domain", None)
    if isinstance(domain, Mapping) and (pair := domain.get(link.law.inputs[0])):
        return float(pair[0])
    return None


def _first_crossing(log_c: Array, draws: Array, score: float) -> Array:
    """Log budgets (R,) at which each row of scores (R, m) first passes `score`; inf where it never does."""
    above = draws >= score
    ever = above.any(axis=1)
    first = np.argmax(above, axis=1)
    rows = np.arange(len(draws))
    before = np.maximum(first - 1, 0)
    a, b = draws[rows, before], draws[rows, first]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(b > a, (score - a) / (b - a), 0.0)
    at = log_c[before] + np.clip(part, 0, 1) * (log_c[first] - log_c[before])
    return np.where(ever, at, np.inf)


def _finite(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None
