"""Find secrets in files, archives, streams and git history (H4, G3d)."""
