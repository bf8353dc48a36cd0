"""What a careful reader of the logs would say: schedules, resumed and thinned curves, divergence, unfinished runs, units."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.logs import curves
from scaling.logs.account import Account, count_rows
from scaling.logs.schema import SCALES, squash
from scaling.quantities import quote

_LARGEST_VOCABULARY = 2**18  # a loss above its log is worse than guessing among all tokens
# What configurations call the length of the schedule, in steps of the optimiser.
_PLANNED = {"plannedsteps", "maxsteps", "numtrainsteps", "totalsteps", "trainiters", "maxiters", "trainernumtrainsteps"}
_DIVERGED = 1.0  # nats above the curve's own lowest loss: no noise of a held-out loss


def note_curves(runs: pd.DataFrame, keys: np.ndarray, order: np.ndarray, final: bool, account: Account) -> None:
    """Note curves without steps, steps logged twice, exports that leave points out, and names that several runs share."""
    by = curves.ordered_by(runs)
    several = len(np.unique(keys)) < len(keys)
    if several and by != "step" and final:
        account.note(
            "curves_without_step",
            f"there is no step column: of the rows of one run the last {f'by {by}' if by else 'in the file'} counts; "
            "if each row is a run of its own, give them names of their own",
        )
    if by == "step" and (double := curves.repeated_steps(keys, order)):
        account.note(
            "repeated_steps",
            f"{count_rows(double)} {'repeats' if double == 1 else 'repeat'} a step of their run (resumed?); the later row counts",
        )
    if several and (thin := curves.thinned(keys)):
        account.note(
            "thinned_curve",
            f"{thin} of {len(np.unique(keys))} curves have exactly 500, 1,000 or 10,000 points: exports of that length leave points out",
        )
    names = len(set(runs["run"]))
    if names < len(np.unique(keys)):
        account.note(
            "run_not_unique",
            f"{names} run names stand for {len(np.unique(keys))} trainings, told apart by n_params and seed",
        )


def note_schedule(runs: pd.DataFrame, keys: np.ndarray, order: np.ndarray, final: bool, account: Account) -> None:
    """Say what a learning rate that was logged along the curves means, and with `final` keep its peak, which is what lr means."""
    if "lr" not in runs or curves.ordered_by(runs) != "step" or runs["lr"].dtype.kind != "f":
        return
    rising, falling, peaks = curves.phases(keys, order, runs["lr"].to_numpy(dtype=float))
    if not (rising.any() or falling.any()):
        return
    if final:
        runs["lr"] = peaks
        account.note("lr_peak", "lr changes along the curves; each run's largest was taken")
        return
    if rising.any():
        account.note(
            "warm_up", f"{count_rows(int(rising.sum()))} before lr reached its peak: the warm-up, on no scaling law"
        )
    if falling.any():
        account.note(
            "mid_run_points",
            f"{count_rows(int(falling.sum()))} of decaying schedules before their end: not the final losses of shorter runs",
        )


def note_rises(runs: pd.DataFrame, keys: np.ndarray, last: np.ndarray, target: str, account: Account) -> None:
    """Name the runs whose loss ends far above its own lowest: they diverged without a nan, and no row says so."""
    if target != "loss" or len(last) == len(runs):
        return
    loss = runs["loss"].to_numpy(dtype=float)
    lowest = np.full(int(keys.max()) + 1, np.inf)
    np.minimum.at(lowest, keys, loss)
    rises = last[loss[last] > lowest[keys[last]] + _DIVERGED]
    if len(rises):
        shown = ", ".join(
            f"{quote(runs['run'].iloc[i], 60)} ({lowest[keys[i]]:.4g}, then {loss[i]:.4g})" for i in rises[:3]
        )
        account.note(
            "rises",
            f"the loss of {len(rises)} of {len(last)} runs ends more than {_DIVERGED:g} above its lowest (diverged?): {shown}"
            f"{', ...' if len(rises) > 3 else ''}; they are kept",
        )


def finished(last: pd.DataFrame, unfinished: bool | None, account: Account) -> np.ndarray:
    """(runs,) bool: runs to keep, given the last row of each. Those that stopped before the planned end of their schedule
    are mid-run points: left out unless `unfinished` is True, or None and no run finished."""
    everything = np.ones(len(last), dtype=bool)
    names = [c for c in last if squash(str(c)) in _PLANNED and last[c].dtype.kind in "fiu"]
    counts_calls = (
        account.mapping.get("step", {}).get("column") == "_step"
    )  # W&B's log calls, not steps of the optimiser
    if "step" not in last or not names or (counts_calls and "planned_steps" not in names):
        return everything
    name = "planned_steps" if "planned_steps" in names else names[0]
    step, planned = (last[c].to_numpy(dtype=float) for c in ("step", name))
    early = step < 0.99 * planned - 1  # counted from zero or one; the last hundredth of a schedule moves no loss
    if not early.any():
        return everything
    shown = [
        f"{quote(run, 60)} (step {done:,.0f} of {of:,.0f})"
        for run, done, of in zip(last["run"][early].tolist()[:3], step[early], planned[early], strict=False)
    ]
    many = int(early.sum())
    if unfinished or (unfinished is None and early.all()):
        stopped = f"{many} of {len(last)} runs stopped" if len(last) > 1 else "the run stopped"
        account.note(
            "unfinished",
            f"{stopped} before the planned end: {', '.join(shown)}{', ...' if many > 3 else ''}; "
            "under a decaying schedule that is no final loss",
        )
        return everything
    if early.all():
        raise RunsError(
            f"No run reached the planned end of its schedule: {', '.join(shown)}; to use them all the same, say unfinished=True."
        )
    account.drop("unfinished", "its run stopped before the planned end of its schedule", many, shown, warn=True)
    return ~early


def note_values(runs: pd.DataFrame, target: str, unit: str, account: Account) -> None:
    """Note losses too large for nats per token, and runs of which no scale is known."""
    if target == "loss" and unit in ("nats", "bits") and len(runs):
        largest = float(runs["loss"].max())
        if largest > math.log(_LARGEST_VOCABULARY):
            account.note(
                "loss_unit_suspect",
                f"the largest loss, {largest:.4g}, is above {math.log(_LARGEST_VOCABULARY):.3g} nats (guessing among {_LARGEST_VOCABULARY:,} tokens): "
                "it may be in bits or perplexity; if so, say --loss-unit bits or perplexity",
            )
    if not any(c in runs and curves.any_known(runs[c]) for c in SCALES):
        account.note(
            "no_scale",
            "neither n_params, n_tokens nor flops was found: map them with --column, or join them with --meta",
        )
