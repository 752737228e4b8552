"""Evidence: run folder, trace, redaction, manifest, signature, verification, report."""
