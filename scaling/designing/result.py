"""What a design returns: the runs, what they are worth, and what the design cannot see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.quantities import format_quantity

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "scaling.design/1"
WORDS = {"n_params": "best model size", "tokens_per_param": "best tokens per parameter", "loss": "loss"}


@dataclass(frozen=True)
class Caveat:
    """Something a design cannot see or that limits it; `code` is stable, `message` a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class Design:
    """Runs to do next and what they are worth.

    runs : one row per configuration: n_params, n_tokens, tokens_per_param, flops (of one run), count, beyond (True outside
        the sizes, tokens or compute of the runs done).
    quantity, target, level : the band is of `quantity` at `target` FLOPs, at `level`.
    width_now, width_then : the band, high / low, before and as promised after the runs; then_range : 10 to 90 % of the
        promise over what the coefficients may be. floor : the part of every width, high / low, that no run removes.
    repeats : how many times over the runs done cost as much; width_repeated : what repeating them so often would give; repeat_flops : what repeating them would cost
        to be as narrow as `width_then`. All None where the runs are not at hand, and repeat_flops is infinite where
        repeating never gets there.
    kind : "free" or "isoflop". spend : compute at hand [FLOPs]. largest : the dearest single run allowed [FLOPs].
    """

    runs: pd.DataFrame
    kind: str
    quantity: str
    target: float
    level: float
    width_now: float
    width_then: float
    then_range: tuple[float, float]
    floor: float
    repeats: float | None
    width_repeated: float | None
    repeat_flops: float | None
    spend: float
    largest: float
    caveats: tuple[Caveat, ...]

    @property
    def flops(self) -> float:
        """What the runs take together."""
        return float((self.runs["flops"] * self.runs["count"]).sum())

    @property
    def share_beyond(self) -> float:
        """Share of the compute in runs outside the sizes, tokens or compute of the runs done."""
        return float((self.runs["flops"] * self.runs["count"])[self.runs["beyond"]].sum() / self.flops)

    @property
    def finding(self) -> str:
        """One sentence: what the runs cost and what they should bring."""
        return (
            f"{int(self.runs['count'].sum())} runs for {self.flops:.3g} FLOPs should narrow the {self.level:.0%} band of the "
            f"{WORDS[self.quantity]} at {self.target:.3g} FLOPs from {band_words(self.width_now)} to {band_words(self.width_then)}."
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON document (`scaling.design/1`)."""
        finite = self.repeat_flops is not None and np.isfinite(self.repeat_flops)
        return {
            "schema": SCHEMA,
            "finding": self.finding,
            "kind": self.kind,
            "quantity": self.quantity,
            "target_flops": self.target,
            "level": self.level,
            "width_now": self.width_now,
            "width_then": self.width_then,
            "width_then_range": list(self.then_range),
            "width_floor": self.floor,
            "repeats": self.repeats,
            "width_repeated": self.width_repeated,
            "repeat_flops": self.repeat_flops if finite else None,
            "spend_flops": self.spend,
            "flops": self.flops,
            "largest_flops": self.largest,
            "share_beyond": self.share_beyond,
            "runs": [
                {k: (bool if k == "beyond" else int if k == "count" else float)(v) for k, v in row.items()}
                for row in self.runs.to_dict("records")
            ],
            "caveats": [{"code": c.code, "message": c.message} for c in self.caveats],
        }  # fmt: skip

    def __str__(self) -> str:
        rows = [("params", "tokens", "tok/param", "FLOPs each", "runs", "")]
        for r in self.to_dict()["runs"]:
            rows.append(
                (
                    format_quantity(r["n_params"]), format_quantity(r["n_tokens"]), f"{r['tokens_per_param']:.3g}", f"{r['flops']:.3g}",
                    str(r["count"]), "beyond the runs done" if r["beyond"] else "",
                )
            )  # fmt: skip
        wide = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = [self.finding, ""]
        lines += ["  " + "  ".join([*(row[i].rjust(wide[i]) for i in range(5)), row[5]]).rstrip() for row in rows]
        lines.append("")
        if self.width_repeated is not None and self.repeat_flops is not None:
            cost = (
                f"{self.repeat_flops:.3g} FLOPs ({self.repeat_flops / self.flops:.2g} times as much) to get as far"
                if np.isfinite(self.repeat_flops)
                else "more than any compute to get as far"
            )
            lines.append(
                f"Repeating all runs done {self.repeats:.3g} times over costs the same and would give {band_words(self.width_repeated)}; it takes {cost}."
            )
        lines.append(
            f"Over what the coefficients may be, the promise lies between {band_words(self.then_range[0])} and {band_words(self.then_range[1])}."
        )
        return "\n".join([*lines, *(f"note ({c.code}): {c.message}" for c in self.caveats)])

    __repr__ = __str__


@dataclass(frozen=True)
class Ladder:
    """How large the next runs must be for a band: `status`, the `design` that reaches it or comes nearest, and why.

    status : "reached"; "floor" when the errors that no run removes are wider than the wanted band; "out_of_reach" when
        even runs worth the `limit` FLOPs are not enough; "already" when the band is as narrow now.
    wanted : the band, high / low. spend : FLOPs needed, 0 when already there, None when never.
    """

    status: str
    message: str
    wanted: float
    quantity: str
    target: float
    level: float
    spend: float | None
    limit: float
    design: Design | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON document (`scaling.ladder/1`)."""
        return {
            "schema": "scaling.ladder/1",
            "status": self.status,
            "message": self.message,
            "wanted_width": self.wanted,
            "quantity": self.quantity,
            "target_flops": self.target,
            "level": self.level,
            "spend_flops": self.spend,
            "limit_flops": self.limit,
            "design": None if self.design is None else self.design.to_dict(),
        }

    def __str__(self) -> str:
        return self.message if self.design is None else f"{self.message}\n\n{self.design}"

    __repr__ = __str__


def band_words(width: float) -> str:
    """A band in words: '+-12 %' where it is narrow, 'a factor of 3.1 from end to end' where it is wide."""
    half = np.sqrt(width) - 1
    return f"+-{100 * half:.2g} %" if half < 0.5 else f"a factor of {width:.3g} from end to end"
