"""`python -m codebase_operator`: run the operator with the settings of the environment."""

import logging
import os
import sys

from codebase_index import logs, tracing
from codebase_operator.app import liveness_endpoint, run
from codebase_operator.settings import Settings, SettingsInvalid


def main() -> int:
    """Run until SIGTERM; 2 when the settings are not usable."""
    logs.configure("operator", os.environ.get("CODEBASE_LOG_LEVEL", "INFO"))
    try:
        settings = Settings.from_env()
    except SettingsInvalid as error:
        logging.getLogger(__name__).error("cannot start", extra={"error": str(error)})
        return 2
    tracing.configure("codebase-operator")
    run(settings, liveness_endpoint())
    return 0


if __name__ == "__main__":
    sys.exit(main())
