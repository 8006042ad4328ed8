"""Bytes by their SHA-256: written once, however many rows refer to them.

    receive → hold (a row says who needs them) → put → refer to them in the row that needs them

A blob's row is committed before its bytes are written, and its bytes are deleted before its row is, under that row's
lock. So bytes nobody knows of can't be left behind, and what a row refers to is there; see
`models/repositories/holdings.py`.
"""

from models.blobs.incoming import Incoming, Received, receiving
from models.blobs.opening import open_store
from models.blobs.store import BlobStore

__all__ = ["BlobStore", "Incoming", "Received", "open_store", "receiving"]
