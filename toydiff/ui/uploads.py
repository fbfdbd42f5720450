"""Uploads. Streamlit keeps them in memory until their tab is closed; here the oldest are dropped earlier.
The limits of a single upload stand where it is read, in `data/pictures.py` and `data/tables.py`.
"""

from __future__ import annotations

from streamlit import runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

MAX_UPLOADED_BYTES = 220_000_000  # of one tab: more than any one upload may have


def forget_old() -> None:
    """Drop what a tab has sent before its last MAX_UPLOADED_BYTES bytes."""
    manager = runtime.get_instance().uploaded_file_mgr if runtime.exists() else None
    if isinstance(manager, MemoryUploadedFileManager):
        forget(manager)


def forget(manager: MemoryUploadedFileManager) -> None:
    """Drop the oldest files of each tab, beyond MAX_UPLOADED_BYTES."""
    for tab, files in list(manager.file_storage.items()):
        left = MAX_UPLOADED_BYTES
        for name, file in reversed(list(files.items())):
            left -= len(file.data)
            if left < 0:
                manager.remove_file(tab, name)
