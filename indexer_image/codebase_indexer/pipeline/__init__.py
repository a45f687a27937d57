"""From the file list to committed batches: claim, process, embed, write."""
