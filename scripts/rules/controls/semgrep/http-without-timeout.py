import http.client
import urllib.request

import requests

requests.get("http://127.0.0.1")  # forbidden: http-without-timeout
requests.post("http://127.0.0.1", json={})  # forbidden: http-without-timeout
urllib.request.urlopen("http://127.0.0.1")  # forbidden: http-without-timeout
http.client.HTTPConnection("127.0.0.1", 7000)  # forbidden: http-without-timeout
requests.get("http://127.0.0.1", timeout=2)
requests.Session()
urllib.request.urlopen("http://127.0.0.1", timeout=2)
http.client.HTTPConnection("127.0.0.1", 7000, timeout=2)
