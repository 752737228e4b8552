"""What is wrong in a long run: pure functions over what was sampled."""
