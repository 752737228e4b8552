import hashlib

hashlib.md5(b"x")  # forbidden: broken-hash
hashlib.sha1(b"x", usedforsecurity=False)  # forbidden: broken-hash
hashlib.new("md5", b"x")  # forbidden: broken-hash
hashlib.sha256(b"x")
hashlib.new("sha256", b"x")
