"""A batch of fitting problems: rows of weights over shared or padded points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.laws.law import Array


@dataclass(frozen=True)
class Problem:
    """Inputs, target and weights of a batch of fits.

    x : each input (n,) when all rows share the points, or (B, n) when each row (a group) has its own, padded.
    y : target, (n,) or (B, n) likewise.
    weights : (B, n), how much each point counts in each row; 0 is absent (padding, a held-out fold), 2 is drawn twice.
    """

    x: dict[str, Array]
    y: Array
    weights: Array

    @property
    def n_rows(self) -> int:
        return self.weights.shape[0]

    @property
    def n_points(self) -> int:
        return self.weights.shape[1]

    def take(self, rows: Array | slice) -> Problem:
        """The problem restricted to some rows; shared points stay shared."""
        return Problem(
            {k: v if v.ndim == 1 else v[rows] for k, v in self.x.items()},
            self.y if self.y.ndim == 1 else self.y[rows],
            self.weights[rows],
        )

    def repeat(self, rows: Array) -> Problem:
        """Alias of take for row indices that may repeat (several starts of one problem)."""
        return self.take(rows)

    @property
    def n_used(self) -> Array:
        """(B,) points with positive weight."""
        return np.count_nonzero(self.weights, axis=-1)
