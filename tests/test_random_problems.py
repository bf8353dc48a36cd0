"""1,000 random problems of each kind of constraint, singly and combined, against brute force that shares no code with us.

The oracle walks ln N on a dense grid, takes at each size the most tokens that budgets and constraints leave, and zooms in on
the best size. Its own formulas are written out below. It sees loss differences down to rounding, which is 1e-7 in ln N.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

import scaling
from scaling.allocation import Constraints, Limit, allocate
from scaling.allocation.constraints import Budgets
from scaling.allocation.solve import solve
from scaling.compute import DENSE, ActiveExperts, Lifetime
from scaling.errors import PlanError
from scaling.laws import get

K = 1000
CLOSE = 1e-6  # in ln N: what the planner promises
Array = np.ndarray


@dataclass
class Problems:
    """K problems: coefficients (K, P), the cost of a run in units of each budget, and bounds (K, 1) in the runs' own units."""

    law: str
    theta: Array
    reducible: Callable[[Array, Array], Array]  # loss without its floor, written out here
    rows: list[
        tuple[str, object, Array, Callable[[Array, Array], Array]]
    ]  # name, accounting, FLOPs, tokens a size may have
    bounds: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, float] = field(default_factory=dict)

    def ours(self):
        budgets = Budgets(
            tuple(r[0] for r in self.rows), tuple(r[1] for r in self.rows), tuple(r[2] for r in self.rows)
        )
        found = solve(get(self.law), self.theta, budgets, Constraints(**self.bounds), self.inputs, strict=False)
        return found.log_n[:, 0], found.log_d[:, 0], found

    def tokens(self, n: Array) -> tuple[Array, Array]:
        """The fewest and the most tokens that a size may have."""
        nothing = np.full(n.shape, np.inf)
        b = {k: self.bounds.get(k) for k in ("n_tokens", "max_tokens", "min_tokens", "tokens_per_param", "min_tokens_per_param", "max_tokens_per_param")}  # fmt: skip
        most = np.minimum.reduce([nothing, *(f(n, c) for _, _, c, f in self.rows)])
        least = np.ones(n.shape)
        for name in ("n_tokens", "max_tokens"):
            most = most if b[name] is None else np.minimum(most, b[name])
        for name in ("tokens_per_param", "max_tokens_per_param"):
            most = most if b[name] is None else np.minimum(most, b[name] * n)
        for name in ("n_tokens", "min_tokens"):
            least = least if b[name] is None else np.maximum(least, b[name])
        for name in ("tokens_per_param", "min_tokens_per_param"):
            least = least if b[name] is None else np.maximum(least, b[name] * n)
        return least, most

    def value(self, log_n: Array) -> Array:
        n = np.exp(log_n)
        least, most = self.tokens(n)
        with np.errstate(all="ignore"):
            loss = self.reducible(n, most)
        return np.where((most >= least * (1 - 1e-12)) & np.isfinite(loss), loss, np.inf)

    def brute(self) -> tuple[Array, Array]:
        """ln N (K,) and the loss there; inf where nothing is feasible."""
        low = np.log(np.maximum(1.0, self.bounds.get("min_params", self.bounds.get("n_params", np.ones((K, 1))))))
        high = np.log(self.bounds.get("max_params", self.bounds.get("n_params", np.full((K, 1), 1e17))))
        left, right, points = low, np.maximum(low, high), 1501
        for _ in range(8):
            grid = left + (right - left) * np.linspace(0, 1, points)
            values = self.value(grid)
            best = values.argmin(axis=1)[:, None]
            left = np.take_along_axis(grid, np.maximum(best - 1, 0), 1)
            right = np.take_along_axis(grid, np.minimum(best + 1, points - 1), 1)
            points = 33
        return np.take_along_axis(grid, best, 1)[:, 0], np.take_along_axis(values, best, 1)[:, 0]


def chinchilla_problems(seed: int, share: float = 1.0, served: bool = False) -> Problems:
    rng = np.random.default_rng(seed)
    E, alpha, beta = rng.uniform(1.2, 2.5, K), rng.uniform(0.2, 0.6, K), rng.uniform(0.2, 0.6, K)
    log_c, ratio = rng.uniform(43, 60, K), np.exp(rng.normal(3, 1, K))  # budgets of 5e18 to 1e26, D / N around 20
    n = np.exp((log_c - np.log(6 * ratio)) / 2)
    # amplitudes that put the optimum at a sensible size: alpha A N^-alpha = beta B D^-beta there
    A = np.exp(rng.normal(-1, 0.5, K)) * n**alpha
    B = alpha * A * n**-alpha / beta * (n * ratio) ** beta
    columns = [v[:, None] for v in (A, B, alpha, beta)]
    flops = np.exp(log_c)[:, None]
    per_token = 6 * share
    accounting: object = DENSE if share == 1 else ActiveExperts(share)

    def buys(size: Array, c: Array) -> Array:
        return c / (per_token * size)

    if served:  # 2 FLOPs for each parameter and token served
        text = float(np.exp(28.0))
        accounting = Lifetime(DENSE, text)

        def buys(size: Array, c: Array) -> Array:
            return (c - 2 * size * text) / (6 * size)

    def reducible(size: Array, tokens: Array) -> Array:
        a, b, x, y = columns
        return a * size**-x + b * np.where(tokens > 0, tokens, np.nan) ** -y

    return Problems(
        "chinchilla", np.stack([E, A, B, alpha, beta], axis=1), reducible, [("flops", accounting, flops, buys)]
    )


