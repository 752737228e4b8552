import subprocess  # forbidden: B404
import tempfile

import yaml

subprocess.run("ls", shell=True)  # forbidden: B602 B607
yaml.load("a: 1", Loader=yaml.Loader)  # forbidden: B506
tempfile.mktemp()  # forbidden: B306
eval("1")  # forbidden: B307
print(yaml.safe_load("a: 1"))
