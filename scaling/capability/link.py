"""The second step, from loss to score: a law or a curve, its coefficients drawn from what its runs allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from scaling.errors import FitError, LawError
from scaling.laws.law import Array, Law

if TYPE_CHECKING:
    from scaling.fitting import FitResult

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
        if losses is not None and is_rate(fitted):
            read = fitted.law.predict({fitted.law.inputs[0]: np.ravel(losses)}, coordinates.to_theta(u)[0])
            log_weight[~((read >= 0) & (read <= 1)).all(axis=1)] = -np.inf
    log_weight = np.where(np.isfinite(log_weight), log_weight, -np.inf)
    share = np.exp(log_weight - log_weight.max()) if np.isfinite(log_weight).any() else np.zeros(PROPOSALS)
    if share.sum() ** 2 < FEWEST_EFFECTIVE * (share**2).sum() or not share.any():
        return plain
    chosen = u[generator.choice(PROPOSALS, size=n, p=share / share.sum())]
    stretched = centre + np.linalg.solve(root_in, (chosen - centre).T).T @ root_out.T
    return replace(plain, theta=coordinates.to_theta(stretched)[0])


def is_rate(fitted: FitResult) -> bool:
    """The law is of a rate by its name, and all values that were fitted lie between 0 and 1."""
    assert fitted.problem is not None
    named = any(word in fitted.law.target.lower() for word in ("score", "acc", "err", "rate"))
    return named and bool(((fitted.problem.y >= 0) & (fitted.problem.y <= 1)).all())


def has_runs(fitted: Any) -> bool:
    """A single fit with its runs, not yet drawn."""
    return (
        getattr(fitted, "problem", None) is not None
        and getattr(fitted, "of", None) is None
        and np.ndim(fitted.theta) == 1
        and bool(np.isfinite(fitted.theta).all())
    )


def refuse_other_axis(curve: Any) -> None:
    """Raises LawError for an Emergence that is over anything but a loss."""
    if not getattr(curve, "flipped", True):
        raise LawError(
            f"the link is a curve over {curve.x!r}, not over a loss: call emergence(..., x='loss') on the same scores."
        )


def usable_coefs(fitted: Fitted) -> Array:
    """Coefficients (R, P): one row, or the converged resamples."""
    theta = np.reshape(np.asarray(fitted.theta, float), (-1, np.shape(fitted.theta)[-1]))
    converged = getattr(fitted, "converged", None)
    keep = np.isfinite(theta).all(axis=1)
    if converged is not None and np.size(converged) == len(theta) and getattr(fitted, "of", None) is not None:
        keep &= np.reshape(np.asarray(converged, bool), -1)
    if not keep.any():
        raise LawError(f"law {fitted.law.name!r} has no finite coefficients: check the fit's status.")
    return theta[keep]


def least_loss_seen(link: Any) -> float | None:
    """The least loss a link was fitted on, where it says so."""
    if hasattr(link, "points"):
        return float(link.points[link.x].min())
    domain = getattr(link, "domain", None)
    if isinstance(domain, Mapping) and (pair := domain.get(link.law.inputs[0])):
        return float(pair[0])
    return None
