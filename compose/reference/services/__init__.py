"""The reference system: six small services and a local targets site (design.md)."""
