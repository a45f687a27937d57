"""What is true and what can be done: one snapshot, the actions, the site's policy. Pure."""
