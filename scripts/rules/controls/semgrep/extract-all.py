import shutil
import tarfile

archive = tarfile.open("x.tar")
archive.extractall("here", filter="data")  # forbidden: extract-all
shutil.unpack_archive("x.tar")  # forbidden: extract-all
archive.extractfile("name")
shutil.make_archive("x", "tar")
