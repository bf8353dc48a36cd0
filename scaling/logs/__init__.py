"""From what people have logged to the runs table."""

from scaling.logs.check import check_runs, columns_read, describe_read
from scaling.logs.files import read_table
from scaling.logs.read import LOSS_UNITS, read_runs
from scaling.logs.schema import COLUMNS

__all__ = ["COLUMNS", "LOSS_UNITS", "check_runs", "columns_read", "describe_read", "read_runs", "read_table"]
