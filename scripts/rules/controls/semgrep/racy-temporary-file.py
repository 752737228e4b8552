import tempfile

tempfile.mktemp()  # forbidden: racy-temporary-file
tempfile.mkstemp()
tempfile.mkdtemp()
