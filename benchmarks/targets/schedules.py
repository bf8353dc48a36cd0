"""Loss curves under nine learning-rate schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scaling.fitting import fit
from scaling.laws import annealing_features, multi_power_law
from scaling.laws.law import Array
from targets.rows import README, Row, against, coefs_of, huber, read, rows_of


def schedule_of(name: str) -> Array:
    """Learning rate of every step of a schedule of lr-schedule-curves, as its README describes it."""
    peak, end, warmup = 3e-4, 3e-5, 2160
    kind, *numbers = name.split("_")
    steps = np.arange(16000 if kind == "wsdcon" else int(numbers[-1]))
    after = np.full(len(steps), peak)
    if kind == "wsdcon":
        after[8000:] = int(numbers[0]) * 1e-5
    elif kind == "cosine":
        after = end + 0.5 * (peak - end) * (1 + np.cos(np.pi * (steps - warmup) / (len(steps) - warmup)))
    elif kind in ("wsd", "wsdld"):
        done = np.clip((steps - int(numbers[0])) / (len(steps) - int(numbers[0])), 0, 1)
        after = peak * (end / peak) ** done if kind == "wsd" else peak + (end - peak) * done
    return np.where(steps < warmup, peak * steps / (warmup - 1), after)  # the last step of the warm-up is at the peak


FITTED_ON = ("cosine_24000", "constant_24000", "wsdcon_9")
MEASURES = ("R2", "MAE", "RMSE", "mean relative error", "worst relative error")
LUO = {
    "25M": ((3.04045406, 0.52468604, 0.50786857, 363.78751622, 2.06560812, 0.58279013, 0.64142257), (0.9988, 0.00376, 0.00465, 0.00110, 0.00409)),
    "100M": ((2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199, 0.65523644), (0.9983, 0.00435, 0.00592, 0.00142, 0.00583)),
}  # fmt: skip


def _loss_curves(folder: Path) -> pd.DataFrame:
    runs = read(folder, "lr-schedule-curves")
    return runs[(runs["step"] < 24000) | ~runs["schedule"].str.contains("24000")]  # the authors drop later steps


def _schedule_errors(curves: pd.DataFrame, group: str, theta: Any) -> Array:
    """The five measures, averaged over the six curves that were not fitted."""
    names = sorted(set(curves["schedule"]) - set(FITTED_ON))
    law = multi_power_law([schedule_of(n) for n in names], max_nodes=4000)  # nearly every step of its own
    measures = []
    for i, schedule in enumerate(names):
        runs = curves[(curves["schedule"] == schedule) & (curves["group"] == group)]
        y = runs["loss"].to_numpy()
        miss = law.predict({"schedule": np.full(len(runs), i), "step": runs["step"].to_numpy()}, np.asarray(theta)) - y
        share = np.abs(miss) / y
        r2 = 1 - (miss @ miss) / ((y - y.mean()) ** 2).sum()
        measures.append([r2, np.abs(miss).mean(), np.sqrt(np.mean(miss**2)), share.mean(), share.max()])
    return np.mean(measures, axis=0)


def lr_schedules(folder: Path) -> list[Row]:
    """Luo et al. 2025, table 2: errors on unseen schedules at the printed coefficients."""
    name, out = "lr-schedule-curves", []
    curves = _loss_curves(folder)
    for group, (theta, printed) in LUO.items():
        for what, target, ours in zip(MEASURES, printed, _schedule_errors(curves, group, theta), strict=True):
            half = 5.1e-5 if what == "R2" else 5.5e-6
            out.append(Row(name, f"{group}, printed coefficients: {what}", target, ours, "abs", half, "half of the last digit"))  # fmt: skip
    return out


def lr_schedules_fitted(folder: Path) -> list[Row]:
    """The same from our own fit of the three curves, and the simpler law of Tissue et al. on the same curves."""
    name, out = "lr-schedule-curves", []
    curves = _loss_curves(folder)
    law = multi_power_law([schedule_of(n) for n in FITTED_ON], max_nodes=50)
    for group, (theta, printed) in LUO.items():
        parts = []
        for i, schedule in enumerate(FITTED_ON):
            runs = curves[(curves["schedule"] == schedule) & (curves["group"] == group)]
            total, annealed = (f[runs["step"]] for f in annealing_features(schedule_of(schedule)))
            parts.append(runs.assign(schedule=float(i), lr_sum=total, lr_annealed=annealed))
        table = pd.concat(parts, ignore_index=True)
        result = fit(law, table, "hoffmann")
        out.append(Row(name, f"{group}: objective of the fitted curves", huber(law, table, theta), float(result.objective_value), "at most", 0, "lower is better"))  # fmt: skip
        ours = _schedule_errors(curves, group, result.theta)
        for at, slack, why in (
            (1, 0.25, "a better fit of three curves is not a better forecast of six others: theirs stopped far above the optimum"),
            (4, 0.0, "lower is better"),
        ):  # fmt: skip
            out.append(Row(name, f"{group}, our coefficients, unseen schedules: {MEASURES[at]}", printed[at], ours[at], "at most", slack, why))  # fmt: skip
        if group == "25M":
            tissue = coefs_of(fit("annealing", table, "hoffmann"))
            refit = {"L0": 3.1583, "A": 0.5136, "alpha": 0.5134, "C": 0.4019}
            out += rows_of(name, against(tissue, refit, f"{group}, annealing law: "), "rel", 1e-3, "four digits printed", origin=README)  # fmt: skip
    return out
