"""Sums of rows of a table, by the one compiled kernel of SciPy that this takes.

The kernel is loaded by itself: `import scipy.sparse` also imports all of NumPy, its testing tools and its Fortran
compiler included, which is a third of the start of each worker process, and 15 MB of it.
"""

import importlib.util
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from codebase_index.embedding.protocol import Vectors

_KERNELS = "_sparsetools"


def sum_rows(rows: NDArray[np.integer], ends: NDArray[np.int64], table: Vectors) -> Vectors:
    """Return sums of rows of a float32 table: sum `i` is of ``rows[ends[i]:ends[i + 1]]``, with repetition."""
    count, width = len(ends) - 1, table.shape[1]
    sums = np.zeros((count, width), np.float32)
    # A sparse matrix (sums by rows, all its values 1) times the table. Y += A X, row after row.
    _kernels.csr_matvecs(
        count, len(table), width, ends.astype(np.int32), rows.astype(np.int32, copy=False),
        np.ones(len(rows), np.float32), np.ascontiguousarray(table).reshape(-1), sums.reshape(-1),
    )  # fmt: skip
    return sums


def _load() -> ModuleType:
    package = importlib.util.find_spec("scipy")  # looks for it, and does not import it
    assert package is not None and package.origin is not None
    spec = PathFinder.find_spec(_KERNELS, [str(Path(package.origin).parent / "sparse")])
    if spec is None or spec.loader is None:
        raise ImportError(f"this version of SciPy has no scipy.sparse.{_KERNELS}: pin the one in requirements/")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_kernels = _load()
