"""Runs the worker. Holds nothing: the processes of the pool import this module again when they start."""

import os

if __name__ == "__main__":
    # Else pydantic reads the metadata of every installed package, looking for plugins, at every start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")

    from codebase_indexer.main import main

    main()
