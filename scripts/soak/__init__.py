"""The soak: steady traffic for days, watched each second, kept so that no crash loses it."""
