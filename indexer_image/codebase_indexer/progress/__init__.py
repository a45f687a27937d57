"""What the pod reports of itself: counters, messages, heartbeat."""
