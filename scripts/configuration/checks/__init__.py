"""The checks, by what they look at; a new one is a function and a line in its module's CHECKS."""
