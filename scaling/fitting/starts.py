"""Where a fit starts: a search over the whole plausible range, so that the optimum found does not depend on luck.

A law that is linear in some coefficients gives them up: at each point of a grid over the others they are a small
least-squares problem with non-negativity where the law asks for it, solved exactly for all grid points at once.
Other laws get a quasi-random cover of the plausible ranges. A law may also state starts of its own, read off the data; a few
steps of the solver tell which of them are worth a polish.
"""

from __future__ import annotations

from itertools import combinations
from typing import Protocol, runtime_checkable

import numpy as np

from scaling.fitting.objective import Objective
from scaling.fitting.problem import Problem
from scaling.fitting.scale import Coordinates
from scaling.fitting.screen import screen
from scaling.laws.law import Array, Inputs

GRID = {1: 64, 2: 400, 3: 729}  # points over the coefficients that are not linear, by their number
QUASI_RANDOM = 1024
N_POLISHED = 6


@runtime_checkable
class StatesStarts(Protocol):
    """A law with starts of its own, where a cover of ranges would need too many points."""

    def starts_from(self, x: Inputs, y: Array, weights: Array) -> Array:
        """Candidates (K, P) for one fit to y (n,) with weights (n,); none, (0, P), leaves it to the cover of the ranges."""


def search(
    coordinates: Coordinates, objective: Objective, problem: Problem, n_keep: int = N_POLISHED
) -> tuple[Array, int]:
    """The best well-separated starting points of a one-row problem.

    Returns working coordinates (k, p), k <= n_keep, best first, and how many points were tried.
    """
    law = coordinates.law
    free = set(coordinates.free)
    linear = [i for i in coordinates.free if law.coefs[i].name in law.linear]
    other = [i for i in coordinates.free if i not in linear]
    stated = _stated(coordinates, problem)
    theta = _cover(coordinates, other) if stated is None else stated
    if linear and stated is None:
        theta = _eliminate(coordinates, objective, problem, theta, linear)
    elif free:
        theta = theta[np.isfinite(theta).all(-1)]
    with np.errstate(all="ignore"):
        predicted = law.predict(_one(problem.x), theta)
        residual, _ = objective.residuals(predicted, _one_array(problem.y))
        weights = problem.weights[0]
        used = weights > 0
        squares = (weights * residual**2)[:, used].sum(-1)
    finite = np.isfinite(squares)
    if not finite.any():
        return np.empty((0, len(coordinates.free))), len(theta)
    best = np.where(finite, squares, np.inf).argmin()
    delta = objective.delta_for(residual[best : best + 1], weights[None])
    with np.errstate(all="ignore"):
        value = objective.value(residual, weights, delta)
    value = np.where(np.isfinite(value), value, np.inf)
    u = coordinates.to_working(theta)
    if stated is not None:
        return screen(coordinates, objective, problem, u[np.isfinite(value)], delta), len(theta)
    axes = [coordinates.free.index(i) for i in (other or linear)]
    return _separated(u, value, axes, n_keep if linear else 4 * n_keep), len(theta)


def _stated(coordinates: Coordinates, problem: Problem) -> Array | None:
    """Starts (K, P) that the law states for a one-row problem; None where it states none, or not with coefficients fixed."""
    law = coordinates.law
    if coordinates.fixed or not isinstance(law, StatesStarts):
        return None
    with np.errstate(all="ignore"):  # a candidate may overflow; it is then not finite and not chosen
        theta = law.starts_from(_one(problem.x), _one_array(problem.y), problem.weights[0])
    return theta if len(theta) else None


def _one(x: dict[str, Array]) -> dict[str, Array]:
    return {k: _one_array(v) for k, v in x.items()}


def _one_array(v: Array) -> Array:
    return v if v.ndim == 1 else v[0]


