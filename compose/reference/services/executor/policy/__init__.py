"""The tool policy: Rego over data, approved by hash, read again at every request (G3b)."""
