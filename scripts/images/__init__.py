"""Container images: the wheels that they are built from, and what is in them."""
