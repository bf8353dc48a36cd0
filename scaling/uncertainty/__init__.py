"""How sure each number is."""

from scaling.uncertainty.bootstrap import bootstrap

__all__ = ["bootstrap"]
