"""From a snapshot to the actions that are due: no I/O, no clock, no memory."""
