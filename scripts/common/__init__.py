"""What every script shares: command line, log, hashing, schema validation."""
