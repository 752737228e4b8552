"""The executor's tools: shell, file and browser, under a policy that the server enforces."""
