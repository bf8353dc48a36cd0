"""From runs to coefficients: objectives, the batched solver, results."""

from scaling.fitting.document import load_fit
from scaling.fitting.engine import fit
from scaling.fitting.objective import OBJECTIVES, AbsoluteError, Asymmetric, Huber, Objective, Squared
from scaling.fitting.result import FitResult, FitStatus, FitWarning

__all__ = [
    "OBJECTIVES",
    "AbsoluteError",
    "Asymmetric",
    "FitResult",
    "FitStatus",
    "FitWarning",
    "Huber",
    "Objective",
    "Squared",
    "fit",
    "load_fit",
]
