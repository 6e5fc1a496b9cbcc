"""The run store: finished runs on disk, committed exports, and records of earlier layouts."""

from dip_lib.store.store import Store

__all__ = ["Store"]
