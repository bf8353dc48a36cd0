"""How sure each number is: intervals without resampling, profiles, and resampling."""

from scaling.uncertainty.bootstrap import bca, bootstrap, jackknife
from scaling.uncertainty.intervals import Interval, draws, interval
from scaling.uncertainty.profile import profile

__all__ = ["Interval", "bca", "bootstrap", "draws", "interval", "jackknife", "profile"]
