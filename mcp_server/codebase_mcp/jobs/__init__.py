"""The job tools: create, find, cancel and show IndexingJobs."""
