import random
import secrets

token = random.randbytes(16)  # forbidden: guessable-secret
client_secret = "x" + str(random.getrandbits(128))  # forbidden: guessable-secret
token = secrets.token_hex(16)
priority = random.randint(1, 5)
