"""The indexable text of a file: decoded, filtered, secrets redacted. Pure."""
