"""Train an isoFLOP ladder of small byte-level transformers and log it as `data/ladder/runs.csv`.

Needs Python 3.11 with its full standard library (the text it trains on) and, beyond the package's own
dependencies, PyTorch >= 2.4; made with torch 2.13.0, CPU. PyTorch is not a dependency of the package.

    python data/make/ladder.py corpus                      what text is read: files, bytes, sha256
    python data/make/ladder.py tune  --jobs 2              learning-rate sweep -> data/ladder/lr_sweep.csv
    python data/make/ladder.py train --jobs 2              the ladder          -> data/ladder/runs.csv
    python data/make/ladder.py check                       U shapes, seed noise, a quick Chinchilla fit

Every finished run is one file under data/make/work, so an interrupted command goes on where it stopped.
Larger ladders, on a GPU (bf16) and on more text than the standard library holds:

    python data/make/ladder.py train --device cuda --corpus DIR --budgets 1e14,1e15,1e16 --out big.csv

Counting: n_params includes the embedding, which is tied to the output layer; there are no biases, no norm
gains and no position parameters, so n_params = 256 d + 12 L d^2 and every parameter is used in exactly one
matrix product per token. flops = 6 n_params n_tokens, which leaves out only the attention scores.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
WORK = HERE / "work"
LADDER = HERE.parent / "ladder"

VOCABULARY = 256  # bytes; 0 marks the start of a file
CONTEXT = 128  # bytes predicted per sequence
HELD_OUT_SEQUENCES = 1024  # 131,072 bytes, evenly spaced over the held-out files
EVALUATIONS = 12  # per run, log-spaced
WARM_UP = 0.05  # of the run's steps
FINAL_LR = 0.05  # of the peak, at the end of the cosine
RECIPE = 1  # raise when training changes: finished runs of an older recipe are then not reused

BUDGETS = tuple(10**e for e in (10.5, 11.0, 11.5, 12.0, 12.5))  # FLOPs, half a decade apart
WIDTHS = (8, 10, 12, 14, 16, 18, 20, 22, 24, 28, 32, 36, 40, 44, 48, 52, 56, 64, 72, 80, 88, 96, 104, 112, 128, 144, 160, 192, 224, 256, 320, 384, 512, 640, 768, 1024)  # fmt: skip
SIZES_PER_BUDGET = 7
CENTRE = (3e4, 0.5)  # the middle size of a budget: 3e4 parameters at 1e11 FLOPs, growing as C^0.5
COLUMNS = (
    "run", "step", "n_params", "n_params_non_embedding", "n_tokens", "flops", "train_loss", "loss", "lr",
    "batch_tokens", "seed", "budget", "wall_time_s",
)  # fmt: skip


# --- text -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    train: np.ndarray  # (n_sequences, CONTEXT + 1) uint8; column 0 is only read, columns 1.. are predicted
    held_out: np.ndarray  # (HELD_OUT_SEQUENCES, CONTEXT + 1) uint8
    n_files: int
    n_held_out_files: int
    n_bytes: int
    sha256: str  # of the concatenated training and held-out text

    @property
    def max_tokens(self) -> int:
        return self.train.shape[0] * CONTEXT


def source_files(folders: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each distinct .py file, sorted by path.

    Installed packages and the two files that describe the machine's own build are left out: the rest is the
    same for everyone who has the same Python release. A content met before is skipped: no text is seen twice.
    """
    seen: set[bytes] = set()
    for folder in folders:
        for path in sorted(folder.rglob("*.py"), key=lambda p: p.relative_to(folder).as_posix()):
            name = path.relative_to(folder)
            top = name.parts[0]
            if "site-packages" in name.parts or top.startswith(("_sysconfigdata", "config-", "lib-dynload")):
                continue
            content = path.read_bytes()
            digest = hashlib.sha256(content).digest()
            if content and digest not in seen:
                seen.add(digest)
                yield name.as_posix(), content


@cache
def corpus(folders: tuple[str, ...]) -> Corpus:
    """Text cut into sequences. A file is held out, whole, when the hash of its name says so (1 in 20)."""
    train, held_out = [], []
    for name, content in source_files(map(Path, folders)):
        chosen = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 20 == 0
        (held_out if chosen else train).append(b"\0" + content)
    text, held_text = b"".join(train), b"".join(held_out)
    held = sequences(held_text)
    if len(held) < HELD_OUT_SEQUENCES:
        sys.exit(f"{', '.join(folders)}: too little text ({len(text) + len(held_text):,} bytes of .py files). "
                 "Point --corpus at more; a Python without its 'test' folder still has about 12 MB.")  # fmt: skip
    return Corpus(
        train=sequences(text),
        held_out=held[np.linspace(0, len(held) - 1, HELD_OUT_SEQUENCES).round().astype(int)],
        n_files=len(train) + len(held_out),
        n_held_out_files=len(held_out),
        n_bytes=len(text) + len(held_text),
        sha256=hashlib.sha256(text + held_text).hexdigest(),
    )


