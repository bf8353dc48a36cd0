"""How sure each number is."""

from scaling.uncertainty.bootstrap import bootstrap
from scaling.uncertainty.intervals import Interval, draws, interval

__all__ = ["Interval", "bootstrap", "draws", "interval"]
