"""The canonical columns of a runs table, and how the headers of other people's files are matched to them."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from scaling.errors import RunsError
from scaling.quantities import PF_DAY, quote


@dataclass(frozen=True)
class Column:
    """One canonical column.

    kind : the kind of quantity in its cells (scaling.quantities), or 'text'.
    aliases : tiers of other names, best first; a name of a better tier wins over one of a worse tier, and two names
        of one tier are an ambiguity. Compared without case, spaces and punctuation.
    """

    name: str
    meaning: str
    unit: str
    kind: str
    aliases: tuple[tuple[str, ...], ...] = ()


COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column(
            "run",
            "one training; several rows of one run are its training curve",
            "",
            "text",
            (
                ("run_id",),
                ("run_name", "run name"),
                ("run id",),
                ("name", "id", "experiment", "trial"),
                ("experiment_name", "wandb_name", "tags.mlflow.runName"),
            ),
        ),
        Column(
            "step",
            "optimiser steps done",
            "steps",
            "count",
            (
                ("global_step", "steps", "training step", "train_step", "optimizer_step"),
                ("_step", "iteration", "iter", "iterations"),
            ),
        ),
        Column(
            "n_params",
            "model size N",
            "parameters",
            "params",
            (
                (
                    "params",
                    "parameters",
                    "parameter_count",
                    "num_params",
                    "num_parameters",
                    "param_count",
                    "model_size",
                    "model params",
                    "model parameters",
                    "total_params",
                    "parameter count",
                    "number of parameters",
                    "size",
                ),
                ("N",),
                (
                    "n_params_non_embedding",
                    "params_no_embed",
                    "params_non_embedding",
                    "non_embedding_params",
                    "n_params_no_embed",
                    "non embedding parameters",
                ),
            ),
        ),
        Column(
            "n_tokens",
            "training tokens D, repeats included",
            "tokens",
            "tokens",
            (
                (
                    "tokens",
                    "total_tokens",
                    "num_tokens",
                    "training_tokens",
                    "tokens_seen",
                    "token_count",
                    "n_train_tokens",
                    "tokens_trained",
                    "number of tokens",
                    "total tokens seen",
                    "consumed_tokens",
                ),
                ("D",),
                ("train_tokens",),
            ),
        ),
        Column(
            "flops",
            "training compute C",
            "FLOPs",
            "flops",
            (
                (
                    "flop",
                    "training flops",
                    "training flop",
                    "train_flops",
                    "compute",
                    "training_compute",
                    "train_compute",
                    "total_flops",
                    "total_flos",
                    "compute_flops",
                    "training compute flop",
                    "total compute",
                ),
                ("C",),
                ("budget",),
            ),
        ),
        Column(
            "loss",
            "held-out loss L",
            "nats/token",
            "loss",
            (
                (
                    "val_loss",
                    "eval_loss",
                    "valid_loss",
                    "validation_loss",
                    "test_loss",
                    "final_loss",
                    "eval/loss",
                    "val/loss",
                    "validation/loss",
                    "valid/loss",
                    "test/loss",
                    "heldout_loss",
                    "loss_val",
                    "loss_eval",
                    "final_val_loss",
                ),
                ("L",),
                ("cross_entropy", "cross entropy loss", "crossentropyloss", "ce_loss", "lm_loss", "nll"),
                ("train_loss", "training_loss", "train/loss", "loss_train", "final_train_loss"),
            ),
        ),
        Column("train_loss", "training loss", "nats/token", "loss", (("training_loss", "train/loss", "loss_train"),)),
        Column(
            "n_params_non_embedding",
            "parameters outside the embeddings",
            "parameters",
            "params",
            (("params_no_embed", "params_non_embedding", "non_embedding_params", "n_params_no_embed"),),
        ),
        Column(
            "n_unique_tokens", "distinct training tokens", "tokens", "tokens", (("unique_tokens", "num_unique_tokens"),)
        ),
        Column("lr", "peak learning rate", "", "number", (("learning_rate", "peak_lr", "max_lr"),)),
        Column("seed", "random seed", "", "number"),
    )
}
SCALES = ("n_params", "n_tokens", "flops")
_CORE = (
    "step",
    *SCALES,
    "loss",
)  # two equally good headers for one of these are an error; for the others none is taken

# What a word at the end of a header multiplies the cells by: 'params (B)', 'tokens_trillion', 'flops_1e21'.
_FACTORS = {
    "k": 1e3, "thousand": 1e3, "thousands": 1e3, "m": 1e6, "mn": 1e6, "million": 1e6, "millions": 1e6,
    "b": 1e9, "bn": 1e9, "billion": 1e9, "billions": 1e9, "t": 1e12, "tn": 1e12, "trillion": 1e12, "trillions": 1e12,
}  # fmt: skip
_FLOP_PREFIXES = {"m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18, "z": 1e21, "y": 1e24}
_PREFIXED = {f"{letter}flop{s}": factor for letter, factor in _FLOP_PREFIXES.items() for s in ("", "s")}
_PREFIXED |= {f"total{word}": factor for word, factor in _PREFIXED.items()} | {
    f"train{word}": f for word, f in _PREFIXED.items()
}
_PREFIXED |= {
    "pfdays": PF_DAY,
    "pfday": PF_DAY,
    "petaflopdays": PF_DAY,
    "petaflopsdays": PF_DAY,
    "petaflopsday": PF_DAY,
}
_UNIT_WORDS = {"n_params": ("parameters", "params"), "n_tokens": ("tokens",), "flops": ("flop", "flops")}
# Folders that trackers put before a name: 'metrics.val_loss', 'params.n_params', 'throughput/total_tokens'.
_PREFIXES = {
    "metrics",
    "params",
    "config",
    "summary",
    "throughput",
    "model",
    "train",
    "trainer",
    "scaling",
    "stats",
    "data",
    "perf",
}
_LOSS_NAMES = re.compile(
    r"(?:^|[/._ ])(?:[a-z0-9]+[_ ])*(?:loss|crossentropyloss|cross_?entropy|ce[_ ]loss)$", re.IGNORECASE
)
_OTHER_LOSSES = re.compile(r"aux|z_?loss|balanc|train|downstream|step|epoch|_MIN$|_MAX$", re.IGNORECASE)

# Units that a loss column's own name can state.
_LOSS_UNITS = {
    "bits_per_byte": re.compile(r"(^|[^a-z])(bpb|bits?[ _/]?per[ _]?byte|bits?/byte)([^a-z]|$)", re.IGNORECASE),
    "perplexity": re.compile(r"(^|[^a-z])(ppl|perplexity)([^a-z]|$)", re.IGNORECASE),
    "bits": re.compile(r"(^|[^a-z])(bits?)([^a-z]|$)", re.IGNORECASE),
}
_LOSS_IN_OTHER_UNITS = ("bpb", "bits_per_byte", "val_bpb", "eval_bpb", "ppl", "perplexity", "val_ppl", "eval_ppl", "val_perplexity",
                        "eval_perplexity", "loss_bits", "val_loss_bits")  # fmt: skip


@dataclass(frozen=True)
class Match:
    """A file's column taken as a canonical one: cells are multiplied by `factor`; `note` says why, where there was a choice."""

    canonical: str
    header: str
    factor: float = 1.0
    tier: float = 0.0
    note: str = ""


