"""Runs the worker. Holds nothing: the processes of the pool import this module again when they start."""

if __name__ == "__main__":
    from codebase_indexer.main import main

    main()
