"""What can be asked of the command: a module for each kind of thing."""