SINGLE = tuple(f.name for f in Constraints.__dataclass_fields__.values())


def bound(problems: Problems, name: str, rng: np.random.Generator, width: float = 1.5) -> Array:
    """Values around the best ones without constraints, so that about half of them bite."""
    log_n, _, _ = problems.ours()
    log_d = np.log(problems.rows[0][3](np.exp(log_n)[:, None], problems.rows[0][2])[:, 0])
    at = {"params": log_n, "tokens": log_d, "tokens_per_param": log_d - log_n}[
        name.removeprefix("n_").removeprefix("min_").removeprefix("max_")
    ]
    return np.exp(at + rng.normal(0, width, K))[:, None]


def agree(problems: Problems, least_feasible: float = 0.999) -> None:
    log_n, log_d, found = problems.ours()
    expected, value = problems.brute()
    ours, theirs = np.isfinite(log_n), np.isfinite(value)
    assert not (theirs & ~ours).any(), "a run that brute force finds was called infeasible"
    assert ours.mean() >= least_feasible
    both = ours & theirs
    least, most = problems.tokens(np.exp(log_n[both])[:, None]) if both.all() else (None, None)
    if both.all():  # within every bound, to rounding
        assert (log_d >= np.log(least[:, 0]) - 1e-8).all()
        assert (log_d <= np.log(most[:, 0]) + 1e-8).all()
    worst = np.abs(log_n - expected)[both]
    # where the oracle is elsewhere, it must not be better: rounding of the loss hides where a flat valley has its floor
    with np.errstate(all="ignore"):
        reached = problems.reducible(np.exp(log_n)[:, None], np.exp(log_d)[:, None])[:, 0]
    assert (reached[both] <= value[both] * (1 + 1e-11)).all()
    assert worst.max() < CLOSE


def test_the_budget_alone_agrees_with_the_closed_form_and_with_brute_force():
    problems = chinchilla_problems(0)
    agree(problems)
    _, A, B, alpha, beta = problems.theta.T
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    closed = G * (problems.rows[0][2][:, 0] / 6) ** (beta / (alpha + beta))
    assert np.abs(problems.ours()[0] - np.log(closed)).max() < 1e-9


@pytest.mark.parametrize("name", SINGLE)
def test_one_constraint_agrees_with_brute_force(name):
    problems = chinchilla_problems(SINGLE.index(name) + 1)
    problems.bounds = {name: bound(problems, name, np.random.default_rng(99))}
    agree(problems)
    binds = problems.ours()[2].binding[:, 0] == name
    assert binds.mean() > 0.3  # the problems were such that the constraint mattered


def test_experts_of_which_a_share_works_agree_with_brute_force():
    problems = chinchilla_problems(20, share=0.13)
    problems.bounds = {"max_params": bound(problems, "max_params", np.random.default_rng(1))}
    agree(problems)


def test_serving_agrees_with_brute_force():
    agree(chinchilla_problems(21, served=True))


def test_a_deadline_beside_money_that_also_pays_for_serving_agrees_with_brute_force():
    problems = chinchilla_problems(22, served=True)
    free = chinchilla_problems(22)
    in_time = free.rows[0][2] * np.exp(np.random.default_rng(2).normal(-0.7, 0.7, (K, 1)))
    problems.rows.append(("days", DENSE, in_time, free.rows[0][3]))
    agree(problems)
    budget = problems.ours()[2].budget[:, 0]
    assert 0.2 < (budget == "days").mean() < 0.8


TWO_OR_MORE = ("max_params", "max_tokens", "min_tokens_per_param", "max_tokens_per_param", "min_params", "min_tokens")


