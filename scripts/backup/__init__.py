"""Backups of a system's stores: snapshot, archive, verify, restore, keep (G4)."""
