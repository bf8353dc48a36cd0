"""What a planned run needs: memory and layout, settings by the published laws, other sizes, and what others trained."""

from __future__ import annotations

from scaling.training.known_runs import KNOWN_RUNS, KnownRun, beside_known
from scaling.training.known_shapes import KNOWN_SHAPES, KnownShape, known_shape
from scaling.training.memory import HEADROOM, PRECISIONS, Layout, Memory, Precision, layout, memory, serving_memory
from scaling.training.settings import Settings, Suggestion, settings
from scaling.training.trade_off import TradeOff, trade_off

__all__ = [
    "HEADROOM", "KNOWN_RUNS", "KNOWN_SHAPES", "PRECISIONS", "KnownRun", "KnownShape", "Layout", "Memory", "Precision", "Settings",
    "Suggestion", "TradeOff", "beside_known", "known_shape", "layout", "memory", "serving_memory", "settings", "trade_off",
]  # fmt: skip
