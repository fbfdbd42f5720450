"""Files that browsers have sent lie in the server's memory until their tab is closed: of each tab, the newest stay."""

from __future__ import annotations

from streamlit import runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

MAX_UPLOADED_BYTES = 220_000_000  # bytes of one tab: more than is read of one upload, of one file or of many


def forget_old() -> None:
    """Drop what a tab has sent before its last MAX_UPLOADED_BYTES bytes."""
    manager = runtime.get_instance().uploaded_file_mgr if runtime.exists() else None
    if isinstance(manager, MemoryUploadedFileManager):
        forget(manager)


def forget(manager: MemoryUploadedFileManager) -> None:
    """Of each tab."""
    for tab, files in list(manager.file_storage.items()):
        left = MAX_UPLOADED_BYTES
        for name, file in reversed(list(files.items())):
            left -= len(file.data)
            if left < 0:
                manager.remove_file(tab, name)
