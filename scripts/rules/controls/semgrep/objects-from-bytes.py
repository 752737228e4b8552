import json
import marshal
import pickle
import shelve

pickle.loads(b"")  # forbidden: objects-from-bytes
pickle.load(open("x", "rb"))  # forbidden: objects-from-bytes
marshal.loads(b"")  # forbidden: objects-from-bytes
shelve.open("x")  # forbidden: objects-from-bytes
pickle.dumps(1)
json.dumps(1)
