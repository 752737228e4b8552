"""The sessions service: create, heartbeat, destroy, expiry."""
