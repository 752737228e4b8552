"""Packs (H5): read a repository, have it packed by the system under proof, verify the index."""