def sequences(text: bytes) -> np.ndarray:
    """(n, CONTEXT + 1) windows with stride CONTEXT: each byte is predicted exactly once."""
    stream = np.frombuffer(text, dtype=np.uint8)
    return np.lib.stride_tricks.sliding_window_view(stream, CONTEXT + 1)[::CONTEXT]


# --- which runs -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One training. `lr` is the peak learning rate, `tokens` the length, `sequences` the batch."""

    budget: float
    width: int
    seed: int
    lr: float
    tokens: int
    sequences: int

    @property
    def layers(self) -> int:
        return max(2, round(math.sqrt(self.width) / 3))  # one layer cannot copy from context, so never one

    @property
    def n_params_non_embedding(self) -> int:
        return 12 * self.layers * self.width**2

    @property
    def n_params(self) -> int:
        return VOCABULARY * self.width + self.n_params_non_embedding

    @property
    def steps(self) -> int:
        return max(1, round(self.tokens / (self.sequences * CONTEXT)))

    @property
    def name(self) -> str:
        return f"c{self.budget:.2e}-d{self.width}-l{self.layers}-s{self.seed}".replace("e+", "e")


def plan_run(budget: float, width: int, seed: int, lr: float | LrRule) -> Run:
    """The run that spends `budget` on a model of this width: length from C = 6 N D, batch from the length.

    The batch grows as sqrt(D), 1,024 tokens at D = 1e6: the smallest runs keep more than 200 updates and the
    longest are not held back by noise (the critical batch is known to grow about so with the data seen).
    """
    draft = Run(budget, width, seed, 0.0, 0, 1)
    tokens = round(budget / (6 * draft.n_params))
    batch = max(2, round(8 * math.sqrt(tokens / 1e6)))
    peak = lr(draft.n_params, tokens) if isinstance(lr, LrRule) else lr
    return Run(budget, width, seed, peak, tokens, batch)


@dataclass(frozen=True)
class LrRule:
    """Peak learning rate = scale (N / 1e5)^of_params (D / 1e6)^of_tokens, fitted to a sweep."""

    scale: float
    of_params: float
    of_tokens: float

    def __call__(self, n_params: float, n_tokens: float) -> float:
        lr = self.scale * (n_params / 1e5) ** self.of_params * (n_tokens / 1e6) ** self.of_tokens
        return float(f"{lr:.3g}")


def fit_lr_rule(sweep: list[dict[str, str]]) -> tuple[LrRule, list[dict[str, float]]]:
    """Least squares through the best learning rate of each swept cell (vertex of a parabola in log lr).

    A cell counts when its best rate lies inside its sweep. Returns the rule and the cells it stands on.
    """
    cells: dict[tuple[float, int], list[tuple[float, float, int]]] = {}
    for row in sweep:
        key = (float(row["budget"]), int(row["n_params"]))
        cells.setdefault(key, []).append((float(row["peak_lr"]), float(row["loss"]), int(row["n_tokens"])))
    used = []
    for (budget, n_params), points in sorted(cells.items()):
        points.sort()
        losses = [loss for _, loss, _ in points]
        i = int(np.argmin(losses))
        if not 0 < i < len(points) - 1:
            continue
        x = np.log([lr for lr, _, _ in points[i - 1 : i + 2]])
        a, b, _ = np.polyfit(x - x[1], losses[i - 1 : i + 2], 2)
        best = math.exp(x[1] - b / (2 * a))
        used.append({"budget": budget, "n_params": n_params, "n_tokens": points[i][2], "best_lr": best,
                     "loss": losses[i]})  # fmt: skip
    if len(used) < 4:
        sys.exit(f"the sweep has {len(used)} cells whose best learning rate lies inside; at least 4 are needed.")
    design = [[1, math.log(c["n_params"] / 1e5), math.log(c["n_tokens"] / 1e6)] for c in used]
    (a, b, c), *_ = np.linalg.lstsq(np.array(design), np.log([cell["best_lr"] for cell in used]), rcond=None)
    return LrRule(math.exp(a), b, c), used


