"""Tables of others: growth of training compute, printed laws."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scaling.fitting import Squared, fit
from scaling.laws.law import Array, Coef, Law
from scaling.laws.published import published
from targets.rows import README, Row, read, rows_of


def notable_models(folder: Path) -> list[Row]:
    """Growth of training compute since 2010 in Epoch AI's table."""
    name = "epoch-notable-models"
    models = read(folder, name)
    date = pd.to_datetime(models["Publication date"], format="ISO8601", errors="coerce")
    flops = pd.to_numeric(models["Training compute (FLOP)"], errors="coerce")
    kept = date.notna() & (flops > 0) & (date >= "2010-01-01")
    years = (date[kept] - pd.Timestamp("2010-01-01")).dt.days / 365.25

    def formula(x: Any, theta: Array) -> Array:
        at_start, growth = np.moveaxis(theta, -1, 0)[..., None]
        return at_start * np.exp(growth * x["years"])

    law = Law(
        name="growth", equation="C = C0 exp(g t)", inputs=("years",), target="flops", formula=formula,
        coefs=(Coef("C0", "at the start of 2010 [FLOP]", (1e10, 1e22)), Coef("g", "growth [1/year]", (-1.0, 3.0), lower=-np.inf)),
        linear=("C0",),
    )  # fmt: skip
    result = fit(law, {"years": years.to_numpy(), "flops": flops[kept].to_numpy()}, Squared("log"))
    low, high = (float(v[1]) for v in result.interval())
    pairs = [("growth per year", 4.58, math.exp(result.theta[1])), ("its lower end", 4.05, math.exp(low)), ("its upper end", 5.19, math.exp(high))]  # fmt: skip
    out = [Row(name, "models", 397, int(kept.sum()), "abs", 0, "a count", README)]
    out += rows_of(name, pairs[:1], "abs", 0.0051, "the digits printed", origin=README)
    return out + rows_of(name, pairs[1:], "rel", 0.03, "ours does not assume equal variances", origin=README)


LITERATURE = {
    "kaplan2020-c": 9, "kaplan2020-n": 10, "kaplan2020-d": 11, "kaplan2020-nd": 12, "hoffmann2022-3-printed": 36,
    "rosenfeld2020-ptb": 0, "rosenfeld2020-wikitext2": 1, "rosenfeld2020-wikitext103": 2, "rosenfeld2020-imagenet": 3,
    "rosenfeld2020-cifar10": 4, "rosenfeld2020-cifar100": 5, "rosenfeld2020-dtd": 6, "rosenfeld2020-aircraft": 7, "rosenfeld2020-ucf101": 8,
    "henighan2020-n-language": 14, "henighan2020-c-language": 15, "henighan2020-n-image-8x8": 16, "henighan2020-c-image-8x8": 17,
    "henighan2020-n-image-16x16": 18, "henighan2020-c-image-16x16": 19, "henighan2020-n-image-32x32": 20,
    "henighan2020-c-image-32x32": 21, "henighan2020-n-image-vq-16x16": 22, "henighan2020-c-image-vq-16x16": 23,
    "henighan2020-n-image-vq-32x32": 24, "henighan2020-c-image-vq-32x32": 25, "hernandez2021-text": 125, "hernandez2021-text-and-code": 126,
}  # fmt: skip
#: where the compilation and the paper part, and how
LITERATURE_ERRATA = {
    "kaplan2020-d": "the compilation has 20.81 for D_c^alpha, where the paper's 5.4e13^0.095 is 20.16",
    "kaplan2020-nd": "the compilation puts the coefficients of L(N) and L(D) into L(N, D); the paper fits it on its own (its table 2)",
}
LITERATURE_AT = {"N": 1e8, "D": 1e9, "C": 1e20, "Df": 1e7}  # where both are evaluated
SHARES = {"n_params": 0.5, "n_tokens": 0.25}  # the same for Rosenfeld et al., who scale by the largest of a sweep


def _stated(form: str, values: Mapping[str, float]) -> float:
    """A form of the literature table at LITERATURE_AT."""
    N, D, C, Df = LITERATURE_AT.values()
    v = values
    if form.startswith("L(N,D) = I"):
        # what the compilation calls N is n in the paper, the data; its D is the size m
        small = SHARES["n_tokens"] ** -v["a"] + v["B"] * SHARES["n_params"] ** -v["b"] + v["E"]
        return v["I"] * abs(small / (small - 1j * v["n"]))
    forms = {
        "L(N)": lambda: v["A"] * N ** -v["a"] + v.get("E", 0.0),
        "L(D)": lambda: v["B"] * D ** -v["b"] + v.get("E", 0.0),
        "L(C)": lambda: v["K"] * C ** -v["c"] + v.get("E", 0.0),
        "L(N,D) = [(A/N)^(a/b) + B/D]^-b": lambda: ((v["A"] ** (1 / v["a"]) / N) ** (v["a"] / v["b"]) + v["B"] ** (1 / v["b"]) / D) ** v["b"],
        "L(N,D) = AN^-a + BD^-b + E": lambda: v["A"] * N ** -v["a"] + v["B"] * D ** -v["b"] + v["E"],
        "Dt(Df, N) = AN^a Df^b": lambda: v["A"] * N ** v["a"] * Df ** v["b"],
    }  # fmt: skip
    return forms[form if form in forms else form.split(" = ")[0]]()


def literature(folder: Path) -> list[Row]:
    """Sets of scaling.PUBLISHED that the compilation of Michaud et al. 2023 lists too: both evaluated at one point."""
    name, out = "scaling-law-literature-table", []
    table = read(folder, name, "laws.csv")
    at = {"n_params": "N", "n_tokens": "D", "flops": "C", "n_samples": "Df"}
    for key, place in LITERATURE.items():
        entry, row = published(key), table.iloc[place]
        text = str(row["Parameter values"]).replace("\u2212", "-")
        values = {k: float(v) for k, v in re.findall(r"(\w+)\s*=\s*([-+.\dEe]+)", text)}
        if "E" not in values and np.isfinite(row["Irreducible loss"]):
            values["E"] = float(row["Irreducible loss"])
        where = SHARES if "rosenfeld" in key else {c: LITERATURE_AT[at[c]] for c in entry.law.inputs}
        ours = float(entry.law.predict({c: np.array([v]) for c, v in where.items()}, entry.theta)[0])
        erratum = LITERATURE_ERRATA.get(key)
        out.append(
            Row(name, key, _stated(str(row["Functional form"]), values), ours, "rel", 1e-3,
                erratum or "amplitudes of three or four digits", reproducible=erratum is None)
        )  # fmt: skip
    return out
