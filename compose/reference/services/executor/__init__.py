"""The executor: takes jobs from the queue, and runs tools under server-side policy."""
