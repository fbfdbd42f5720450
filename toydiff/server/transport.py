"""Messages between the app and its workers: pickles through a pipe, tensors as they lie in memory.

Only ever between our own processes, over a pipe that nobody else holds: what a user sends is never unpickled.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import struct
from typing import IO, Any

import torch
from torch import Tensor


class _Pickler(pickle.Pickler):
    """Tensors as numpy arrays on the CPU: torch's own way takes a file format for each of them."""

    dispatch_table = copyreg.dispatch_table | {
        Tensor: lambda x: (torch.from_numpy, (x.detach().cpu().numpy(),)),
    }


def packed(message: object) -> bytes:
    """In one piece: for `unpacked`."""
    file = io.BytesIO()
    _Pickler(file, protocol=5).dump(message)
    return file.getvalue()


def unpacked(content: bytes) -> Any:
    """What was packed. Its tensors are copies."""
    return pickle.loads(content)


def send(stream: IO[bytes], message: object) -> None:
    """Write a message. OSError if nobody reads any more."""
    file, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
    _Pickler(file, protocol=5, buffer_callback=buffers.append).dump(message)
    parts = [file.getbuffer(), *(buffer.raw() for buffer in buffers)]
    stream.write(struct.pack(f"<{1 + len(parts)}Q", len(parts), *(part.nbytes for part in parts)))
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: IO) -> tuple[Any, int]:
    """The next message, and its bytes; waits for it. EOFError if there will be none."""
    (count,) = struct.unpack("<Q", _exactly(stream, 8))
    sizes = struct.unpack(f"<{count}Q", _exactly(stream, 8 * count))
    content, *buffers = (_exactly(stream, size) for size in sizes)
    return pickle.loads(content, buffers=buffers), sum(sizes)


def _exactly(stream: IO[bytes], size: int) -> bytearray:
    """So many bytes, which may be written to: tensors lie in them."""
    content = bytearray(size)
    view, got = memoryview(content), 0
    while got < size:
        more = stream.readinto(view[got:])  # type: ignore[attr-defined]
        if not more:
            raise EOFError
        got += more
    return content