# --- training ---------------------------------------------------------------------------------------------


def build(run: Run, device: str) -> Any:
    """Decoder-only transformer: RMSNorm before each block, rotary positions, GELU, tied embedding, no biases."""
    import torch
    import torch.nn.functional as F

    d, heads = run.width, max(1, run.width // 32) if run.width % 32 == 0 else max(1, run.width // 16)
    while d % heads or (d // heads) % 2:
        heads -= 1
    half = d // heads // 2
    angle = torch.outer(torch.arange(CONTEXT), 1000.0 ** -(torch.arange(half) / half))
    cos, sin = angle.cos().to(device), angle.sin().to(device)

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()

            def weight(n_in: int, n_out: int, scale: float = 1.0) -> torch.nn.Parameter:
                return torch.nn.Parameter(torch.randn(n_out, n_in) * scale / math.sqrt(n_in))

            into_stream = 1 / math.sqrt(2 * run.layers)
            self.qkv, self.out = weight(d, 3 * d), weight(d, d, into_stream)
            self.up, self.down = weight(d, 4 * d), weight(4 * d, d, into_stream)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            n, t, _ = x.shape
            q, k, v = F.linear(F.rms_norm(x, (d,)), self.qkv).view(n, t, 3, heads, 2 * half).permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
            x = x + F.linear(attended.transpose(1, 2).reshape(n, t, d), self.out)
            return x + F.linear(F.gelu(F.linear(F.rms_norm(x, (d,)), self.up), approximate="tanh"), self.down)

    def rotate(x: torch.Tensor) -> torch.Tensor:
        a, b = x[..., :half], x[..., half:]
        return torch.cat((a * cos - b * sin, a * sin + b * cos), -1).to(x.dtype)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Parameter(torch.randn(VOCABULARY, d) / math.sqrt(d))
            self.blocks = torch.nn.ModuleList(Block() for _ in range(run.layers))

        def forward(self, text: torch.Tensor) -> torch.Tensor:
            """Mean cross-entropy [nats per byte] of columns 1.. of `text` (n, CONTEXT + 1)."""
            x = F.embedding(text[:, :-1], self.embedding)
            for block in self.blocks:
                x = block(x)
            logits = F.linear(F.rms_norm(x, (d,)), self.embedding)
            return F.cross_entropy(logits.float().flatten(0, 1), text[:, 1:].flatten())

    torch.manual_seed(run.seed)
    model = Model().to(device)
    if sum(p.numel() for p in model.parameters()) != run.n_params:
        raise AssertionError(f"{run.name}: the model does not have the {run.n_params} parameters it is logged with")
    return model


def learning_rate(run: Run, step: int) -> float:
    """Linear warm-up, then a cosine to FINAL_LR of the peak at the run's own last step (step counts from 0)."""
    warm = max(1, round(WARM_UP * run.steps))
    if step < warm:
        return run.lr * (step + 1) / warm
    turn = (step - warm) / max(1, run.steps - 1 - warm)
    return run.lr * (FINAL_LR + (1 - FINAL_LR) * (1 + math.cos(math.pi * turn)) / 2)


def train(run: Run, folders: tuple[str, ...], device: str, threads: int) -> list[dict[str, Any]]:
    """The run's rows, one per evaluation."""
    import torch

    if device == "cpu":
        torch.set_num_threads(threads)
    data = corpus(folders)
    order = np.random.default_rng(run.seed).permutation(len(data.train))  # same order at every size: paired runs
    if run.steps * run.sequences > len(order):
        raise ValueError(f"{run.name} needs {run.tokens:,} bytes, the corpus has {data.max_tokens:,} to train on")
    # one indexed copy, int16 halves no speed and quarters the memory of int64
    text = torch.from_numpy(data.train[order[: run.steps * run.sequences]].astype(np.int16)).to(device)
    held_out = torch.from_numpy(data.held_out.astype(np.int64)).to(device)
    model = build(run, device)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=run.lr, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0, fused=True
    )
    half = torch.autocast(device, torch.bfloat16, enabled=device == "cuda")
    first = max(1, round(0.02 * run.steps))
    evaluate_after = set(np.unique(np.geomspace(first, run.steps, EVALUATIONS).round().astype(int)))

    rows, recent, training_s, started = [], [], 0.0, time.perf_counter()
    for step in range(run.steps):
        lr = learning_rate(run, step)
        for group in optimiser.param_groups:
            group["lr"] = lr
        with half:
            loss = model(text[step * run.sequences : (step + 1) * run.sequences].long())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        recent.append(loss.detach())
        if step + 1 not in evaluate_after:
            continue
        window = [float(value) for value in recent[-50:]]
        training_s += time.perf_counter() - started
        tokens = (step + 1) * run.sequences * CONTEXT
        with torch.no_grad(), half:
            value = float(torch.stack([model(part) for part in held_out.split(64)]).mean())
        rows.append({
            "run": run.name, "step": step + 1, "n_params": run.n_params,
            "n_params_non_embedding": run.n_params_non_embedding, "n_tokens": tokens,
            "flops": f"{6 * run.n_params * tokens:.6e}", "train_loss": f"{sum(window) / len(window):.5f}",
            "loss": f"{value:.5f}", "lr": f"{lr:.4g}", "batch_tokens": run.sequences * CONTEXT, "seed": run.seed,
            "budget": f"{run.budget:.3e}", "wall_time_s": f"{training_s:.2f}",
        })  # fmt: skip
        recent.clear()
        started = time.perf_counter()
    return rows


# --- many runs, kept as they finish -----------------------------------------------------------------------


def kept(run: Run, data_sha256: str, device: str) -> Path:
    """Where a finished run lies: the name carries all that decides its outcome."""
    settings = {**asdict(run), "recipe": RECIPE, "context": CONTEXT, "corpus": data_sha256, "device": device}
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    return WORK / f"{run.name}-{key}.json"


def train_and_keep(run: Run, folders: tuple[str, ...], device: str, threads: int) -> Run:
    rows = train(run, folders, device, threads)
    write_atomically(kept(run, corpus(folders).sha256, device), json.dumps({"run": asdict(run), "rows": rows}))
    return run


def write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def train_all(runs: list[Run], options: argparse.Namespace) -> list[list[dict[str, Any]]]:
    """Rows of every run, in the order given; those finished earlier are read back."""
    data = corpus(options.corpus)
    for run in runs:
        if run.steps * run.sequences > len(data.train):
            sys.exit(f"{run.name} needs {run.tokens:,} bytes and the corpus has {data.max_tokens:,} to train on "
                     "(single epoch). Add text with --corpus, or leave this cell out.")  # fmt: skip
    todo = [run for run in runs if not kept(run, data.sha256, options.device).exists()]
    spent = sum(cost(run) for run in todo)
    done, started = 0.0, time.perf_counter()
    say(f"{len(runs)} runs, {len(runs) - len(todo)} finished earlier; {spent:.2e} FLOPs to go")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        futures = [pool.submit(train_and_keep, run, options.corpus, options.device, options.threads) for run in todo]
        for i, future in enumerate(as_completed(futures), 1):
            run = future.result()
            done += cost(run)
            elapsed = time.perf_counter() - started
            last = json.loads(kept(run, data.sha256, options.device).read_text())["rows"][-1]
            say(f"[{i}/{len(todo)}] {run.name}: loss {last['loss']} at lr {run.lr:.3g}, {run.steps} steps of "
                f"{last['batch_tokens']}, {last['wall_time_s']} s; {elapsed / 60:.1f} min gone, "
                f"about {elapsed * (spent / done - 1) / 60:.1f} min to go")  # fmt: skip
    return [json.loads(kept(run, data.sha256, options.device).read_text())["rows"] for run in runs]


def cost(run: Run) -> float:
    """Work of a run, FLOPs with its evaluations (a forward pass is a third); only for the progress line."""
    return 6 * run.n_params * (run.tokens + EVALUATIONS * HELD_OUT_SEQUENCES * CONTEXT / 3)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[dict[str, Any]]) -> None:
    lines = [",".join(columns)] + [",".join(str(row[c]) for c in columns) for row in rows]
    write_atomically(path, "\n".join(lines) + "\n")


