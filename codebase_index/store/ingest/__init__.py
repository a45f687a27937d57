"""What a job writes: its work list, the batches, segments, and what it reuses."""
