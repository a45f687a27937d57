"""What the job tools do: create, find, cancel and show IndexingJobs."""
