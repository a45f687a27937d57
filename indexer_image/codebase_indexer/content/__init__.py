"""What of a file is indexed: decoded, judged, free of secrets. Pure."""
