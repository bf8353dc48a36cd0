"""Where the breaks of a broken power law lie: candidates read off one curve by inserting a break at a time.

With the floor a and the places and widths of the breaks given, ln(y - a) is linear in ln b and in all exponents. On a grid
of floors, places and widths the gain of one more break is then a projection, and the best few are filled in exactly.
"""

from __future__ import annotations

import numpy as np

from scaling.laws.law import Array
from scaling.laws.stable import softplus

PLACES = 33  # of a break, at even steps through the points, and one beyond each end
WIDTHS = np.array([0.02, 0.1, 0.3, 1.0, 3.0, 9.0])  # of a break, in units of the mean spacing of ln x
#: tried below the lowest observation, in units of the observations' range
FLOORS = np.array([-0.1, -0.03, 0.003, 0.03, 0.1, 0.3, 1.0, 3.0])
SHALLOW = 5e-4  # least y - a taken, in units of y: a point below the floor hardly counts
STEEPEST = 30.0  # largest exponent of a candidate: beyond it the points no longer see the power law
PRESELECTED = 1000  # combinations filled in after each break
MOST_POINTS = 64  # of a curve; a longer one is read off the means of neighbours
BEAM = 60  # candidates kept after each break, for each break that there will be
NEAR = (1, 1, 2)  # steps in place, width and floor within which two candidates count as one


def candidates(t: Array, y: Array, weights: Array, n_breaks: int) -> Array:
    """Candidates theta (K, 3 + 3 n_breaks) for one curve, best first by the squared error of ln y.

    t : (n,) logs of the input; y : (n,) positive observations; weights : (n,) positive.
    """
    grid = _Grid(*_thinned(t, y, weights), BEAM * n_breaks)
    floor, breaks = np.arange(len(grid.floors)), np.empty((len(grid.floors), 0), int)
    found: tuple[Array, ...] = grid.fill_in(floor, breaks)
    for _ in range(n_breaks):
        floor, breaks, found = grid.insert(floor, breaks)
    return grid.theta(breaks, found)


def _thinned(t: Array, y: Array, weights: Array) -> tuple[Array, Array, Array]:
    """The curve in the order of t, and if it is long, in weighted means of neighbours (geometric for y)."""
    order = np.argsort(t, kind="stable")
    t, y, weights = t[order], y[order], weights[order]
    if len(t) <= MOST_POINTS:
        return t, y, weights
    first = np.linspace(0, len(t), MOST_POINTS, endpoint=False).astype(int)
    total = np.add.reduceat(weights, first)
    mean_t, mean_log_y = (np.add.reduceat(weights * v, first) / total for v in (t, np.log(y)))
    return mean_t, np.exp(mean_log_y), total