def match_columns(
    headers: Sequence[str],
    explicit: Mapping[str, str] | None = None,
    *,
    file: str,
    duplicated: Sequence[str] = (),
    wanted: Iterable[str] = tuple(COLUMNS),
) -> dict[str, Match]:
    """Canonical name -> the file's column, by the explicit mapping first and known names after.

    headers : the file's column names, distinct.
    explicit : canonical name -> file's column, or 'column*1e9' to scale its cells.
    duplicated : names that the header line holds more than once; using one of them is an error.
    wanted : the canonical columns to look for.
    Raises RunsError for a mapped column that does not exist and for two columns that claim the same meaning equally well.
    """
    found: dict[str, Match] = {}
    for canonical, column in (explicit or {}).items():
        found[canonical] = _explicit(canonical, column, headers, file)
    taken = {m.header for m in found.values()}
    for canonical in wanted:
        if canonical in found:
            continue
        match = _best(canonical, [h for h in headers if h not in taken], file)
        if match is not None:
            found[canonical] = match
            taken.add(match.header)
    for match in found.values():
        if match.header in duplicated:
            raise RunsError(
                f"{quote(file, 120)} has more than one column named {quote(match.header)}, which is needed for {match.canonical}; "
                f"rename one, or map another with --column {match.canonical}=NAME."
            )
    return found


