"""What the tool services of compose.yaml run: each module is one command and one verdict."""
