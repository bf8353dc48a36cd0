"""A Parquet file as a table."""

from __future__ import annotations

import io

import numpy as np

from scaling.errors import RunsError
from scaling.logs.compressed import too_large
from scaling.logs.raw_table import RawTable, apart, arrays_of, named
from scaling.quantities import quote


def parquet_table(content: bytes, name: str, digest: str, max_bytes: int) -> RawTable:
    """The table of a Parquet file; digest : its sha256. Raises RunsError without pyarrow and for one too large unpacked."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise RunsError(
            f"{named(name)} is a Parquet file, which needs the package pyarrow: pip install pyarrow."
        ) from None
    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(content))
        # equal cells take no room in the file, and eight bytes each here
        frame = None
        if 8 * file.metadata.num_rows * file.metadata.num_columns <= max_bytes:
            frame = file.read().to_pandas()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise RunsError(f"{named(name)} is a damaged Parquet file ({quote(error, 80)}); copy it again.") from None
    if frame is None:
        raise too_large(named(name), max_bytes)
    if frame.index.name is not None or frame.index.nlevels > 1:
        frame = frame.reset_index()
    if not len(frame):
        raise RunsError(f"{named(name)} has a header ({quote(', '.join(map(str, frame.columns)), 80)}) but no rows.")
    unique, duplicated = apart([str(c) for c in frame.columns])
    return RawTable(name, arrays_of(frame, unique), np.arange(1, len(frame) + 1), digest, False, duplicated)
