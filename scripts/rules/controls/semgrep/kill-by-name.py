import os
import signal
import subprocess

subprocess.run(["pkill", "-f", "python"])  # forbidden: kill-by-name
subprocess.run(["killall", "python"])  # forbidden: kill-by-name
os.kill(1234, signal.SIGTERM)
subprocess.run(["kill", "1234"])
