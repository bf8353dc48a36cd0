"""The nine learning-rate schedules of the lr-schedule-curves data, step by step, as its README describes them."""

from __future__ import annotations

import numpy as np

PEAK, END, WARMUP = 3e-4, 3e-5, 2160


def schedule(name: str) -> np.ndarray:
    """Learning rate of every step, from step 0."""
    kind, *numbers = name.split("_")
    if kind == "wsdcon":
        after = np.full(16000, PEAK)
        after[8000:] = int(numbers[0]) * 1e-5
        steps = np.arange(16000)
    else:
        steps = np.arange(int(numbers[-1]))
        after = np.full(len(steps), PEAK)
    if kind == "cosine":
        done = (steps - WARMUP) / (len(steps) - WARMUP)
        after = END + 0.5 * (PEAK - END) * (1 + np.cos(np.pi * done))
    if kind in ("wsd", "wsdld"):
        done = np.clip((steps - int(numbers[0])) / (len(steps) - int(numbers[0])), 0, 1)
        after = PEAK * (END / PEAK) ** done if kind == "wsd" else PEAK + (END - PEAK) * done
    return np.where(steps < WARMUP, PEAK * steps / WARMUP, after)
