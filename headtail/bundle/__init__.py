"""The bundle: one folder `NAME.bundle/` that holds everything about one exported model.

    reading.py       Bundle: the manifest and where its files lie
    verifying.py     every file against its promise; which one changed
    opening.py       open_bundle: a folder, or a .zip unpacked for as long as it is used
    copying.py       copy_bundle: the same bundle elsewhere, checked on the way
    staging.py       write beside the destination, fsync, rename: all or nothing
    writing.py       BundleWriter: files in, sealed bundle out
    transport.py     the same bundle as one stored .zip; unpacking that trusts nothing
    signature.py     who vouches for a bundle: Ed25519 over its manifest
    ed25519.py       the verification, without any library
    measurements.py  report.json and report.html, sealed apart from the content

`report.*` are measurements of a bundle, not part of it: they have their own digest, may be written
again, and do not travel in the .zip, so that equal content has equal bytes.
"""

from headtail.bundle.measurements import read_report, update_report, write_report
from headtail.bundle.opening import open_bundle
from headtail.bundle.reading import Bundle
from headtail.bundle.staging import check_destination
from headtail.bundle.transport import pack_zip, unpack_zip
from headtail.bundle.verifying import verify_files
from headtail.bundle.writing import BundleWriter

__all__ = [
    "Bundle",
    "BundleWriter",
    "check_destination",
    "open_bundle",
    "pack_zip",
    "read_report",
    "unpack_zip",
    "update_report",
    "verify_files",
    "write_report",
]
