"""What trainers and trackers write, each read by one small file; told by content, or named with `format=`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from scaling.errors import RunsError
from scaling.logs.formats import mlflow
from scaling.logs.formats.format import Format
from scaling.logs.formats.hf_trainer import HF_CONSOLE, HF_TRAINER
from scaling.logs.formats.lightning import LIGHTNING, LITGPT
from scaling.logs.formats.llmc import LLMC
from scaling.logs.formats.megatron import MEGATRON
from scaling.logs.formats.mlflow import MLFLOW_METRIC, MLFLOW_PAGE, MLFLOW_SEARCH
from scaling.logs.formats.modded_nanogpt import MODDED_NANOGPT
from scaling.logs.formats.nanogpt import NANOGPT
from scaling.logs.formats.olmo import OLMO
from scaling.logs.formats.tensorboard import TENSORBOARD, TENSORBOARD_EVENTS
from scaling.logs.formats.wandb import WANDB_HISTORY, WANDB_PANEL, WANDB_RUNS
from scaling.logs.raw_table import RawTable
from scaling.logs.schema import did_you_mean
from scaling.quantities import quote

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        TENSORBOARD_EVENTS, HF_TRAINER, TENSORBOARD, LITGPT, WANDB_PANEL, WANDB_HISTORY, MLFLOW_SEARCH, MLFLOW_PAGE, WANDB_RUNS,
        LIGHTNING, MLFLOW_METRIC, LLMC, MODDED_NANOGPT, NANOGPT, MEGATRON, OLMO, HF_CONSOLE,
    )
}  # fmt: skip
_WINDOW = 1 << 17
_IN_FOLDERS = re.compile(r"(^|\.)tfevents\.|^metrics\.csv$|^trainer_state\.json$|^main\.log$")


def find(content: bytes, name: str, wanted: str | None = None) -> Format | None:
    """The format of a file's content, or the one that is `wanted`; None for a plain table.

    Raises RunsError for a format that does not exist.
    """
    if wanted is not None and wanted != "table":
        if wanted not in FORMATS:
            raise RunsError(
                f"unknown format {quote(wanted)}; known: table, {', '.join(FORMATS)}.{did_you_mean(wanted, list(FORMATS))}"
            )
        return FORMATS[wanted]
    if wanted == "table":
        return None
    # Both ends: a program's text or a start-up's output may come before the first line of the log.
    head = content if len(content) <= 2 * _WINDOW else content[:_WINDOW] + b"\n" + content[-_WINDOW:]
    return next((f for f in FORMATS.values() if f.detect(head, name)), None)


def folder_tables(folder: str, max_bytes: int) -> Iterator[RawTable | str] | None:
    """What a folder of a tracker or trainer holds: tables of runs, or paths of files to be read; None for another folder.

    An MLflow store gives a table for each run; event files, metrics.csv, trainer_state.json and main.log are named.
    """
    if next(mlflow.run_folders(folder), None) is not None:
        return (t for path in mlflow.run_folders(folder) if (t := mlflow.read_run_folder(path, max_bytes)) is not None)
    found = _log_files(folder)
    return iter(found) if found else None


def _log_files(folder: str) -> list[str]:
    """Paths below `folder` that trainers name alike; of the checkpoints of one run only the last trainer_state.json."""
    found: dict[tuple[str, str], str] = {}
    for path, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            if _IN_FOLDERS.search(file):
                checkpoint = re.fullmatch(r"checkpoint-(\d+)", os.path.basename(path))
                owner = os.path.dirname(path) if checkpoint and file == "trainer_state.json" else path
                key = (owner, file)
                if key in found and checkpoint and _checkpoint(found[key]) > int(checkpoint[1]):
                    continue
                found[key] = os.path.join(path, file)
    return sorted(found.values())


def _checkpoint(path: str) -> float:
    """The number of the checkpoint that a state file lies in; infinite for one outside checkpoints, which is the last."""
    m = re.fullmatch(r"checkpoint-(\d+)", os.path.basename(os.path.dirname(path)))
    return int(m[1]) if m else float("inf")


__all__ = ["FORMATS", "Format", "find", "folder_tables"]
