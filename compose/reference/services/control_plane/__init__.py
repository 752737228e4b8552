"""The control-plane: jobs, workspaces, simulations and audit bundles."""
