"""How sure each number is: intervals without resampling, profiles, resampling; which runs decide, how far it reaches."""

from scaling.uncertainty.bootstrap import bca, bootstrap, jackknife
from scaling.uncertainty.influence import best_size, influence, outliers
from scaling.uncertainty.intervals import Interval, draws, interval
from scaling.uncertainty.profile import profile
from scaling.uncertainty.reach import Drift, distance, drift, held_out_errors
from scaling.uncertainty.table import intervals_table

__all__ = [
    "Drift", "Interval", "bca", "best_size", "bootstrap", "distance", "draws", "drift", "held_out_errors", "influence",
    "interval", "intervals_table", "jackknife", "outliers", "profile",
]  # fmt: skip
