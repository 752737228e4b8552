import os
from pathlib import Path

os.chmod("x", 0o777)  # forbidden: world-writable
Path("x").chmod(0o666)  # forbidden: world-writable
os.umask(0)  # forbidden: world-writable
os.chmod("x", 0o600)
Path("x").chmod(0o644)
os.umask(0o077)