def loss_unit_of(header: str) -> str | None:
    """The unit that a loss column's name states: 'bits', 'perplexity', 'bits_per_byte', or None."""
    for unit, pattern in _LOSS_UNITS.items():
        if pattern.search(header):
            return unit
    return None


def missing_column(canonical: str, headers: Sequence[str], *, file: str, why: str = "") -> RunsError:
    """The error for a canonical column that no header matches: it lists what the file has and how to map it."""
    shown = ", ".join(quote(h, 60) for h in headers[:12]) + (
        f" and {len(headers) - 12} more" if len(headers) > 12 else ""
    )
    known = COLUMNS.get(canonical)
    what = f" ({known.meaning})" if known else ""
    example = quote(_closest(canonical, headers) or "NAME", 60)
    return RunsError(
        f"{quote(file, 120)} has no column for {canonical}{what}{why}: it has {shown}. "
        f"Map one with --column {_option(canonical, example[1:-1])} (in Python columns={{'{canonical}': {example}}})."
    )


def _option(canonical: str, header: str) -> str:
    """'loss=eval/loss' as it is typed in a shell."""
    return shlex.quote(f"{canonical}={header}")


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """' Did you mean 'x'?' or the empty text."""
    close = _closest(name, known)
    return f" Did you mean {quote(close, 60)}?" if close else ""


def squash(name: str) -> str:
    """A header without case, spaces and punctuation."""
    return re.sub(r"[\W_]+", "", name).lower()


def _closest(name: str, known: Sequence[str]) -> str:
    by_squashed = {squash(k): k for k in reversed(known)}
    close = difflib.get_close_matches(squash(name), list(by_squashed)[:2000], n=1, cutoff=0.6)
    return by_squashed[close[0]] if close else ""


def _explicit(canonical: str, wanted: str, headers: Sequence[str], file: str) -> Match:
    if wanted in headers:
        return Match(canonical, wanted)
    same = [h for h in headers if squash(h) == squash(wanted)]
    if len(same) == 1:
        return Match(canonical, same[0])
    name, star, factor = wanted.rpartition("*")
    if star and name.strip() in headers:
        try:
            return Match(canonical, name.strip(), factor=float(factor))
        except ValueError:
            raise RunsError(
                f"--column {canonical}={quote(wanted)}: {quote(factor)} is not a number to multiply by; write 1e9."
            ) from None
    raise RunsError(
        f"{quote(file, 120)} has no column {quote(wanted, 60)} (asked for with --column {canonical}=...)."
        f"{did_you_mean(wanted, headers)} It has {', '.join(quote(h, 60) for h in headers[:12])}"
        f"{f' and {len(headers) - 12} more' if len(headers) > 12 else ''}."
    )


def _best(canonical: str, headers: Sequence[str], file: str) -> Match | None:
    candidates = [m for h in headers if (m := _match(canonical, h)) is not None]
    if not candidates:
        return None
    tier = min(m.tier for m in candidates)
    best = [m for m in candidates if m.tier == tier]
    if len(best) > 1 and canonical == "run":
        order = [squash(a) for names in COLUMNS["run"].aliases for a in names]
        best.sort(key=lambda m: order.index(squash(m.header)) if squash(m.header) in order else len(order))
    elif len(best) > 1 and canonical not in _CORE:
        return None
    elif len(best) > 1:
        names = ", ".join(quote(m.header, 60) for m in best[:8]) + (
            f" and {len(best) - 8} more" if len(best) > 8 else ""
        )
        raise RunsError(
            f"{quote(file, 120)} has {len(best)} columns that can be {canonical} ({COLUMNS[canonical].meaning}): {names}. "
            f"Choose one with --column {_option(canonical, quote(best[0].header, 60)[1:-1])}."
        )
    chosen = best[0]
    others = [m.header for m in candidates if m.header != chosen.header]
    if others and canonical != "train_loss" and not (canonical == chosen.header == "run"):
        also = ", ".join(quote(h, 60) for h in others[:4]) + (f" and {len(others) - 4} more" if len(others) > 4 else "")
        chosen = replace(chosen, note=f"{quote(chosen.header, 60)} was taken as {canonical}; not used: {also}")
    return chosen