def read_csv(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        sys.exit(f"{path} does not exist yet: make it first (see the top of {Path(__file__).name}).")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- commands ---------------------------------------------------------------------------------------------


def cells(budgets: Iterable[float], most_tokens: int) -> list[tuple[float, int]]:
    """(budget, width) of the ladder: sizes about 1.7 apart around each budget's expected optimum.

    A cell that would read some text twice is moved to the next larger size.
    """
    out = []
    for budget in budgets:
        centre = CENTRE[0] * (budget / 1e11) ** CENTRE[1]
        wanted = centre * 1.7 ** (np.arange(SIZES_PER_BUDGET) - SIZES_PER_BUDGET // 2)
        able = [w for w in WIDTHS if budget / (6 * plan_run(budget, w, 0, 1.0).n_params) < 0.97 * most_tokens]
        sizes = np.log([plan_run(budget, w, 0, 1.0).n_params for w in able])
        chosen: list[int] = []
        for n in np.log(wanted):
            free = [i for i in range(len(able)) if able[i] not in chosen]
            chosen.append(able[min(free, key=lambda i: abs(sizes[i] - n))])
        out += [(budget, width) for width in sorted(chosen)]
    return out


def tune(options: argparse.Namespace) -> None:
    """Train each swept cell at several learning rates."""
    rates = [2e-3 * 2.0**k for k in range(6)]
    runs = [
        plan_run(budget, width, 0, rate)
        for budget, widths in ((10**10.5, (12, 20, 40)), (10**11.5, (24, 56)))
        for width in widths
        for rate in rates
    ]
    rows = [
        {**{c: last[c] for c in ("run", "n_params", "n_tokens", "budget", "loss")}, "peak_lr": f"{run.lr:.4g}"}
        for run, (*_, last) in zip(runs, train_all(runs, options), strict=True)
    ]
    write_csv(LADDER / "lr_sweep.csv", ("run", "n_params", "n_tokens", "budget", "peak_lr", "loss"), rows)
    rule, used = fit_lr_rule(read_csv(LADDER / "lr_sweep.csv"))
    for cell in used:
        say("N {n_params:>9,.0f}  D {n_tokens:>10,.0f}  best lr {best_lr:.2e}  loss {loss:.4f}".format(**cell))
    say(f"peak lr = {rule.scale:.3g} (N / 1e5)^{rule.of_params:.3f} (D / 1e6)^{rule.of_tokens:.3f}")


def ladder(options: argparse.Namespace) -> None:
    """Train every cell with seed 0 and three cells with seed 1, cheapest first; write all evaluations."""
    rule, _ = fit_lr_rule(read_csv(LADDER / "lr_sweep.csv"))
    grid = cells(options.budgets, corpus(options.corpus).max_tokens)
    middle = SIZES_PER_BUDGET // 2
    again = [grid[i * SIZES_PER_BUDGET + middle] for i in (0, len(options.budgets) // 2, len(options.budgets) - 1)]
    runs = [plan_run(b, w, 0, rule) for b, w in grid] + [plan_run(b, w, 1, rule) for b, w in dict.fromkeys(again)]
    runs.sort(key=lambda run: (run.budget, run.n_params, run.seed))
    write_csv(options.out, COLUMNS, [row for rows in train_all(runs, options) for row in rows])


def check(options: argparse.Namespace) -> None:
    """Print each budget's losses and whether they bend up on both sides of the best size."""
    finals: dict[str, dict[str, str]] = {row["run"]: row for row in read_csv(options.out)}
    budgets = sorted({float(row["budget"]) for row in finals.values()})
    for budget in budgets:
        rows = sorted((int(r["n_params"]), float(r["loss"])) for r in finals.values()
                      if float(r["budget"]) == budget and r["seed"] == "0")  # fmt: skip
        losses = [loss for _, loss in rows]
        i = int(np.argmin(losses))
        bent = "U" if 0 < i < len(rows) - 1 else "no U: the best size is at the edge"
        print(f"{budget:.2e}  {bent:3}  " + "  ".join(f"{n:,}: {loss:.4f}" for n, loss in rows))
    for name, row in finals.items():
        if row["seed"] != "0" and (twin := finals.get(name.replace(f"-s{row['seed']}", "-s0"))):
            print(f"seeds  {name}: {float(row['loss']) - float(twin['loss']):+.4f} nats/byte against seed 0")


def describe(options: argparse.Namespace) -> None:
    data = corpus(options.corpus)
    print(f"{data.n_files:,} files, {data.n_bytes:,} bytes, {data.n_held_out_files:,} files held out; "
          f"{data.max_tokens:,} bytes to train on; sha256 {data.sha256}")  # fmt: skip


def main() -> None:
    import sysconfig

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("corpus", "tune", "train", "check"))
    parser.add_argument("--jobs", type=int, default=1, help="runs trained side by side")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--corpus", nargs="+", default=(sysconfig.get_path("stdlib"),), help="folders of .py files")
    parser.add_argument("--budgets", type=lambda s: tuple(map(float, s.split(","))), default=BUDGETS)
    parser.add_argument("--out", type=Path, default=LADDER / "runs.csv")
    options = parser.parse_args()
    options.corpus = tuple(options.corpus)
    {"corpus": describe, "tune": tune, "train": ladder, "check": check}[options.command](options)


if __name__ == "__main__":
    main()
