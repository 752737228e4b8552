import asyncio
import os
import subprocess

subprocess.run("ls", shell=True)  # forbidden: no-shell
subprocess.Popen("ls *", cwd="/", shell=True)  # forbidden: no-shell
os.system("ls")  # forbidden: no-shell
os.popen("ls")  # forbidden: no-shell
asyncio.create_subprocess_shell("ls")  # forbidden: no-shell
subprocess.run(["ls"], shell=False)
subprocess.run(["ls"])