class _Grid:
    """The curve, and on the grid what the linear problem needs."""

    def __init__(self, t: Array, y: Array, weights: Array, n_keep: int) -> None:
        self.t, self.y, self.weights, self.n_keep = t, y, weights, n_keep
        distinct = np.unique(t)
        span = max(float(distinct[-1] - distinct[0]), 1e-3)
        inside = np.interp(np.linspace(0, len(distinct) - 1, PLACES), np.arange(len(distinct)), distinct)
        places = np.concatenate([inside, [distinct[0] - 0.25 * span, distinct[-1] + 0.25 * span]])
        widths = WIDTHS * span / max(len(distinct) - 1, 1)
        self.place, self.width = (v.ravel() for v in np.meshgrid(places, widths, indexing="ij"))
        self.bends = self.width[:, None] * softplus((t - self.place[:, None]) / self.width[:, None])  # (G, n)
        self.floors = np.unique(np.maximum(y.min() - FLOORS * np.ptp(y), 0.03 * y.min()))
        above = np.maximum(y - self.floors[:, None], SHALLOW * y)
        self.roots = np.sqrt(weights) * above / y  # of weights: d ln y = (y - a)/y d ln(y - a)
        self.target = np.log(above) * self.roots
        self.size = self.roots**2 @ (self.bends**2).T  # of each bend at each floor

    def basis(self, breaks: Array) -> Array:
        """What ln(y - a) is linear in: one, ln x and the bend of each break, (K, 2 + j, n)."""
        line = np.broadcast_to(np.stack([np.ones_like(self.t), self.t]), (len(breaks), 2, len(self.t)))
        return np.concatenate([line, self.bends[breaks]], 1)

    def insert(self, floor: Array, breaks: Array) -> tuple[Array, Array, tuple[Array, ...]]:
        """The best distinct candidates with one break more than the parents floor (K,), breaks (K, j)."""
        roots, target = self.roots[floor], self.target[floor]
        q = np.linalg.qr((self.basis(breaks) * roots[:, None]).swapaxes(1, 2))[0]  # (K, n, 2 + j)
        left = target - (q @ (q.swapaxes(1, 2) @ target[..., None]))[..., 0]
        # products of each bend, weighted, with the parent's basis and with what it leaves: (K, G, 2 + j) and (K, G)
        shared = self.bends @ (q * roots[..., None])
        size = self.size[floor]
        rest = size - (shared**2).sum(-1)  # of each bend, what the parent does not have yet
        gain = np.where(rest > 1e-8 * size, ((left * roots) @ self.bends.T) ** 2 / np.maximum(rest, 1e-300), 0.0)
        error = (left**2).sum(-1)[:, None] - gain
        chosen = []
        for k in range(len(self.floors)):  # as many of each floor: the linear error favours some
            mine = np.flatnonzero(floor == k)
            order = np.argsort(error[mine], axis=None, kind="stable")[: PRESELECTED // len(self.floors)]
            chosen.append(mine[order // len(self.place)] * len(self.place) + order % len(self.place))
        parent, point = np.divmod(np.concatenate(chosen), len(self.place))
        floor, breaks = floor[parent], np.sort(np.concatenate([breaks[parent], point[:, None]], 1), 1)
        key = floor  # one number for each candidate: two parents may have the same child
        for j in range(breaks.shape[1]):
            key = key * len(self.place) + breaks[:, j]
        first = np.unique(key, return_index=True)[1]
        floor, breaks = floor[first], breaks[first]
        a, b, slopes, error = self.fill_in(floor, breaks)
        best = _distinct(error, floor, *np.divmod(breaks, len(WIDTHS)), self.n_keep)
        return floor[best], breaks[best], (a[best], b[best], slopes[best])

    def fill_in(self, floor: Array, breaks: Array) -> tuple[Array, ...]:
        """a, b (K,), exponents (K, 1 + j) and squared error of ln y (K,) of candidates floor (K,), breaks (K, j)."""
        y, root_weights = self.y, np.sqrt(self.weights)
        basis = self.basis(breaks)
        scaled = basis * self.roots[floor][:, None]
        norm = np.maximum(np.sqrt((scaled**2).sum(-1)), 1e-300)
        scaled /= norm[..., None]
        gram = scaled @ scaled.swapaxes(1, 2) + 1e-10 * np.eye(basis.shape[1])
        line = np.linalg.solve(gram, scaled @ self.target[floor][..., None])[..., 0] / norm
        line = np.where(np.isfinite(line), line, 0.0)
        # the floor and the amplitude once more, together, for the relative squared error of y itself
        log_power = (line[:, 1:, None] * basis[:, 1:]).sum(1)
        shift = log_power.max(-1)
        power = np.exp(log_power - shift[:, None])
        p, one = power * (root_weights / y), root_weights / y
        pp, p1, oo = (p**2).sum(-1), p @ one, one @ one
        py, oy = p @ root_weights, one @ root_weights
        det = pp * oo - p1**2
        sound = det > 1e-10 * pp * oo
        det = np.where(sound, det, 1.0)
        a, b = (pp * oy - p1 * py) / det, (oo * py - p1 * oy) / det
        no_floor, no_power = (a <= 0) | ~sound, (b <= 0) & sound & (a > 0)
        a = np.where(no_floor, 1e-3 * y.min(), np.where(no_power, oy / oo, a))
        b = np.where(no_floor, py / pp, np.where(no_power, 1e-6 * y.min(), b))
        error = (self.weights * np.log((a[:, None] + b[:, None] * power) / y) ** 2).sum(-1)
        slopes = -line[:, 1:]
        usable = (np.abs(slopes) <= STEEPEST).all(-1) & np.isfinite(error)
        return a, b * np.exp(-shift), slopes, np.where(usable, error, np.inf)

    def theta(self, breaks: Array, found: tuple[Array, ...]) -> Array:
        """Coefficients (K, P), in the order of the law, from grid points and what fill_in found."""
        a, b, slopes = found[:3]
        out = np.empty((len(a), 3 + 3 * breaks.shape[1]))
        out[:, 0], out[:, 1], out[:, 2] = a, b, slopes[:, 0]
        out[:, 3::3], out[:, 4::3], out[:, 5::3] = slopes[:, 1:], np.exp(self.place[breaks]), self.width[breaks]
        return out


def _distinct(error: Array, floor: Array, place: Array, width: Array, n_keep: int) -> Array:
    """Indices of the best candidates of which no two are near one another on the grid."""
    order = np.argsort(error, kind="stable")
    order = order[np.isfinite(error[order])]
    # for each axis and each place on it the candidates near it, as the bits of one integer: sets meet in a single operation
    axes = [*((v, NEAR[0]) for v in place[order].T), *((v, NEAR[1]) for v in width[order].T), (floor[order], NEAR[2])]
    near = [(v.tolist(), _bits_within(v, limit)) for v, limit in axes]
    chosen: list[int] = []
    left = (1 << len(order)) - 1
    while left and len(chosen) < n_keep:
        best = (left & -left).bit_length() - 1
        chosen.append(best)
        close = left
        for at, bits in near:
            close &= bits[at[best]]
        left ^= close
    return order[chosen]


def _bits_within(at: Array, limit: int) -> list[int]:
    """For each place 0, 1, ..: an integer whose k-th bit tells whether at[k] lies within `limit` of it."""
    within = np.abs(at - np.arange(at.max(initial=0) + 1)[:, None]) <= limit
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(within, axis=1, bitorder="little")]
