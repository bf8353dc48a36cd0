"""Whole loss curves from the learning-rate schedule: annealing (Tissue et al.) and multi-power (Luo et al.).

The annealing law sees a schedule through two numbers per step, which `annealing_features` computes. The multi-power law
needs the schedule itself: `multi_power_law` makes the law for the schedules at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from scaling.errors import LawError
from scaling.laws.law import Array, Coef, Inputs, Law, split, stack


def annealing_features(lr: Array, decay: float = 0.999, warmup: int | None = None) -> tuple[Array, Array]:
    """What the annealing law sees of a schedule: columns lr_sum and lr_annealed at every step.

    lr : (T,) learning rate of each step, from the first step of training. decay : per-step memory of the annealing.
    warmup : steps at the start whose rises do not count as (negative) annealing; all rises before the first fall if None.
    Returns S1 = cumulative learning rate and S2 = cumulative momentum of its falls, (T,) each, in the unit of lr.
    Raises LawError for rates that are not a row of finite numbers, or a decay outside [0, 1).
    """
    lr = _checked(lr)
    if not 0 <= decay < 1:
        raise LawError(f"the decay of the annealing must lie in [0, 1), not {decay}.")
    falls = -np.diff(lr, prepend=lr[:1])
    if warmup is None:
        warmup = int(np.argmax(falls > 0)) - 1 if (falls > 0).any() else len(falls)
    falls[: warmup + 1] = 0.0
    # m_i = decay m_(i-1) + fall_i, summed: S2_i = S2_(i-1) + m_i
    momentum = np.empty_like(falls)
    last = 0.0
    for i, fall in enumerate(falls):
        last = decay * last + fall
        momentum[i] = last
    return np.cumsum(lr), np.cumsum(momentum)


def _checked(lr: Array) -> Array:
    lr = np.asarray(lr, dtype=float)
    if lr.ndim != 1 or not len(lr) or not np.isfinite(lr).all() or (lr < 0).any() or not lr.any():
        raise LawError("a schedule is a row of learning rates, one for each step, finite and not negative.")
    return lr


def _annealing(x: Inputs, theta: Array) -> Array:
    L0, A, alpha, C = split(theta)
    return L0 + A * np.exp(-alpha * np.log(x["lr_sum"])) - C * x["lr_annealed"]


def _annealing_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    L0, A, alpha, C = split(theta)
    log_s = np.log(x["lr_sum"])
    power = np.exp(-alpha * log_s)
    return L0 + A * power - C * x["lr_annealed"], stack(
        np.ones_like(power), power, -A * power * log_s, -np.asarray(x["lr_annealed"])
    )


_L0 = Coef("L0", "loss of unlimited training at a constant rate [target unit]", starts=(0.5, 5.0))
_A = Coef("A", "reducible loss at a cumulative rate of 1 [target unit]", starts=(0.05, 5.0))
_ALPHA = Coef("alpha", "exponent of the cumulative rate", starts=(0.1, 1.5))

ANNEALING = Law(
    name="annealing",
    title="Tissue et al., learning-rate annealing",
    equation="L(s) = L0 + A S1^-alpha - C S2, S1 = sum of the rate, S2 = sum of the momentum of its falls",
    latex=r"L(s) = L_0 + A\,S_1^{-\alpha} - C\,S_2",
    inputs=("lr_sum", "lr_annealed"),
    coefs=(_L0, _A, _ALPHA, Coef("C", "what annealing gains [target unit per unit of S2]", starts=(0.05, 5.0))),
    linear=("L0", "A", "C"),
    formula=_annealing,
    jacobian=_annealing_jacobian,
    domain="training curves after warm-up, ordinary schedules of one peak rate; never to search for a schedule "
    "(the loss falls without bound as S2 grows)",
    source="Tissue et al. 2024, arXiv:2408.11029, eq. 1; columns by annealing_features",
)


@dataclass(frozen=True, eq=False)
class _Schedules:
    """What the multi-power law needs of its schedules; falls are gathered in nodes.

    total : (R, T) cumulative rate. fall, log_rate, before : (R, K), the fall of each node, ln of the rate after it and
    the cumulative rate before it (infinite for padding, which is never reached).
    """

    total: Array
    lengths: Array
    fall: Array
    log_rate: Array
    before: Array

    def rows(self, x: Inputs) -> tuple[Array, Array]:
        """Index of each run's schedule and the cumulative rate at its step; LawError for a step past the end."""
        index = np.asarray(x["schedule"]).astype(int) if "schedule" in x else np.zeros(np.shape(x["step"]), dtype=int)
        step = np.asarray(x["step"]).astype(int)
        if np.any((index < 0) | (index >= len(self.total))):
            raise LawError(f"column 'schedule' must number the {len(self.total)} schedules from 0.")
        if np.any((step < 0) | (step >= self.lengths[index])):
            raise LawError("column 'step' goes past the end of its schedule; give the law the whole schedule.")
        return index, self.total[index, step]

    def nodes(self, x: Inputs) -> Iterator[tuple[Array, Array, Array]]:
        """For each node: its fall, ln of its rate, and the cumulative rate since it (0 before it), (..., n) each."""
        index, total = self.rows(x)
        for k in range(self.fall.shape[1]):
            yield self.fall[index, k], self.log_rate[index, k], np.maximum(total - self.before[index, k], 0.0)


