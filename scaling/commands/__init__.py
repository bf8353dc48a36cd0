"""One file for each command of `scaling`: thin over the library, heavy imports inside the functions."""
