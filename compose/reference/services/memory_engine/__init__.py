"""The memory-engine: documents, results, vectors and versioned state on SQLite in WAL mode."""
