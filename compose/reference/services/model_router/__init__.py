"""The model-router: a deterministic seeded model behind quotas and provider fall-back."""
