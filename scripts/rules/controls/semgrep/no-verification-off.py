import ssl

import jwt
import requests

requests.get("https://127.0.0.1", timeout=2, verify=False)  # forbidden: no-verification-off
context = ssl._create_unverified_context()  # forbidden: no-verification-off
context.verify_mode = ssl.CERT_NONE  # forbidden: no-verification-off
jwt.decode("x", options={"verify_signature": False})  # forbidden: no-verification-off
requests.get("https://127.0.0.1", timeout=2, verify="ca.pem")
context.verify_mode = ssl.CERT_REQUIRED
jwt.decode("x", "key", algorithms=["EdDSA"], options={"require": ["exp"]})
