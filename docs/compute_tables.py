"""Write docs/compute.md, the counts of this package beside what was printed: python docs/compute_tables.py"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from scaling.compute import METHODS, Recomputed
from scaling.hardware import ACCELERATORS
from scaling.training.known_runs import KNOWN_RUNS
from scaling.training.known_shapes import KNOWN_SHAPES
from scaling.training.memory import PRECISIONS, layout

PAGE = Path(__file__).resolve().parent / "compute.md"
HEAD = """# Compute: how well the counts agree with what was printed

Made by `python docs/compute_tables.py`. The tables are tests too: `tests/training/test_known_shapes.py`, `tests/test_compute.py`,
`tests/test_published_plans.py`, `tests/training/test_memory.py`.

`scaling plan --compute NAME` plans under any of the accountings below that has shapes to count, or under the FLOPs that the runs
logged themselves (`--compute logged`); `scaling.plan(compute=...)` takes any of `scaling.compute`.
"""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def sizes() -> str:
    rows = [
        (
            k.name, f"{k.n_params:,.0f}" if k.source == "released checkpoint" else f"{k.n_params:.4g}", f"{k.shape.n_params:,.0f}",
            f"{k.miss:+.1e}" if k.miss else "0", k.source,
        )
        for k in KNOWN_SHAPES.values()
    ]  # fmt: skip
    exact = sum(k.shape.n_params == k.n_params for k in KNOWN_SHAPES.values())
    worst = max(abs(k.miss) for k in KNOWN_SHAPES.values())
    return (
        f"\n## Parameters\n\n{len(rows)} models, {exact} of them to the last parameter; the largest miss is {worst:.2%}, where a paper "
        "rounds.\n\n" + table(("model", "printed", "counted", "miss", "printed in"), rows)
    )


def flops() -> str:
    rows = []
    for run in KNOWN_RUNS.values():
        if run.flops_reported is None:
            continue
        again = Recomputed().flops(run.n_params, run.n_tokens)
        rows.append(
            (
                run.name, f"{run.flops_reported:.4g}", f"{run.flops:.4g}", f"{run.flops / run.flops_reported - 1:+.1%}",
                f"{again / run.flops_reported - 1:+.1%}",
            )
        )  # fmt: skip
    return (
        "\n## Training FLOPs\n\n`6 N D` beside what the authors print. Some print what the hardware executed, activations recomputed "
        "(`8 N D`): BloombergGPT does, and OPT for the 300e9 tokens that it saw, of which the 180e9 taken here were distinct. "
        "Gopher's own figure follows from no count here.\n\n"
        + table(("run", "printed", "6 N D", "miss", "miss of 8 N D"), rows)
    )


def accountings() -> str:
    names = ("Llama 3 8B", "Chinchilla 70B", "Llama 3.1 405B", "Mixtral 8x7B")
    rows = [(name, *(f"{KNOWN_SHAPES[n].shape.flops_per_token(4096, name):.4g}" for n in names)) for name in METHODS]
    text = "\n".join(f"- `{name}`: {m.equation} ({m.source})" for name, m in METHODS.items())
    return (
        "\n## Accountings\n\nTraining FLOPs per token at a context of 4096. A mixture of experts counts what a token uses; the "
        "`deepseek` count takes feed-forward layers of 4 widths, so it is for dense models.\n\n"
        + table(("accounting", *names), rows)
        + f"\n{text}\n"
    )


def hours() -> str:
    rows = [
        (
            run.name, str(run.accelerator), f"{run.gpu_hours:,.0f}", f"{run.utilisation:.1%}",
            "" if run.mfu is None else " to ".join(dict.fromkeys(f"{v:.1%}" for v in run.mfu)),
        )
        for run in KNOWN_RUNS.values()
        if run.gpu_hours is not None
    ]  # fmt: skip
    return (
        "\n## Hours\n\n`6 N D` over hours and dense bf16 peak, beside the model FLOPs utilisation that is stated. The first is lower: "
        "hours include restarts and evaluation (those of Megatron-Turing do not: they follow from its printed seconds a step).\n\n"
        + table(("run", "accelerator", "hours", "from hours", "stated"), rows)
    )


def layouts() -> str:
    rows = []
    for name in ("Llama 3.2 1B", "Llama 3 8B", "Llama 3 70B", "Llama 3.1 405B", "GPT-3 175B", "Qwen3 235B-A22B"):
        for chip in ("A100-SXM-80GB", "H100-SXM", "B200-SXM"):
            found = layout(KNOWN_SHAPES[name].shape, chip, context=4096)
            rows.append(
                (
                    name, chip, f"{found.least:,}", f"{found.tensor} x {found.pipeline} x {found.data}", str(found.sharding), found.recompute,
                    f"{found.memory.total / 1e9:.1f} of {ACCELERATORS[chip].memory / 1e9:.0f}",
                )
            )  # fmt: skip
    return (
        "\n## The smallest number that fits\n\nTraining at a context of 4096, in "
        + PRECISIONS["bf16"].title
        + ", 10 % to spare. "
        "Estimates: no accelerator was asked.\n\n"
        + table(("model", "accelerator", "least", "tensor x pipeline x data", "sharding", "recompute", "GB"), rows)
    )


def page() -> str:
    """The whole document."""
    return HEAD + sizes() + flops() + accountings() + hours() + layouts()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