@pytest.mark.parametrize("seed", range(5))
def test_constraints_together_agree_with_brute_force(seed):
    """Each problem is held by two to six bounds at once, some of which no run meets."""
    rng = np.random.default_rng(1000 + seed)
    problems = chinchilla_problems(30 + seed, served=seed % 2 == 1)
    if seed >= 3:
        free = chinchilla_problems(30 + seed)
        problems.rows.append(("days", DENSE, free.rows[0][2] * np.exp(rng.normal(-0.5, 0.7, (K, 1))), free.rows[0][3]))
    chosen = rng.permutation(TWO_OR_MORE)[: 2 + seed]
    values = {name: bound(problems, name, rng, 1.0) for name in chosen}
    for low, high in (("min_params", "max_params"), ("min_tokens", "max_tokens"), ("min_tokens_per_param", "max_tokens_per_param")):  # fmt: skip
        if low in values and high in values:
            values[low], values[high] = np.minimum(values[low], values[high]), np.maximum(values[low], values[high])
    problems.bounds = values
    agree(problems, least_feasible=0.2)


def test_repeated_text_agrees_with_brute_force():
    entry = scaling.published("muennighoff2023")
    E, A, B, alpha, beta, Rd, Rn = entry.theta
    rng = np.random.default_rng(3)
    for unique in np.geomspace(1e9, 1e13, 10):
        flops = 0.3 * unique**2 * np.exp(rng.uniform(-4, 6, (K, 1)))  # from a part of the text to tens of epochs

        def reducible(n: Array, d: Array, u: float = unique) -> Array:
            text = np.minimum(u, d)
            fed = (alpha * A / (beta * B)) ** (1 / alpha) * text ** (beta / alpha)
            d_eff = text * (1 + Rd * (1 - np.exp(-(d / text - 1) / Rd)))
            n_fed = np.minimum(n, fed)
            n_eff = n_fed * (1 + Rn * (1 - np.exp(-(n / n_fed - 1) / Rn)))
            return A * n_eff**-alpha + B * d_eff**-beta

        problems = Problems(
            "data_constrained", np.broadcast_to(entry.theta, (K, 7)), reducible,
            [("flops", DENSE, flops, lambda n, c: c / (6 * n))], inputs={"n_unique_tokens": float(unique)},
        )  # fmt: skip
        problems.bounds = {"max_params": np.exp(rng.normal(24, 2, (K, 1)))}
        agree_in_loss(problems)


def agree_in_loss(problems: Problems) -> None:
    """As `agree`, where the optimum may be an edge of the law's own branches: the loss decides, ln N nearly always agrees."""
    log_n, log_d, _ = problems.ours()
    expected, value = problems.brute()
    reached = problems.reducible(np.exp(log_n)[:, None], np.exp(log_d)[:, None])[:, 0]
    assert (reached <= value * (1 + 1e-11)).all()
    assert (np.abs(log_n - expected) < CLOSE).mean() > 0.995


@pytest.mark.parametrize("bits", [3.0, 8.0])
def test_training_in_few_bits_agrees_with_brute_force(bits):
    entry = scaling.published("kumar2024")
    A, alpha, B, beta, _, *gammas = entry.theta
    kept = np.prod([1 - np.exp(-bits / g) for g in gammas])
    flops = np.exp(np.random.default_rng(4).uniform(43, 60, (K, 1)))
    problems = Problems(
        "precision_training", np.broadcast_to(entry.theta, (K, len(entry.theta))),
        lambda n, d: A * (kept * n) ** -alpha + B * d**-beta, [("flops", DENSE, flops, lambda n, c: c / (6 * n))],
        inputs={"bits_weights": bits, "bits_activations": bits, "bits_kv_cache": bits},
    )  # fmt: skip
    problems.bounds = {"max_params": bound(problems, "max_params", np.random.default_rng(5))}
    agree(problems)


def test_a_loss_that_rises_with_tokens_leaves_them_unused():
    """Rounded to 3 bits, a small model is best trained for less than the budget pays for."""
    entry = scaling.published("kumar2024-post")
    A, alpha, B, beta, _, C_T, g_d, g_n, g_post = entry.theta
    rng = np.random.default_rng(6)
    flops, size = np.exp(rng.uniform(48, 58, (K, 1))), np.exp(rng.uniform(19, 24, (K, 1)))
    problems = Problems(
        "precision_post", np.broadcast_to(entry.theta, (K, len(entry.theta))), lambda n, d: d,
        [("flops", DENSE, flops, lambda n, c: c / (6 * n))], {"max_params": size}, {"bits_post": 3.0},
    )  # fmt: skip
    log_n, log_d, found = problems.ours()
    # two dimensions by brute force: every size below the limit, every number of tokens below what the budget pays for
    left = [np.full((K, 1), np.log(1e6)), np.full((K, 1), np.log(1e6))]
    right = [np.log(size), np.full((K, 1), np.log(1e16))]
    for points in (41, *[13] * 24):
        share = np.linspace(0, 1, points)
        x, y = (a + (b - a) * share for a, b in zip(left, right, strict=True))
        n, d = np.exp(x)[:, :, None], np.exp(y)[:, None, :]
        d = np.minimum(d, flops[:, :, None] / (6 * n))
        loss = A * n**-alpha + B * d**-beta + C_T * d**g_d / n**g_n * np.exp(-3.0 / g_post)
        flat = loss.reshape(K, -1)
        i, j = np.divmod(flat.argmin(axis=1), points)
        for k, (axis, at) in enumerate(((x, i), (y, j))):
            # a margin of two cells: the best run can slide along a valley that is oblique to the axes
            left[k] = np.maximum(left[k], np.take_along_axis(axis, np.maximum(at - 3, 0)[:, None], 1))
            right[k] = np.minimum(right[k], np.take_along_axis(axis, np.minimum(at + 3, points - 1)[:, None], 1))
    ours = (
        A * np.exp(-alpha * log_n) + B * np.exp(-beta * log_d) + C_T * np.exp(g_d * log_d - g_n * log_n - 3.0 / g_post)
    )
    assert (ours <= flat.min(axis=1) * (1 + 1e-10)).all()
    unused = found.budget[:, 0] == ""
    assert 0.2 < unused.mean() < 1
    # where tokens are left, the slope of the loss in them is zero: the paper's critical number of tokens
    critical = np.log(beta * B / (g_d * C_T)) + g_n * log_n + 3.0 / g_post
    assert log_d[unused] == pytest.approx((critical / (g_d + beta))[unused], abs=CLOSE)


