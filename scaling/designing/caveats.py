"""What a design cannot see or what limits it, each as a code and a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from scaling.designing.local import Local
from scaling.designing.result import Caveat, Design

MOSTLY = 0.9  # of the spend: below it, it is said that some is left
FAR = 30.0  # times the largest run: beyond it the target is called far


def caveats_of(local: Local, made: Design) -> Iterator[Caveat]:
    """Caveats of a design: of the law, of the runs done, of the runs chosen and of what they cost."""
    result = local.result
    yield Caveat(
        "law_error",
        f"the promise holds if {result.law.equation} is the law out to {made.target:.3g} FLOPs: a design narrows the noise, not the "
        "error of the law; plan under other laws too, and give their spread as the floor.",
    )
    for warning in result.warnings:
        if warning.code == "lack_of_fit" or warning.code.startswith("undetermined"):
            yield Caveat(warning.code, f"of the fit: {warning.message}")
    if made.share_beyond > 0:
        yield Caveat(
            "beyond_runs",
            f"{made.share_beyond:.0%} of the compute goes to runs outside the sizes, tokens or compute of the runs done: "
            "that is where they tell most, and where the law and its noise have not been seen.",
        )
    largest = float(made.runs["flops"].max())
    if "flops" in result.domain and (times := made.target / max(result.domain["flops"][1], largest)) > FAR:
        yield Caveat(
            "far_target",
            f"the target is {times:.2g} times the largest run even after these: errors of the law grow with that.",
        )
    if local.tau > 0:
        yield Caveat(
            "shared_error",
            f"runs of one budget seem to share an error (standard deviation {local.tau:.2g}): repeats within a budget do not remove it.",
        )
    if made.flops < MOSTLY * made.spend:
        yield Caveat(
            "unspent",
            f"{1 - made.flops / made.spend:.0%} of the spend is left: the number of runs ({int(made.runs['count'].sum())}) decides, "
            "not the compute; allow more runs, or a larger one.",
        )
    if made.width_repeated is not None and made.repeats is not None and made.width_repeated < made.width_then:
        again = made.repeats * int(result.n_runs)
        if again > made.runs["count"].sum():
            yield Caveat(
                "few_runs",
                f"repeating the runs done, {again:.3g} of them, narrows more than these {int(made.runs['count'].sum())}: the number "
                "of runs decides, not the compute; allow more runs.",
            )
    if made.flops > made.target:
        yield Caveat(
            "dear",
            f"these runs take {made.flops / made.target:.3g} times the compute of the run that they are to decide on: try sizes there instead.",
        )
    if local.slope != 0:
        yield Caveat(
            "noise_trend",
            f"the noise goes as compute to the power {local.slope:.2g}; beyond the runs done it is taken as at their ends.",
        )
    if len(local.c) < 10:
        yield Caveat(
            "few_draws",
            "most draws of the coefficients have no best size at the target: the design rests on few of them.",
        )
    if made.largest > 0.5 * made.spend and largest > 0.5 * made.spend:
        yield Caveat("one_run", "one run takes more than half of the spend: if it fails, most of the money is lost.")
