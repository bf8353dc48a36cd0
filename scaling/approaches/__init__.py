"""Chinchilla's approaches 1 and 2: the optimum read off the runs, without a law of the whole loss surface."""

from __future__ import annotations

from scaling.approaches.envelope import Envelope, envelope
from scaling.approaches.isoflop import IsoFlop, isoflop, parabola_bias

__all__ = ["Envelope", "IsoFlop", "envelope", "isoflop", "parabola_bias"]
