"""Jobs and their workers: state, fencing token, queue, heartbeat."""
