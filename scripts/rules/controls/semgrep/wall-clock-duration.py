import time

start = time.time()
seconds = time.time() - start  # forbidden: wall-clock-duration
left = start - time.time()  # forbidden: wall-clock-duration
start = time.monotonic()
seconds = time.monotonic() - start
yesterday = time.time() - 86400
