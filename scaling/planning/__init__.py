"""From a budget in FLOPs, accelerators and days, money, energy, a wanted loss or score, to the run to train and its cost."""

from __future__ import annotations

from scaling.planning.advice import Advice, advise
from scaling.planning.document import SCHEMA
from scaling.planning.make import plan
from scaling.planning.result import Band, Hardware, Plan, Price, Repeats, Step, Warned
from scaling.planning.spread import Spread, average, plan_each

__all__ = [
    "SCHEMA", "Advice", "Band", "Hardware", "Plan", "Price", "Repeats", "Spread", "Step", "Warned", "advise", "average", "plan", "plan_each",
]  # fmt: skip
