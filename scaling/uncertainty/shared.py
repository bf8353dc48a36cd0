"""Errors that runs of one budget, seed family or corpus share: a mixed-model view of a fit.

If all runs of a budget were tuned, fed or evaluated alike, their errors are not independent, and an efficient fit is
overconfident. Here each cluster has a random effect with standard deviation tau; its restricted likelihood is averaged
over tau (half-Cauchy prior at the size of the noise) instead of taken at one point, because five to nine clusters
determine tau poorly and a point estimate of zero is common. In simulation this keeps coverage where the sandwich loses
it (docs/intervals.md has the table).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.laws.law import Array

TAU_GRID = np.concatenate([[0.0], np.geomspace(0.02, 20.0, 48)])  # in units of the noise of one run
LEAST_WEIGHT = 0.02  # runs that a robust fit all but ignores keep this much, so that their variance stays finite


@dataclass(frozen=True)
class SharedErrors:
    """Generalised least squares around a fit, averaged over the size of the shared error.

    shift (p,) : how far the averaged estimate lies from the fit, in working coordinates.
    covariance (p, p) : total, between and within values of tau.
    from_shared (p, p) : the part that the clusters' random effect contributes.
    tau : its posterior mean, as a standard deviation of residuals. n_clusters; p_value of tau = 0 (likelihood ratio).
    """

    shift: Array
    covariance: Array
    from_shared: Array
    tau: float
    p_value: float
    n_clusters: int

    def degrees_of_freedom(self, gradient: Array, dof: int) -> Array:
        """Satterthwaite's degrees of freedom (q,) of quantities with gradient (q, p): few clusters, heavy tails."""
        shared = np.einsum("qp,ps,qs->q", gradient, self.from_shared, gradient)
        total = np.maximum(np.einsum("qp,ps,qs->q", gradient, self.covariance, gradient), 1e-300)
        own = np.maximum(total - shared, 0.0)
        return np.minimum(total**2 / (shared**2 / max(self.n_clusters - 2, 1) + own**2 / dof + 1e-300), dof)


def shared_errors(residual: Array, jac: Array, variance: Array, labels: Array) -> SharedErrors:
    """Mixed-model analysis of a fit.

    residual (n,), jac (p, n) derivative of the residual, variance (n,) of each run's own noise (inflated where a robust
    fit down-weights the run), labels (n,) integers of the cluster each run belongs to.
    """
    from scipy.special import chdtrc

    n_clusters = int(labels.max()) + 1
    member = np.zeros((n_clusters, len(residual)))
    member[labels, np.arange(len(residual))] = 1.0
    unit = float(np.median(variance))
    tau2 = TAU_GRID**2 * unit  # (T,)
    rows = np.concatenate([jac, residual[None]])  # (p + 1, n)
    weighted = rows / variance
    plain = weighted @ rows.T  # (p + 1, p + 1): products with the independent part
    sums = weighted @ member.T  # (p + 1, G)
    precision = member @ (1 / variance)  # (G,)
    shrink = tau2[:, None] / (1 + tau2[:, None] * precision)  # (T, G), Woodbury
    products = plain - np.einsum("ag,tg,bg->tab", sums, shrink, sums)
    information, right, square = products[:, :-1, :-1], products[:, :-1, -1], products[:, -1, -1]
    scale = 1 / np.sqrt(np.maximum(np.diagonal(information[0]), 1e-300))
    scaled = information * scale[:, None] * scale
    inverse = np.linalg.pinv(scaled, hermitian=True, rcond=1e-12) * scale[:, None] * scale
    step = -np.einsum("tab,tb->ta", inverse, right)
    _, log_determinant = np.linalg.slogdet(scaled)
    deviance = (
        np.log1p(tau2[:, None] * precision).sum(-1) + log_determinant + square - np.einsum("ta,ta->t", right, -step)
    )
    density = np.exp(-0.5 * (deviance - deviance.min())) / (1 + TAU_GRID**2)
    posterior = density * np.gradient(TAU_GRID)
    posterior /= posterior.sum()
    shift = posterior @ step
    away = step - shift
    covariance = np.einsum("t,tab->ab", posterior, inverse) + np.einsum("t,ta,tb->ab", posterior, away, away)
    # the random effect's part: inverse J'V^-1 Z tau^2 Z'V^-1 J inverse
    through = sums[None, :-1] / (1 + tau2[:, None, None] * precision)  # (T, p, G): J'V^-1 Z
    part = np.einsum("tag,t,tbg->tab", through, tau2, through)
    from_shared = np.einsum("t,tab,tbc,tcd->ad", posterior, inverse, part, inverse)
    ratio = max(float(deviance[0] - deviance.min()), 0.0)
    p_value = 1.0 if ratio == 0 else 0.5 * float(chdtrc(1, ratio))
    return SharedErrors(shift, covariance, from_shared, float(np.sqrt(posterior @ tau2)), p_value, n_clusters)


def cluster_budgets(flops: Array, gap: float = 0.2) -> Array:
    """Labels (n,) of the compute budgets: sorted FLOPs split where ln C jumps by more than `gap`."""
    order = np.argsort(flops, kind="stable")
    jumps = np.diff(np.log(flops[order])) > gap
    labels = np.empty(len(flops), int)
    labels[order] = np.concatenate([[0], np.cumsum(jumps)])
    return labels
