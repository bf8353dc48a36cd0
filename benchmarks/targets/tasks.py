"""Scores of tasks: the OLMo ladder, Pythia."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from scaling.curves.emergence import emergence
from scaling.fitting import Squared, fit
from scaling.laws.chinchilla import CHINCHILLA
from targets.rows import README, Row, coefs_of, read

OLMO_TASKS = {
    "mmlu_avg_test_5shot": {"mmlu_stem_test": 0.215, "mmlu_humanities_test": 0.335, "mmlu_social_sciences_test": 0.219, "mmlu_other_test": 0.231},
    "hellaswag_val_5shot": {"hellaswag_val": 1.0}, "arc_challenge_test_5shot": {"arc_challenge_test": 1.0},
    "arc_easy_test_5shot": {"arc_easy_test": 1.0}, "piqa_val_5shot": {"piqa_val": 1.0}, "csqa_val_5shot": {"csqa_val": 1.0},
    "socialiqa_val_5shot": {"socialiqa_val": 1.0}, "openbookqa_test_5shot": {"openbookqa_test": 1.0},
}  # fmt: skip


def olmo_ladder(folder: Path) -> list[Row]:
    """Bhagia et al. 2024: 16 runs of at most 1B predict a 13B model's task losses and accuracies."""
    name = "olmo-ladder"
    runs = read(folder, name, "runs.csv.gz")
    published = read(folder, name, "published_predictions.csv").set_index(["what", "Task"])["Pred"]
    used = runs[runs["run_id"].str.fullmatch(r"(190M|370M|760M|1B)-(1|2|5|10)xC") | (runs["group"] == "13B-5T")]
    out = []
    for task, parts in OLMO_TASKS.items():
        table = used[["run_id", "n_params", "n_tokens"]].assign(
            loss=sum(w * used[f"eval/downstream_bpb/{p}_rc_5shot_bpb"] for p, w in parts.items()),
            score=sum(w * used[f"eval/downstream/{p}_rc_5shot_len_norm"] for p, w in parts.items()),
        )
        by_run = dict(list(table.groupby("run_id", sort=False)))
        target = by_run.pop("peteish13_eval_final")
        assert len(by_run) == 16
        finals = pd.DataFrame([{"n_params": r["n_params"].iloc[-1], "n_tokens": r["n_tokens"].iloc[-1], "loss": r["loss"].tail(5).mean()} for r in by_run.values()])  # fmt: skip
        step1 = fit(CHINCHILLA, finals, "hoffmann")
        predicted = float(step1.predict(target.tail(1))[0])
        points = pd.concat([r.iloc[math.ceil(0.1 * len(r)) :][["loss", "score"]].rolling(5, min_periods=1).mean() for r in by_run.values()])  # fmt: skip
        points = pd.concat([points, pd.DataFrame({"loss": [0.0], "score": [1.0]})], ignore_index=True)
        step2 = fit("score_sigmoid", points, Squared())
        if coefs_of(step2)["ceiling"] > 1:  # the authors bound it by one
            step2 = fit("score_sigmoid", points, Squared(), fixed={"ceiling": 1.0})
        true_loss = float(target["loss"].tail(5).mean())
        chained, from_true = (float(v) for v in step2.predict({"loss": np.array([predicted, true_loss])}))
        for what, label, ours in (
            ("step1_main", "loss [bits per byte]", predicted),
            ("step2_main", "accuracy from the true loss", from_true),
            ("chained_main", "accuracy from N and D", chained),
        ):
            why = "five digits: their optimiser stopped that close"
            out.append(Row(name, f"{task.split('_test')[0].split('_val')[0]}: {label}", float(published[what, task]), ours, "rel", 2e-5, why))  # fmt: skip
    return out


def pythia(folder: Path) -> list[Row]:
    """LAMBADA along the Pythia suite: a sigmoid in log10 of 6ND, by least squares and by the binomial likelihood."""
    name = "pythia-evals"
    runs = read(folder, name)
    runs = runs.assign(flops=6 * runs["params_label"] * runs["n_tokens"])
    used = runs[(runs["group"] == "zero-shot") & (runs["flops"] > 0)]
    # the law falls in its input: decades below 1e30
    table = pd.DataFrame({"loss": 30 - np.log10(used["flops"]), "score": used["lambada_openai/acc"]})
    result = fit("score_sigmoid", table, Squared())
    ours = coefs_of(result)
    score = table["score"]
    r2 = 1 - 2 * float(result.objective_value) / float(((score - score.mean()) ** 2).sum())
    why = "the digits printed; 416 checkpoints with any compute"
    return [
        Row(name, "LAMBADA: midpoint, log10 of 6ND", 20.23, 30 - ours["L0"], "abs", 0.0051, why, README),
        Row(name, "LAMBADA: width [decades]", 0.57, 1 / ours["k"], "abs", 0.0101, "one unit of the last digit", README),
        Row(name, "LAMBADA: ceiling", 0.698, ours["ceiling"], "abs", 0.005, "the README does not say whether the floor is free", README),
        Row(name, "LAMBADA: R2", 0.94, r2, "abs", 0.0051, "the digits printed", README),
    ]  # fmt: skip


def pythia_likelihood(folder: Path) -> list[Row]:
    """The same curve by the binomial likelihood of the emergence analysis."""
    name = "pythia-evals"
    runs = read(folder, name)
    runs = runs.assign(flops=6 * runs["params_label"] * runs["n_tokens"])
    used = runs[(runs["group"] == "zero-shot") & (runs["flops"] > 0)]
    found = emergence(used, score="lambada_openai/acc", n_items=5153, floor=0.0, n_draws=100)
    middle, _, _, ceiling = found.theta["logistic"]
    why = "another objective: counts, overdispersed"
    return [
        Row(name, "LAMBADA: midpoint, log10 of 6ND", 20.23, float(middle), "abs", 0.05, why, README),
        Row(name, "LAMBADA: ceiling", 0.698, float(ceiling), "abs", 0.03, why, README),
    ]