def _cover(coordinates: Coordinates, indices: list[int]) -> Array:
    """theta (K, P) over the plausible ranges of the given coefficients; the others at the middle of theirs, fixed as fixed."""
    law, dims = coordinates.law, len(indices)
    if dims == 0:
        unit = np.zeros((1, 0))
    elif dims in GRID:
        per_axis = round(GRID[dims] ** (1 / dims))
        axis = np.linspace(0, 1, per_axis)
        unit = np.stack(np.meshgrid(*[axis] * dims, indexing="ij"), -1).reshape(-1, dims)
    else:
        unit = halton(QUASI_RANDOM, dims)
    theta = np.empty((len(unit), len(law.coefs)))
    for i, c in enumerate(law.coefs):
        low, high = c.starts
        middle = np.sqrt(low * high) if low > 0 else 0.5 * (low + high)
        theta[:, i] = coordinates.fixed.get(c.name, middle)
    for k, i in enumerate(indices):
        low, high = law.coefs[i].starts
        if low > 0 and law.coefs[i].lower >= 0:
            theta[:, i] = low * (high / low) ** unit[:, k]
        else:
            theta[:, i] = low + (high - low) * unit[:, k]
    return theta


def halton(n_points: int, n_dims: int) -> Array:
    """Quasi-random points (n, d) in the unit cube (Halton's sequence, first point left out)."""
    primes = [p for p in range(2, 200) if all(p % q for q in range(2, int(p**0.5) + 1))][:n_dims]
    out = np.empty((n_points, n_dims))
    for k, base in enumerate(primes):
        index, fraction, value = np.arange(1, n_points + 1), 1.0, np.zeros(n_points)
        while index.any():
            fraction /= base
            value += fraction * (index % base)
            index = index // base
        out[:, k] = value
    return out


def _eliminate(
    coordinates: Coordinates, objective: Objective, problem: Problem, theta: Array, linear: list[int]
) -> Array:
    """Set the linear coefficients of each row of theta (K, P) to their (relative) least-squares values."""
    law = coordinates.law
    x, y = _one(problem.x), _one_array(problem.y)
    theta = theta.copy()
    theta[:, linear] = 0.0
    with np.errstate(all="ignore"):
        offset, jacobian = law.value_and_jacobian(x, theta)
    basis = np.moveaxis(jacobian, -1, -2)[:, linear]  # (K, q, n)
    # 1/y^2 makes the squared error relative, a stand-in for the error of the log
    weights = problem.weights[0] / (y**2 if objective.of == "log" else 1.0)
    size = np.sqrt((basis**2 * weights).sum(-1))
    finite = np.isfinite(size).all(-1) & (size > 0).all(-1) & np.isfinite(offset).all(-1)
    theta, basis, size, offset = theta[finite], basis[finite], size[finite], offset[finite]
    if not len(theta):
        return theta
    scaled = basis / size[..., None]
    target = y - offset
    gram = np.matmul(scaled * weights, scaled.swapaxes(1, 2))
    right = np.matmul(scaled, (weights * target)[..., None])[..., 0]

    n_linear = len(linear)
    bounded = [k for k, i in enumerate(linear) if np.isfinite(law.coefs[i].lower)]
    always = [k for k in range(n_linear) if k not in bounded]
    best_value = np.full(len(theta), np.inf)
    best = np.zeros((len(theta), n_linear))
    for count in range(len(bounded), -1, -1):
        for chosen in combinations(bounded, count):
            keep = sorted([*always, *chosen])
            if not keep:
                continue
            g = gram[:, keep][:, :, keep] + 1e-12 * np.eye(len(keep))
            solution = np.linalg.solve(g, right[:, keep][..., None])[..., 0]
            value = -(solution * right[:, keep]).sum(-1)
            inside = (solution[:, [keep.index(k) for k in chosen]] > 0).all(-1) if chosen else np.ones(len(theta), bool)
            better = inside & (value < best_value)
            best_value = np.where(better, value, best_value)
            full = np.zeros_like(best)
            full[:, keep] = solution
            best = np.where(better[:, None], full, best)
    # working coordinates are logs: a term that least squares sets to zero starts at a thousandth of the target
    floor = 1e-3 * np.sqrt((weights * y**2).sum())
    best[:, bounded] = np.maximum(best[:, bounded], floor)
    theta[:, linear] = best / size
    return theta


def _separated(u: Array, value: Array, axes: list[int], n_keep: int) -> Array:
    """The best rows of u (K, p) that keep a distance from one another along the searched axes."""
    span = np.ptp(u[:, axes], axis=0)
    place = u[:, axes] / np.where(span > 0, span, 1.0)
    chosen: list[int] = []
    for k in np.argsort(value, kind="stable"):
        if not np.isfinite(value[k]):
            break
        if all(np.abs(place[k] - place[j]).max() > 0.08 for j in chosen):
            chosen.append(int(k))
            if len(chosen) == n_keep:
                break
    return u[chosen]
