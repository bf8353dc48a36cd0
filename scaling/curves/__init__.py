"""Analyses of whole curves, each standing on the laws: double descent, emergence, grokking."""
