"""The laws. Adding one is a file beside this one and a line in LAWS."""

from __future__ import annotations

from difflib import get_close_matches

from scaling.errors import LawError
from scaling.laws.after_training import AFTER_TRAINING_LAWS
from scaling.laws.alabdulmohsin import ALABDULMOHSIN_LAWS
from scaling.laws.annealing import ANNEALING, annealing_features, multi_power_law
from scaling.laws.broken_power_law import BROKEN_POWER_LAWS, broken_power_law
from scaling.laws.capacity import KNOWLEDGE_CAPACITY
from scaling.laws.chinchilla import CHINCHILLA
from scaling.laws.data_constrained import DATA_CONSTRAINED
from scaling.laws.distillation import DISTILLATION_LAWS
from scaling.laws.double_descent import DOUBLE_DESCENT_LAWS
from scaling.laws.downstream import DOWNSTREAM_LAWS
from scaling.laws.farseer import FARSEER
from scaling.laws.granularity import FINE_GRAINED_MOE
from scaling.laws.henighan import HENIGHAN_LAWS
from scaling.laws.hestness import HESTNESS_LAWS
from scaling.laws.kaplan import KAPLAN_LAWS
from scaling.laws.law import Coef, Law
from scaling.laws.learning_curve import LEARNING_CURVES
from scaling.laws.mixing import LOSS_TO_LOSS, mixing_law
from scaling.laws.overtraining import OVERTRAINING
from scaling.laws.power_law import POWER_LAWS
from scaling.laws.precision import PRECISION_LAWS
from scaling.laws.reward import REWARD_LAWS
from scaling.laws.rosenfeld import ROSENFELD
from scaling.laws.routed import ROUTED_LAWS
from scaling.laws.sparse_autoencoder import SPARSE_AUTOENCODER_LAWS
from scaling.laws.sparsity import SPARSITY_LAWS
from scaling.laws.transfer import TRANSFER
from scaling.laws.tuning import TUNING_LAWS
from scaling.laws.vocabulary import VOCABULARY_LAWS

LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        CHINCHILLA,
        *KAPLAN_LAWS,
        *POWER_LAWS,
        *HENIGHAN_LAWS,
        *HESTNESS_LAWS,
        ROSENFELD,
        *ALABDULMOHSIN_LAWS,
        *BROKEN_POWER_LAWS,
        DATA_CONSTRAINED,
        OVERTRAINING,
        *ROUTED_LAWS,
        FINE_GRAINED_MOE,
        *SPARSITY_LAWS,
        *PRECISION_LAWS,
        *VOCABULARY_LAWS,
        *DISTILLATION_LAWS,
        FARSEER,
        *LEARNING_CURVES,
        ANNEALING,
        *DOWNSTREAM_LAWS,
        LOSS_TO_LOSS,
        *AFTER_TRAINING_LAWS,
        *TUNING_LAWS,
        *SPARSE_AUTOENCODER_LAWS,
        *REWARD_LAWS,
        TRANSFER,
        KNOWLEDGE_CAPACITY,
        *DOUBLE_DESCENT_LAWS,
    )
}

# families whose members depend on more than a name
_MADE = {
    "multi_power": "multi_power_law(schedules), for the learning-rate schedules of the runs",
    "mixing": "mixing_law(shares), for the share columns of the runs",
    "bnsl": "broken_power_law(n_breaks), for any number of breaks",
    "efficiency": "efficiency.efficiency_law(n_groups), for groups of runs that share exponents",
}


def get(name: str) -> Law:
    """A law by name; LawError with the nearest names when there is none."""
    if name in LAWS:
        return LAWS[name]
    if name in _MADE:
        raise LawError(f"the law {name!r} is made by scaling.laws.{_MADE[name]}.")
    near = get_close_matches(name, LAWS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(LAWS)}."
    raise LawError(f"no law is called {name!r}; {hint}")


__all__ = ["LAWS", "Coef", "Law", "annealing_features", "broken_power_law", "get", "mixing_law", "multi_power_law"]
