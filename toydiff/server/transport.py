"""Messages between the app and its workers: pickles through a pipe, tensors as they lie in memory.

Only between our own processes, over a pipe that no other process holds. What a user sends is never unpickled.
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
    """Sends tensors as numpy arrays on the CPU, which is faster than torch's own way."""

    dispatch_table = copyreg.dispatch_table | {
        Tensor: lambda x: (torch.from_numpy, (x.detach().cpu().numpy(),)),
    }


def packed(message: object) -> bytes:
    """A message as bytes, for `unpacked`."""
    file = io.BytesIO()
    _Pickler(file, protocol=5).dump(message)
    return file.getvalue()


def unpacked(content: bytes) -> Any:
    """The message of `packed`. Its tensors are copies."""
    return pickle.loads(content)


def send(stream: IO[bytes], message: object) -> None:
    """Write a message. OSError if the reader has ended."""
    file, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
    _Pickler(file, protocol=5, buffer_callback=buffers.append).dump(message)
    parts = [file.getbuffer(), *(buffer.raw() for buffer in buffers)]
    stream.write(struct.pack(f"<{1 + len(parts)}Q", len(parts), *(part.nbytes for part in parts)))
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: IO) -> tuple[Any, int]:
    """Wait for the next message; returns it and its size in bytes. EOFError if the writer has ended."""
    (count,) = struct.unpack("<Q", _exactly(stream, 8))
    sizes = struct.unpack(f"<{count}Q", _exactly(stream, 8 * count))
    content, *buffers = (_exactly(stream, size) for size in sizes)
    return pickle.loads(content, buffers=buffers), sum(sizes)


def _exactly(stream: IO[bytes], size: int) -> bytearray:
    """Read `size` bytes into memory that can be written to: tensors use it."""
    content = bytearray(size)
    view, got = memoryview(content), 0
    while got < size:
        more = stream.readinto(view[got:])  # type: ignore[attr-defined]
        if not more:
            raise EOFError
        got += more
    return content
