"""Optimal sizes, shapes, learning rates, and envelopes against compute: Porian et al., Hoffmann et al.'s tables, Step Law, CLIP."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scaling.approaches import isoflop
from scaling.compute import Shape
from scaling.fitting import Squared, fit
from targets.rows import README, Row, power, read, rows_of


def porian(folder: Path) -> list[Row]:
    """Porian et al. 2024: exponents from their optima and from their points."""
    name = "porian-isoflop-rw"
    optima, published = read(folder, name, "published_optima.csv"), read(folder, name, "published_fits.csv")
    runs = read(folder, name)
    out = []
    for row in published.itertuples():
        label = " ".join(part.split("=")[-1] for part in str(row.group).split("|")[1:])
        mine = optima[optima["group"] == row.group]
        line = fit(
            "optimal_n", {"flops": mine["flops"], "n_params": mine["params_opt"]}, Squared("log"),
            weights=mine["log_params_opt_std"].to_numpy() ** -2.0,
        )  # fmt: skip
        out.append(Row(name, f"{label}: a from their optima", row.n_exponent, float(line.theta[1]), "abs", 1e-9, "the same weighted line"))  # fmt: skip
        found = isoflop(runs[runs["group"] == row.group], curve="akima", n_resamples=20)
        out.append(Row(name, f"{label}: a from the points", row.n_exponent, found.a, "abs", 0.007, "they add noise to the losses before they interpolate"))  # fmt: skip
    return out


def chinchilla_tables(folder: Path) -> list[Row]:
    """Hoffmann et al.'s tables, and nanochat's optima."""
    name = "chinchilla-tables"
    table = read(folder, name, "optimal_allocation.csv").query("group == 'approach2'")
    line = fit(power("n_params", "n_tokens"), table, Squared("log"))
    k, slope = line.theta
    out = rows_of(
        name, [("slope of log10 D in log10 N", 1.0409573169995892, slope), ("its intercept", 0.9353887152390791, np.log10(k)),
               ("tokens of a 124M model", 2.292426e9, float(line.predict({"n_params": np.array([124e6])})[0]))],
        "rel", 1e-6, "the same line; the tokens are printed to 2e-7",
    )  # fmt: skip
    shapes = read(folder, name, "architectures.csv")
    ours = np.array([
        Shape(r.n_layers, r.d_model, r.ffw_size, r.n_heads, 32000, head_dim=r.kv_size, gated=False, tied=True, relative_positions=True,
              norms_per_layer=0).n_params
        for r in shapes.itertuples()
    ])  # fmt: skip
    ratio = ours / shapes["n_params"].to_numpy()
    why = "three digits printed; norms are some 1e-5 of N"
    quantiles = [("N from the shape / N stated: median", 0.9996, np.median(ratio)), ("N from the shape / N stated: 5 %", 0.996, np.quantile(ratio, 0.05))]  # fmt: skip
    out += rows_of(name, quantiles, "abs", 1e-3, why, origin=README)
    why = "the README takes the map of positions as d x d, where it is d x the width of all heads"
    out.append(Row(name, "N from the shape / N stated: 95 %", 1.007, float(np.quantile(ratio, 0.95)), "at most", 0, why, README))  # fmt: skip
    printed = {
        "Kaplan-style": (0.54, 0.49, 0.524, 0.479), "Chinchilla-style": (0.37, 0.50, 0.366, 0.490),
        "Transformer-only-style": (0.70, 0.41, 0.681, 0.397),
    }  # fmt: skip
    optima = read(folder, name, "nanochat_isoflop_optima.csv")
    assert set(optima["group"]) == set(printed)
    for count, (a, b, a_refit, b_refit) in printed.items():
        mine = optima[optima["group"] == count]
        found = [float(fit(law, mine, Squared("log")).theta[1]) for law in ("optimal_n", "optimal_d")]
        pairs = [(f"nanochat {count}: exponent of {what}", p, f) for what, p, f in zip("ND", (a, b), found, strict=True)]  # fmt: skip
        out += rows_of(
            name, pairs, "abs", 0.02, "the four printed optima give .01 to .02 less, as the README found too"
        )
        pairs = [(t, p, o) for (t, _, o), p in zip(pairs, (a_refit, b_refit), strict=True)]
        out += rows_of(name, pairs, "abs", 5.1e-4, "the digits printed", origin=README)
    return out


def steplaw(folder: Path) -> list[Row]:
    """Li et al. 2025: best learning rate and batch size. The README says that the released runs do not give the law."""
    name = "steplaw-hparams"
    bootstrapped = read(folder, name, "published_bootstrap_fits.csv").mean()
    runs = read(folder, name, "runs.csv.gz").query("group == 'dense'")
    least = runs.groupby(["n_params", "n_tokens"])["loss"].transform("min")
    best = runs[runs["loss"] <= 1.0025 * least].assign(batch_tokens=lambda t: 2048 * t["batch_size_sequences"])
    lr, batch = fit("step_law_lr", best, Squared("log")), fit("step_law_batch", best, Squared("log"))
    ours = (*lr.theta.tolist(), *batch.theta.tolist())
    names = ("rate: factor", "rate: exponent of N", "rate: exponent of D", "batch: factor", "batch: exponent of D")
    refit = (77.7, -0.766, 0.197, 0.209, 0.613)
    out = [Row(name, "runs within 0.25 % of the best", 129, len(best), "abs", 0, "a count", README)]
    out += rows_of(name, zip(names, refit, ours, strict=True), "rel", 3e-3, "three digits printed", origin=README)
    spread = {"lr_coefN": 0.0299, "lr_coefD": 0.0191, "bs_coefD": 0.0187}
    for key, what, at in (("lr_coefN", names[1], 1), ("lr_coefD", names[2], 2), ("bs_coefD", names[4], 4)):
        out.append(
            Row(name, what, float(bootstrapped[key]), ours[at], "abs", spread[key],
                "one printed standard deviation; the released runs are not exactly those fitted", reproducible=False)
        )  # fmt: skip
    return out


def openclip(folder: Path) -> list[Row]:
    """Cherti et al. 2023: error against compute on the lower envelope."""
    name = "openclip-zeroshot"
    runs = read(folder, name)
    giga, samples = "gmacs_total", 407332084  # the column of compute; images of one pass
    sizes = read(folder, name, "arch_info.csv").set_index("model")["gmacs"]
    out = []
    for task, metric, predicted, mean_error, refit in (
        ("imagenet1k", "acc1", (64.987286, 78.107834, 80.661417, 81.923599), 0.8743712, (5.8581, -0.11139, -0.1638)),
        ("mscoco_captions", "image_retrieval_recall_at_5", (63.123084, 73.617188, 75.850451, 76.985302), 0.5884336, (2.7497, -0.079434, -0.0508)),
    ):  # fmt: skip
        mine = runs[(runs["group"] == task) & runs[metric].notna()].assign(error=lambda t, m=metric: 1 - t[m])
        ours = mine[(mine["upstream_dataset"] != "CLIP-WIT") & mine["arch"].isin([f"ViT-{a}" for a in ("B-32", "B-16", "L-14", "H-14", "g-14", "G-14")])]  # fmt: skip
        log_x = np.log10(ours[giga])
        edges = np.linspace(log_x.min(), log_x.max() + 0.1, 6)
        lowest = ours["error"].groupby(np.digitize(log_x, edges) - 1).min()
        centres = 0.5 * (edges[:-1] + edges[1:])[lowest.index]
        law = power("compute", "error")
        line = fit(law, {"compute": 10**centres, "error": lowest.to_numpy()}, Squared("log"))
        budgets = np.array([sizes["ViT-B-32"] * 32, sizes["ViT-H-14"] * 84, sizes["ViT-g-14"] * 168, sizes["ViT-G-14"] * 168]) * samples  # fmt: skip
        scores = 100 * (1 - line.predict({"compute": budgets}))
        titles = [f"{task}: {m} [%]" for m in ("B/32 13B", "H/14 34B", "g/14 68B", "G/14 68B")]
        out += rows_of(name, zip(titles, predicted, scores, strict=True), "abs", 1e-6, "the digits printed")
        best = ours.loc[ours.groupby(["arch", "samples_seen_pretty"])["error"].idxmin()]
        miss = 100 * np.abs(line.predict({"compute": best[giga].to_numpy()}) - best["error"].to_numpy())
        why = "the models averaged over are not stated: here the best of each architecture and training length"
        out.append(Row(name, f"{task}: mean absolute error [points]", mean_error, float(miss.mean()), "rel", 0.05, why))
        wit = mine[mine["upstream_dataset"] == "CLIP-WIT"].rename(columns={giga: "compute"})
        openai = fit(law, wit[["compute", "error"]], Squared("log"), start={"k": 10.0, "p": -0.1})  # three models
        found = [*line.theta.tolist(), float(openai.theta[1])]
        labels = [f"{task}: {c}" for c in ("beta", "alpha", "alpha of OpenAI's models")]
        for label, value, mine_, half in zip(labels, refit, found, (5.1e-5, 5.1e-6, 5.1e-5), strict=True):
            out.append(Row(name, label, value, mine_, "abs", half, "the digits printed", README))
    return out