def _gather(lr: Array, max_nodes: int) -> tuple[Array, Array, Array]:
    """Fall, ln rate and cumulative rate before, of at most about max_nodes groups of neighbouring steps."""
    change = -np.diff(lr, prepend=lr[:1])
    at = np.flatnonzero((change != 0) & (lr > 0))
    if not len(at):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    before = np.cumsum(lr)[at] - lr[at]
    size = np.abs(change[at])
    # groups of equal total change, never of a rise with a fall
    place = np.cumsum(size) - 0.5 * size
    group = np.minimum((place / size.sum() * max_nodes).astype(int), max_nodes - 1)
    group = 2 * group + (change[at] < 0)
    if len(at) > max_nodes:
        _, which = np.unique(group + 0 * at, return_inverse=True)
    else:
        which = np.arange(len(at))
    count = np.bincount(which, weights=size)
    return (
        np.bincount(which, weights=change[at]),
        np.bincount(which, weights=size * np.log(lr[at])) / count,
        np.bincount(which, weights=size * before) / count,
    )


def _multi_power(x: Inputs, theta: Array, schedules: _Schedules) -> Array:
    L0, A, alpha, B, C, beta, gamma = split(theta)
    _, total = schedules.rows(x)
    gained = 0.0
    for fall, log_rate, since in schedules.nodes(x):
        gained = gained - fall * np.expm1(-beta * np.log1p(C * np.exp(-gamma * log_rate) * since))
    return L0 + A * np.exp(-alpha * np.log(total)) - B * gained


def _multi_power_jacobian(x: Inputs, theta: Array, schedules: _Schedules) -> tuple[Array, Array]:
    L0, A, alpha, B, C, beta, gamma = split(theta)
    _, total = schedules.rows(x)
    log_total = np.log(total)
    power = np.exp(-alpha * log_total)
    gained, by_C, by_beta, by_gamma = (np.zeros(np.broadcast_shapes(L0.shape, total.shape)) for _ in range(4))
    for fall, log_rate, since in schedules.nodes(x):
        grown = np.exp(-gamma * log_rate) * since
        log_more = np.log1p(C * grown)
        kept = np.exp(-beta * log_more)
        inner = fall * beta * kept * grown / (1 + C * grown)  # d gained / dC
        gained += fall * (1 - kept)
        by_C += inner
        by_gamma -= inner * C * log_rate
        by_beta += fall * kept * log_more
    loss = L0 + A * power - B * gained
    return loss, stack(
        np.ones_like(gained), power, -A * power * log_total, -gained, -B * by_C, -B * by_beta, -B * by_gamma
    )


def multi_power_law(schedules: Sequence[Array], max_nodes: int = 200) -> Law:
    """The multi-power law for runs under these schedules; input columns `schedule` (0, 1, ...) and `step`.

    schedules : (T,) learning rates each, from the first step of training, warm-up included (its rises raise the loss);
        step s of a run is entry s. max_nodes : the changes of a schedule are gathered into about so many groups, because
        the exact sum takes the square of the steps; a schedule with fewer changes is exact.
    Raises LawError for no schedule, or one that is not a row of rates.
    """
    rates = [_checked(lr) for lr in schedules]
    if not rates or max_nodes < 1:
        raise LawError("the multi-power law needs at least one schedule and one node.")
    gathered = [_gather(lr, max_nodes) for lr in rates]
    n_nodes = max(len(fall) for fall, _, _ in gathered)
    steps = max(map(len, rates))

    def padded(rows: list[Array], width: int, fill: float) -> Array:
        return np.stack([np.pad(r, (0, width - len(r)), constant_values=fill) for r in rows])

    table = _Schedules(
        total=padded([np.cumsum(lr) for lr in rates], steps, np.nan),
        lengths=np.array([len(lr) for lr in rates]),
        fall=padded([g[0] for g in gathered], n_nodes, 0.0),
        log_rate=padded([g[1] for g in gathered], n_nodes, 0.0),
        before=padded([g[2] for g in gathered], n_nodes, np.inf),
    )
    return Law(
        name="multi_power",
        title="Luo et al., multi-power law",
        equation="L(t) = L0 + A S1(t)^-alpha - B sum_k (lr_(k-1) - lr_k) (1 - (1 + C lr_k^-gamma S_k(t))^-beta), "
        "S_k(t) = sum of the rate from step k to t",
        latex=r"L(t) = L_0 + A\,S_1(t)^{-\alpha} - B \sum_{k=1}^{t} (\eta_{k-1} - \eta_k)"
        r"\left[1 - \left(1 + C\,\eta_k^{-\gamma} S_k(t)\right)^{-\beta}\right]",
        inputs=("step",) if len(rates) == 1 else ("schedule", "step"),
        coefs=(
            _L0,
            _A,
            _ALPHA,
            Coef("B", "what a fall of the rate gains in the end [target unit per unit of rate]", starts=(30.0, 3000.0)),
            Coef("C", "how fast it gains it", starts=(0.1, 30.0)),
            Coef("beta", "exponent of that gain", starts=(0.1, 1.5)),
            Coef("gamma", "how a low rate speeds it", starts=(0.1, 1.2)),
        ),
        linear=("L0", "A", "B"),
        formula=partial(_multi_power, schedules=table),
        jacobian=partial(_multi_power_jacobian, schedules=table),
        domain="training curves after warm-up, schedules of one peak rate",
        source="Luo et al. 2025, arXiv:2503.12811, eq. 3",
    )
