"""Which runs to do next: the ones that shrink the band of what is to be decided most, for the compute at hand."""

from scaling.designing.make import band_with, design, ladder_for
from scaling.designing.result import Caveat, Design, Ladder

__all__ = ["Caveat", "Design", "Ladder", "band_with", "design", "ladder_for"]
