"""Which law? Laws judged on the same runs, above all by how well they predict scales they were not shown."""

from __future__ import annotations

from scaling.selection.compare import compare
from scaling.selection.result import Comparison, LawScore

__all__ = ["Comparison", "LawScore", "compare"]