def test_a_batch_gives_what_one_at_a_time_gives():
    problems = chinchilla_problems(50)
    log_n, _, _ = problems.ours()
    for k in range(0, K, 100):
        known = type("Known", (), {"law": get("chinchilla"), "theta": problems.theta[k], "of": None})()
        alone = allocate(known, float(problems.rows[0][2][k, 0]))
        assert np.log(alone.n_params[0]) == pytest.approx(log_n[k], abs=1e-9)


def test_long_rows_of_budgets_are_as_exact_as_short_ones():
    problems = chinchilla_problems(51)
    known = type("Known", (), {"law": get("chinchilla"), "theta": problems.theta[:50], "of": None})()
    budgets = np.geomspace(1e18, 1e27, 60)
    best = allocate(known, budgets, constraints=Constraints(max_params=np.array([1e9, 1e12])[:, None, None]))
    _, A, B, alpha, beta = problems.theta[:50].T[..., None]
    closed = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (budgets / 6) ** (beta / (alpha + beta))
    for i, most in enumerate((1e9, 1e12)):
        expected = np.log(np.minimum(closed, most))
        inside = expected > 0  # a size below one parameter is the end of the search
        assert np.abs(np.log(best.n_params[i]) - expected)[inside].max() < 1e-8


def test_two_budgets_over_draws_agree_with_one_problem_at_a_time():
    """The way through a table of budgets (crossings of straight lines) and the way through single problems (a bracket)."""
    theta = chinchilla_problems(52).theta[:20]
    known = type("Known", (), {"law": get("chinchilla"), "theta": theta, "of": None})()
    money, in_time = np.geomspace(1e22, 1e25, 30), np.geomspace(2e22, 1e24, 30)
    serving = Lifetime(DENSE, 2e12)
    table = allocate(known, money, compute=serving, limits=[Limit("days", in_time, DENSE)])
    for i in range(20):
        for j in range(0, 30, 3):
            budgets = Budgets(("flops", "days"), (serving, DENSE), (money[None, j : j + 1], in_time[None, j : j + 1]))
            alone = solve(get("chinchilla"), theta[i : i + 1], budgets, Constraints(), {})
            assert np.log(table.n_params[i, j]) == pytest.approx(alone.log_n[0, 0], abs=CLOSE)
            assert table.loss[i, j] == pytest.approx(alone.loss[0, 0], rel=1e-13)
    assert len({str(b) for b in table.budget.ravel()}) >= 2


def test_what_is_infeasible_is_refused_with_the_nearest_run():
    known = type(
        "Known", (), {"law": get("chinchilla"), "theta": np.array([1.8, 480.0, 2100.0, 0.35, 0.37]), "of": None}
    )()
    with pytest.raises(PlanError, match=r"budget of 1e\+20 FLOPs: the least model size and the least number of tokens ask for at least 1e\+10 parameters on 1e\+12 tokens, which take 6e\+22 FLOPs.*find 600 times"):  # fmt: skip
        allocate(known, 1e20, constraints=Constraints(min_params=1e10, min_tokens=1e12))
    with pytest.raises(PlanError, match=r"least model size asks for at least 1e\+10 parameters and the limit on tokens with the least tokens per parameter allows at most 5e\+09"):  # fmt: skip
        allocate(known, 1e23, constraints=Constraints(min_params=1e10, max_tokens=1e11, min_tokens_per_param=20))
    with pytest.raises(PlanError, match="limit 'days' leaves"):
        allocate(
            known, 1e23, constraints=Constraints(n_params=1e10, min_tokens=1e11), limits=[Limit("days", 1e19, DENSE)]
        )
