"""Published targets by data set; see benchmarks/reproduced.py."""