_ALIASES: dict[str, dict[str, int]] = {
    name: {squash(name): 0}
    | {squash(a): tier for tier, names in reversed(list(enumerate(column.aliases, 1))) for a in names}
    for name, column in COLUMNS.items()
}


_TRAINING = {squash(a) for a in COLUMNS["loss"].aliases[-1]}


@lru_cache(maxsize=20_000)
def _match(canonical: str, header: str) -> Match | None:
    """How well a header names a canonical column: exact name, alias, alias with a unit, alias under a folder, a loss by its ending."""
    aliases = _ALIASES[canonical]
    plain = squash(header)
    if header == canonical:
        return Match(canonical, header, tier=-1)
    if plain in aliases:
        last_resort = canonical == "loss" and plain in _TRAINING  # behind every held-out loss, however named
        return Match(canonical, header, tier=12 if last_resort else aliases[plain])
    if (scaled := _with_unit(canonical, header, aliases)) is not None:
        return scaled
    folder, last = _split(header)
    if folder and squash(folder[-1]) in _PREFIXES:
        inner = squash(last)
        if inner in aliases and not (canonical == "loss" and squash(folder[-1]) == "train"):
            return Match(canonical, header, tier=aliases[inner] + 0.5)
        if (scaled := _with_unit(canonical, last, aliases)) is not None:
            return Match(canonical, header, factor=scaled.factor, tier=scaled.tier + 0.5)
    if canonical == "loss":
        if plain in {squash(a) for a in _LOSS_IN_OTHER_UNITS}:
            return Match(canonical, header, tier=10)
        if _LOSS_NAMES.search(header) and not _OTHER_LOSSES.search(header):
            return Match(canonical, header, tier=11)
    return None


def _with_unit(canonical: str, header: str, aliases: Mapping[str, int]) -> Match | None:
    if canonical not in _UNIT_WORDS:
        return None
    plain = squash(header)
    if canonical == "flops" and plain in _PREFIXED:
        return Match(canonical, header, factor=_PREFIXED[plain], tier=1.2)
    words = re.findall(r"[A-Za-z]+|[\d.]+(?:e\d+)?|\S", re.sub(r"[_()\[\]/,:-]+", " ", header))
    for split in (1, 2):
        name, unit = "".join(words[:-split]), [w.lower() for w in words[-split:]]
        if not name or squash(name) not in aliases:
            continue
        factor = _factor(canonical, unit)
        if factor is not None:
            return Match(canonical, header, factor=factor, tier=aliases[squash(name)] + 0.2)
    return None


def _factor(canonical: str, words: Sequence[str]) -> float | None:
    """What the last words of a header multiply by: ['b'], ['billion', 'parameters'], ['1e21'], ['zflop'], ['pf', 'days']."""
    joined = "".join(words)
    if canonical == "flops" and joined in _PREFIXED:
        return _PREFIXED[joined]
    if words[-1] in _UNIT_WORDS[canonical]:
        words = words[:-1]
    if not words:
        return 1.0
    if len(words) == 1 and words[0] in _FACTORS:
        return _FACTORS[words[0]]
    if len(words) == 1 and re.fullmatch(r"1e\d{1,2}", words[0]):
        return float(words[0])
    return None


def _split(header: str) -> tuple[list[str], str]:
    parts = [p for p in re.split(r"[/.]", header) if p]
    return (parts[:-1], parts[-1]) if len(parts) > 1 else ([], header)
