"""The channel of a session (runner/execd/session_wire.h): frames of JSON, descriptors with a fork.

Several threads may send. An interrupt never cuts a frame in two: it waits for its end.
"""
import array
import contextlib
import fcntl
import json
import os
import select
import socket
import struct
import termios
import threading
import time

CHANNEL = 3
MAX_FRAME_BYTES = 16 << 20
FORK_DESCRIPTORS = 4
TAKEN_PATIENCE = 0.05  # seconds


class Closed(Exception):
    """The other end has gone: the session is over."""


class Channel:
    def __init__(self):
        self.socket = None
        self.owner = -1  # what this process's children have to say is not for the channel
        self.lock = threading.Lock()
        self.sending = 0
        self.interrupted = False  # while it was sending

    def open(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=CHANNEL)
        os.set_inheritable(CHANNEL, False)
        self.owner = os.getpid()
        self.lock = threading.Lock()
        self.sending = 0

    def let_go(self):
        """In a child that a cell has forked: the number is free for its own files."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def detach(self):
        self.socket.detach()
        self.socket = None

    def send(self, **message):
        if self.socket is None or os.getpid() != self.owner:
            return
        # Text that no UTF-8 can carry (lone surrogates) is no reason to fail.
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        frame = struct.pack("<I", len(body)) + body
        is_main = threading.current_thread() is threading.main_thread()
        self.sending += is_main
        try:
            with self.lock:
                self.socket.sendall(frame)
        except OSError:
            pass  # nobody listens; the next receive() says so
        finally:
            self.sending -= is_main
        if is_main and self.interrupted and not self.sending:
            self.interrupted = False
            raise KeyboardInterrupt

    def wait_until_taken(self):
        """So that what is printed next comes after what was sent; a slow reader is not waited for."""
        size = array.array("i", [1])
        end = time.monotonic() + TAKEN_PATIENCE
        with contextlib.suppress(OSError, AttributeError):
            while time.monotonic() < end:
                fcntl.ioctl(self.socket, termios.TIOCOUTQ, size)  # unix(7): SIOCOUTQ
                if size[0] == 0:
                    return
                time.sleep(0.00005)

    def wait(self, milliseconds):
        """True when there is something to receive; None waits for it."""
        poll = select.poll()
        poll.register(CHANNEL, select.POLLIN)
        return bool(poll.poll(milliseconds))

    def receive(self):
        """The next message and the descriptors that came with it. Interrupts do not get here."""
        head, ancillary, _, _ = self.socket.recvmsg(
            4, socket.CMSG_SPACE(FORK_DESCRIPTORS * 4), getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        )
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) // 4 * 4])
        head += self._exactly(4 - len(head))
        (size,) = struct.unpack("<I", head)
        if size > MAX_FRAME_BYTES:
            raise Closed
        return json.loads(self._exactly(size)), list(descriptors)

    def _exactly(self, size):
        pieces = []
        while size > 0:
            piece = self.socket.recv(min(size, 1 << 20))
            if not piece:
                raise Closed
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)
