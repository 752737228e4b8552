"""The gateway: the front door that clients talk to; it keeps no data of its own."""
