"""Task scores from loss: exponential, logistic between chance and a ceiling, exact match of many tokens; pass rates."""

from __future__ import annotations

from functools import partial

import numpy as np

from scaling.laws.law import Array, Coef, Inputs, Law, split, stack
from scaling.laws.stable import sigmoid


def _exponential(x: Inputs, theta: Array, sign: float) -> Array:
    level, k, gamma = split(theta)
    return level + sign * k * np.exp(-gamma * x["loss"])


def _exponential_jacobian(x: Inputs, theta: Array, sign: float) -> tuple[Array, Array]:
    level, k, gamma = split(theta)
    fall = np.exp(-gamma * x["loss"])
    return level + sign * k * fall, stack(np.ones_like(fall), sign * fall, -sign * k * fall * x["loss"])


_K = Coef("k", "what a loss of zero would gain [target unit]", starts=(0.05, 20.0))
_GAMMA = Coef("gamma", "rate [1/unit of the loss]", starts=(0.1, 5.0))

ERROR_EXPONENTIAL = Law(
    name="error_exponential",
    title="Gadre et al., task error from loss",
    equation="Err(L) = eps - k exp(-gamma L)",
    latex=r"\mathrm{Err}(L) = \epsilon - k\,e^{-\gamma L}",
    inputs=("loss",),
    target="error",
    coefs=(Coef("eps", "error of a model that has learnt nothing", starts=(0.3, 1.0)), _K, _GAMMA),
    linear=("eps", "k"),
    formula=partial(_exponential, sign=-1.0),
    jacobian=partial(_exponential_jacobian, sign=-1.0),
    domain="average of many tasks, one evaluation loss and tokenizer throughout",
    source="Gadre et al. 2024, arXiv:2403.08540, eq. 5",
)
SCORE_EXPONENTIAL = Law(
    name="score_exponential",
    title="Task score from loss, exponential",
    equation="score(L) = floor + k exp(-gamma L)",
    latex=r"\mathrm{score}(L) = c + k\,e^{-\gamma L}",
    inputs=("loss",),
    target="score",
    coefs=(Coef("floor", "score of chance", starts=(0.01, 0.5)), _K, _GAMMA),
    linear=("floor", "k"),
    formula=partial(_exponential, sign=1.0),
    jacobian=partial(_exponential_jacobian, sign=1.0),
    domain="average of many tasks, above chance and below the ceiling; one evaluation loss and tokenizer throughout",
    source="Gadre et al. 2024, arXiv:2403.08540, eq. 5, with score = 1 - Err",
)


def _logistic(x: Inputs, theta: Array) -> Array:
    floor, ceiling, k, L0 = split(theta)
    share = sigmoid(k * (L0 - x["loss"]))
    return floor + (ceiling - floor) * share


def _logistic_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    floor, ceiling, k, L0 = split(theta)
    ahead = L0 - x["loss"]
    share, rest = sigmoid(k * ahead), sigmoid(-k * ahead)
    slope = (ceiling - floor) * share * rest
    return floor + (ceiling - floor) * share, stack(rest, share, slope * ahead, slope * k)


SCORE_SIGMOID = Law(
    name="score_sigmoid",
    title="Task score from loss, from chance to a ceiling",
    equation="score(L) = floor + (ceiling - floor) / (1 + exp(k (L - L0)))",
    latex=r"\mathrm{score}(L) = c + \frac{u - c}{1 + e^{k (L - L_0)}}",
    inputs=("loss",),
    target="score",
    coefs=(
        Coef("floor", "score of chance", starts=(0.0, 0.5), lower=-np.inf),
        Coef("ceiling", "score at a loss far below L0", starts=(0.5, 1.0)),
        Coef("k", "steepness [1/unit of the loss]", starts=(0.5, 30.0)),
        Coef("L0", "loss half-way between floor and ceiling [unit of the loss]", starts=(0.2, 5.0)),
    ),
    linear=("floor", "ceiling"),
    formula=_logistic,
    jacobian=_logistic_jacobian,
    derived={"width": lambda theta: 2 * np.log(9.0) / theta[..., 2]},  # loss from 10 % to 90 % of the way
    domain="one task; the loss of the right answer (or of the corpus), one tokenizer throughout; fix floor where chance is known",
    source="Llama 3 2024, arXiv:2407.21783, sec. 3.2.1; OLMo ladder, Bhagia et al. 2024, arXiv:2412.04403, eq. 2",
)


def _exact_match(x: Inputs, theta: Array) -> Array:
    (T,) = split(theta)
    return np.exp(-T * x["loss"])


def _exact_match_jacobian(x: Inputs, theta: Array) -> tuple[Array, Array]:
    score = _exact_match(x, theta)
    return score, stack(-x["loss"] * score)


EXACT_MATCH = Law(
    name="exact_match",
    title="Schaeffer et al., all of T tokens right",
    equation="score(L) = exp(-T L)",
    latex=r"\mathrm{score}(L) = e^{-T L}",
    inputs=("loss",),
    target="score",
    coefs=(Coef("T", "tokens that must all be right [tokens]", starts=(0.5, 50.0)),),
    formula=_exact_match,
    jacobian=_exact_match_jacobian,
    domain="exact match; L is the loss per token of the target itself, errors independent between tokens",
    source="Schaeffer et al. 2023, arXiv:2304.15004, sec. 3",
)


def _pass_rate(x: Inputs, theta: Array, column: str) -> Array:
    k, alpha = split(theta)
    return np.exp(-k * np.exp(-alpha * np.log(x[column])))


def _pass_rate_jacobian(x: Inputs, theta: Array, column: str) -> tuple[Array, Array]:
    k, alpha = split(theta)
    log_x = np.log(x[column])
    power = np.exp(-alpha * log_x)
    rate = np.exp(-k * power)
    return rate, stack(-rate * power, rate * k * power * log_x)


def _passing(name: str, column: str, letter: str, title: str, starts: tuple[float, float], domain: str, source: str) -> Law:  # fmt: skip
    return Law(
        name=name,
        title=title,
        equation=f"score({letter}) = exp(-k {letter}^-alpha)",
        latex=rf"\mathrm{{score}}({letter}) = e^{{-k {letter}^{{-\alpha}}}}",
        inputs=(column,),
        target="score",
        coefs=(
            Coef("k", f"-ln of the score at {letter} = 1", starts=starts),
            Coef("alpha", f"exponent of {letter}", starts=(0.02, 0.6)),
        ),
        formula=partial(_pass_rate, column=column),
        jacobian=partial(_pass_rate_jacobian, column=column),
        domain=domain,
        source=source,
    )


_PASS = "; low rates need enough trials, at least 3 / score for one success"
PASS_RATE_C = _passing(
    "pass_rate_c", "flops", "C", "Pass rate against compute", (1e0, 1e6),
    f"generated answers that can be checked{_PASS}", "GPT-4 technical report 2023, arXiv:2303.08774, sec. 3.2",
)  # fmt: skip
PASS_RATE_N = _passing(
    "pass_rate_n", "n_params", "N", "Hu et al., pass rate against size", (1e0, 1e5),
    f"one recipe at several sizes{_PASS}", "Hu et al. 2023, arXiv:2310.03262, sec. 4 (PassUntil)",
)  # fmt: skip

DOWNSTREAM_LAWS = (ERROR_EXPONENTIAL, SCORE_EXPONENTIAL, SCORE_SIGMOID, EXACT_MATCH, PASS_RATE_C, PASS_RATE_N)
