"""The reference system with one control switched off, for the self-test of its attacks.

Nothing in `services` knows of this package, and no image has it: it replaces one control from
outside, in its own process, and starts the service as usual.
"""
