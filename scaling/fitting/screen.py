"""Which of many starts of one fit are worth a polish: a few damped steps from each, and the lowest go on."""

from __future__ import annotations

import numpy as np

from scaling.fitting.objective import Objective
from scaling.fitting.problem import Problem
from scaling.fitting.scale import Coordinates
from scaling.fitting.solver import _solve_rows, linearise
from scaling.laws.law import Array

SCREENED_OUT = (4, 16)  # one start in so many goes on after p steps, and after p more
FEWEST = 3  # starts that go on, however few there were
SAME_VALUE = 2e-2  # relative difference of objectives below which two starts are taken for one


def screen(coordinates: Coordinates, objective: Objective, problem: Problem, u: Array, delta: Array) -> Array:
    """Of starts u (K, p) of a one-row problem the lowest sixteenth, where some steps took them; each value once if it can.

    delta : (1, 1) or (1, n), the bend of the objective. Returns (k, p), those of distinct value first and lowest first.
    """
    n_starts, n_free = u.shape
    for share in SCREENED_OUT:
        u, value = descend(coordinates, objective, problem, u, delta, n_free)
        order = np.argsort(value, kind="stable")
        value = value[order]
        order, value = order[np.isfinite(value)], value[np.isfinite(value)]
        new = np.diff(value, prepend=-np.inf) > SAME_VALUE * value
        u = u[np.concatenate([order[new], order[~new]])[: max(FEWEST, round(n_starts / share))]]
    return u


def descend(
    coordinates: Coordinates, objective: Objective, problem: Problem, u: Array, delta: Array, n_steps: int
) -> tuple[Array, Array]:
    """Starts u (K, p) of a one-row problem after damped Gauss-Newton steps, and their objectives (K,).

    The solver's first phase and no more: it proves nothing, and on tens of short rows it takes a quarter of the time.
    """
    # one row that all starts share: what depends on the points alone is computed for one
    shared = Problem(
        {k: np.atleast_2d(v)[0] for k, v in problem.x.items()}, np.atleast_2d(problem.y)[0], problem.weights
    )
    weights, hold, eye = shared.weights, np.zeros(u.shape, bool), np.eye(u.shape[1])
    with np.errstate(all="ignore"):  # a trial step may overflow; it is then not taken
        here = linearise(coordinates, objective, shared, u)
        value = objective.value(here.residual, weights, delta)
        damping, growth, widest = np.full(len(u), 1e-3), np.full(len(u), 4.0), np.full(u.shape, 1e-300)
        for _ in range(n_steps):
            gradient = here.contract(objective.psi(here.residual, delta) * weights)
            hessian = here.gram(objective.majoriser(here.residual, delta) * weights)
            widest = np.fmax(widest, np.diagonal(hessian, axis1=1, axis2=2))
            step = _solve_rows(hessian, gradient, widest, damping, hold, eye)
            if objective.of == "log":
                step *= np.minimum(1.0, 10.0 / np.maximum(np.abs(step).max(-1, keepdims=True), 1e-300))
            there = linearise(coordinates, objective, shared, u + step)
            new = objective.value(there.residual, weights, delta)
            accept = (new <= value) & there.finite()
            promised = -(step * gradient).sum(-1) - 0.5 * (step * np.matmul(hessian, step[..., None])[..., 0]).sum(-1)
            ratio = (value - new) / np.maximum(promised, 1e-300)
            calmer = np.where(ratio > 0.75, 1 / 9, np.where(ratio > 0.25, 1.0, 2.0))
            damping = np.where(accept, np.maximum(damping * calmer, 1e-15), np.maximum(damping, 1e-9) * growth)
            growth = np.where(accept, 4.0, np.minimum(growth * 2.0, 64.0))
            u, value = np.where(accept[:, None], u + step, u), np.where(accept, new, value)
            rejected = np.flatnonzero(~accept)
            if len(rejected):
                there.put_back(rejected, here)
            here = there
    return u, value
