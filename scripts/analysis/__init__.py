"""Static analysis and mutation testing: what looks at the code itself."""
