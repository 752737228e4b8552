import subprocess

import docker

client = docker.from_env()
client.containers.prune()  # forbidden: others-containers
client.volumes.prune()  # forbidden: others-containers
client.api.prune_networks()  # forbidden: others-containers
subprocess.run(["docker", "system", "prune", "--force"])  # forbidden: others-containers
client.containers.list(filters={"label": "com.docker.compose.project=x"})
subprocess.run(["docker", "compose", "down", "--volumes"])
