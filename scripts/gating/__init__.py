"""Gates: data, the frame that runs them, and the ledger that remembers."""
