#!/usr/bin/env python3
"""make_archive_seeds.py — small packages in archives, from which the archive fuzzer begins.

make_archive_seeds.py FOLDER writes package.tar, package.tar.gz and package.zip; the same bytes on
every run (Python 3.11).
"""

import gzip
import io
import pathlib
import sys
import tarfile
import zipfile

FILES = {"adapter_config.json": b'{"r": 4}', "adapter_model.safetensors": b"\2\0\0\0\0\0\0\0{}",
         "tokenizer.json": b"{}", "README.md": b"x"}


def main():
    folder = pathlib.Path(sys.argv[1])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(f"adapter/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (folder / "package.tar").write_bytes(buffer.getvalue())
    (folder / "package.tar.gz").write_bytes(gzip.compress(buffer.getvalue(), mtime=0))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    (folder / "package.zip").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
