"""Small declared checks of a stack's configuration (K1, G3d)."""
