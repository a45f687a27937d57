"""Measures the database once a minute, beside the reconcile loop: a slow answer must delay no job."""

import asyncio
import logging
from typing import Final

from codebase_index.store.catalog.statistics import read_statistics
from codebase_index.store.database import Database
from codebase_index.store.errors import StoreError
from codebase_operator.metrics import Metrics

log = logging.getLogger(__name__)

INTERVAL: Final = 60.0
"""Seconds between measurements: sizes change slowly, and Postgres looks at every file of the database for them."""


async def measure(database: Database, namespace: str, metrics: Metrics) -> None:
    """Keep the metrics of the database up to date until cancelled. While it is away, the last ones stay."""
    while True:
        try:
            metrics.set_statistics(await read_statistics(database, namespace))
        except StoreError as error:
            log.info("the database was not measured", extra={"reason": str(error)})
        await asyncio.sleep(INTERVAL)
