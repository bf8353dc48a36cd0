"""Batch re-fitting: laws x groups x files into a store that a second run only brings up to date."""

from __future__ import annotations

from scaling.refitting.changes import changed, drift, export, failures, history, status
from scaling.refitting.run import RefitReport, refit
from scaling.refitting.study import Study, read_study

__all__ = ["RefitReport", "Study", "changed", "drift", "export", "failures", "history", "read_study", "refit", "status"]
