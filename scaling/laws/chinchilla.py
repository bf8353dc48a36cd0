"""Loss as an irreducible floor, a model-size term and a data term."""

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split


def _loss(x: Inputs, theta: Array) -> Array:
    E, A, B, alpha, beta = split(theta)
    return E + A * np.exp(-alpha * np.log(x["n_params"])) + B * np.exp(-beta * np.log(x["n_tokens"]))


def _jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    E, A, B, alpha, beta = split(theta)
    log_n, log_d = np.log(x["n_params"]), np.log(x["n_tokens"])
    # filled in place: this is the innermost line of every fit of this law
    jac = np.empty((5, *np.broadcast_shapes(E.shape, log_n.shape)))
    jac[0] = 1.0
    np.exp(np.multiply(-alpha, log_n, out=jac[1]), out=jac[1])
    np.exp(np.multiply(-beta, log_d, out=jac[2]), out=jac[2])
    np.multiply(A, jac[1], out=jac[3])
    np.multiply(B, jac[2], out=jac[4])
    loss = jac[3] + jac[4]
    loss += E
    jac[3] *= -log_n
    jac[4] *= -log_d
    return loss, np.moveaxis(jac, 0, -1)


def _second(x: Inputs, theta: Array, weights: Array) -> Array:
    _, A, B, alpha, beta = split(theta)
    out = np.zeros((*weights.shape[:-1], 5, 5))
    for scale, power, coef, exponent, column in ((1, 3, A, alpha, "n_params"), (2, 4, B, beta, "n_tokens")):
        log_x = np.log(x[column])
        term = np.exp(-exponent * log_x)
        term *= weights
        term *= log_x
        out[..., scale, power] = out[..., power, scale] = -term.sum(-1)
        out[..., power, power] = coef[..., 0] * (term * log_x).sum(-1)
    return out


CHINCHILLA = Law(
    name="chinchilla",
    title="Chinchilla (Hoffmann et al., approach 3)",
    equation="L(N, D) = E + A / N^alpha + B / D^beta",
    latex=r"L(N, D) = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}",
    inputs=("n_params", "n_tokens"),
    coefs=(
        Coef("E", "irreducible loss [target unit]", starts=(0.1, 5.0)),
        Coef("A", "model-size term at N = 1 [target unit]", starts=(1e0, 1e6)),
        Coef("B", "data term at D = 1 [target unit]", starts=(1e0, 1e6)),
        Coef("alpha", "model-size exponent", starts=(0.05, 1.5)),
        Coef("beta", "data exponent", starts=(0.05, 1.5)),
    ),
    linear=("E", "A", "B"),
    formula=_loss,
    jacobian=_jacobian,
    second=_second,
    derived={
        "a": lambda theta: theta[..., 4] / (theta[..., 3] + theta[..., 4]),  # N_opt grows like C^a
        "b": lambda theta: theta[..., 3] / (theta[..., 3] + theta[..., 4]),  # D_opt grows like C^b
    },
    domain="dense language models, single epoch, tuned and annealed to the run's own length",
    source="Hoffmann et al. 2022, arXiv:2203.15556, eq. 2",
)
