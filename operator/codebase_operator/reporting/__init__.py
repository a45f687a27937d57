"""What is said of a job: conditions, status, events, messages. Pure."""
