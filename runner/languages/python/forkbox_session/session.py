"""An interactive session: a context of Python, from its first cell to its end.

A template (template.py) imports this and rehearses it; each session is a fork of that, and each
copy of a session is a fork of it. Cells run in the main thread, in the module __main__. The channel
is wire.py's; what cells print goes the ordinary way.
"""
import asyncio
import builtins
import contextlib
import fcntl
import getpass
import io
import os
import selectors
import signal
import sys
import threading
import time
import types

from . import cells, figures, ipython_shim, magics, rich, wire

FIRST_FREE = 10  # descriptors below are not taken for what is only passing
KEPT_RESULTS = 100
KEPT_SOURCES = 1000
THREADS_PATIENCE = 0.3  # seconds
LAST_WORDS = 2  # seconds that an interrupted task has for them
LOOP_CODE = tuple(os.path.dirname(module.__file__) for module in (asyncio, wire)) + (selectors.__file__,)

channel = wire.Channel()
fork_orphan = None  # of the extension module


class StdinNotImplementedError(EOFError, NotImplementedError):
    """input() in a cell: there is nobody to answer."""

    __module__ = "builtins"  # so that tracebacks say the name alone


class Session:
    def __init__(self):
        self.owner = os.getpid()
        self.count = 0
        self.running = False  # what a cell asked for: the only time when an interrupt means something
        self.starting = False  # a request is there
        self.early = False  # an interrupt has come for the cell that is about to run
        self.awaiting = None  # the task of a cell that awaits
        self.cancelled = False  # by an interrupt
        self.copying = False
        self.loop = None
        self.last = None
        self.compiler = cells.Compiler()
        self.module = types.ModuleType("__main__", None)
        self.namespace = self.module.__dict__
        self.shell = magics.Shell(self)
        self.given = {}

    def install(self):
        """Makes this process the session's."""
        sys.modules["__main__"] = self.module
        if "__mp_main__" in sys.modules:
            sys.modules["__mp_main__"] = self.module
        sys.argv = [""]
        sys.path[0] = ""
        self.namespace.update(
            __builtins__=builtins,
            display=ipython_shim.display,
            get_ipython=lambda: self.shell,
            In=[""],
            Out={},
        )
        self.given = dict(self.namespace)
        builtins.input = no_input
        builtins.exit, builtins.quit = Exit("exit"), Exit("quit")
        getpass.getpass = no_input
        figures.send = ipython_shim.send = self.display
        ipython_shim.show = self.show
        signal.signal(signal.SIGINT, self.interrupt)

    # ---- the life of a session

    def serve(self):
        self.say_ready()
        while True:
            try:
                self.wait()
                self.starting = True
                message, descriptors = channel.receive()
            except (wire.Closed, OSError, ValueError, AttributeError):
                os._exit(0)
            what = message.get("op")
            if what == "run":
                self.run(str(message.get("code", "")))
            elif what == "fork" and len(descriptors) == wire.FORK_DESCRIPTORS:
                # Before the answer, as run() does: after it the next cell may be here already.
                self.starting = self.early = False
                self.fork(descriptors)

    def say_ready(self):
        channel.send(ev="ready", pid=os.getpid(), forks=True)

    def wait(self):
        """For the next request. What cells have left in the event loop goes on meanwhile."""
        loop = self.loop
        while loop is not None and not loop.is_closed() and asyncio.all_tasks(loop):
            loop.add_reader(wire.CHANNEL, loop.stop)
            try:
                loop.run_forever()
                return
            except BaseException:  # a task's SystemExit ends the task
                pass
            finally:
                loop.remove_reader(wire.CHANNEL)
        channel.wait(None)

    def interrupt(self, _number, frame):
        if os.getpid() == self.owner:
            if not self.running:
                self.early = self.early or self.starting or channel.wait(0)
                return
            if channel.sending:
                channel.interrupted = True
                return
            task = self.awaiting
            if task is not None and not task.done() and not self.cancelled and is_loops(frame):
                self.cancelled = task.cancel()
                self.loop.call_soon_threadsafe(lambda: None)
                return
        raise KeyboardInterrupt

    # ---- cells

    def run(self, source):
        self.count += 1
        error = told = None
        try:
            try:
                self.running = True
                if self.early:
                    raise KeyboardInterrupt
                self.run_interruptible(source)
            finally:
                self.running = False
        except BaseException as raised:
            self.running = False
            error = raised
        if os.getpid() != self.owner:
            leave(error)
        if error is not None:
            told = self.describe(error)
            sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
            error = None
        flush(sys.__stdout__, sys.__stderr__)
        self.starting = self.early = False
        if told is not None:
            channel.send(ev="error", **told)
        channel.send(ev="done", count=self.count)

    def describe(self, error):
        """Its own methods say what it is, and may be interrupted."""
        try:
            try:
                self.running = True
                return cells.describe(error)
            finally:
                self.running = False
        except BaseException:
            self.running = False
            name = type(error).__name__
            return {"ename": name, "evalue": "", "traceback": [name]}

    def run_interruptible(self, source):
        reopen_streams()
        if self.loop is not None and not self.loop.is_closed():
            asyncio.set_event_loop(self.loop)  # asyncio.run() leaves none
        history = self.namespace.get("In")
        if type(history) is list:
            history.append(source)
            if len(history) > KEPT_SOURCES:
                history[-KEPT_SOURCES - 1] = ""
        try:
            value = self.execute(source, f"<cell {self.count}>")
            if value is not None and os.getpid() == self.owner:
                self.result(value)
        finally:
            if os.getpid() == self.owner:
                try:
                    figures.flush()
                except Exception as error:
                    rich.complain("figure", error)
                flush()

    def execute(self, source, name=None):
        """The value of its last expression, None if there is none."""
        name = name or f"<cell {self.count} {len(source)}>"
        cells.remember(source, name)
        cell = self.compiler.compile(magics.rewrite(source), name)
        if cells.is_coroutine(cell.body) or cells.is_coroutine(cell.last) or cell.wants_loop:
            return self.run_coroutine(self.evaluate(cell))
        if cell.body is not None:
            exec(cell.body, self.namespace)
        return eval(cell.last, self.namespace) if cell.last is not None else None

    async def evaluate(self, cell):
        value = None
        for code in (cell.body, cell.last):
            if code is not None:
                value = eval(code, self.namespace)
                if cells.is_coroutine(code):
                    value = await value
        return value if cell.last is not None else None

    def run_coroutine(self, coroutine):
        loop = self.event_loop()
        task = loop.create_task(coroutine)
        self.awaiting, self.cancelled = task, False
        # An interrupt right before the loop begins to wait would else be seen when it has waited.
        wakes = getattr(loop, "_csock", None)
        if wakes is not None:
            signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError as error:
            if not self.cancelled:
                raise
            raise KeyboardInterrupt().with_traceback(error.__traceback__) from None
        finally:
            self.awaiting = None
            if wakes is not None:
                signal.set_wakeup_fd(-1)
            if not task.done():  # the interrupt met another task
                task.cancel()
                loop.run_until_complete(asyncio.wait([task], timeout=LAST_WORDS))
            if task.done() and not task.cancelled():
                task.exception()  # has been told

    def event_loop(self):
        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        return self.loop

    # ---- what they show

    def result(self, value):
        names = self.namespace
        # As in every Python prompt: not where the program has an `_` of its own.
        if names.get("_") is self.last:
            names["___"], names["__"], names["_"] = names.get("__"), names.get("_"), value
        self.last = names.get("_")
        results = names.get("Out")
        if type(results) is dict:
            results[self.count] = value
            results.pop(self.count - KEPT_RESULTS, None)
        shows_itself = rich.method_of(value, "_ipython_display_")
        if shows_itself is not None:
            return shows_itself()
        data = rich.bundle(value, RENDERERS)
        flush()
        channel.send(ev="result", count=self.count, data=data)
        figures.forget(value)

    def show(self, value):
        shows_itself = rich.method_of(value, "_ipython_display_")
        if shows_itself is not None:
            return shows_itself()
        self.display(rich.bundle(value, RENDERERS))
        figures.forget(value)

    def display(self, data):
        checked = {}
        for kind, content in data.items():
            rich.add(checked, str(kind), content)
        checked.setdefault("text/plain", "")
        flush()
        channel.send(ev="display", data=rich.within_bounds(checked))
        channel.wait_until_taken()

    # ---- copies

    def fork(self, descriptors):
        problem = self.why_no_copy()
        pid = -1
        if problem is None:
            flush()
            self.copying = True
            try:
                pid = fork_orphan()
            except OSError as error:
                problem = f"no further process: {error.strerror}"
            finally:
                self.copying = False
        if pid == 0:
            self.become_copy(descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        if problem is None:
            channel.send(ev="forked")
        else:
            channel.send(ev="fork_failed", message=problem)

    def why_no_copy(self):
        self.end_idle_executor()
        end = time.monotonic() + THREADS_PATIENCE
        names = other_threads()
        # A thread that has been joined may not yet have left the system.
        while names and threading.active_count() == 1 and time.monotonic() < end:
            time.sleep(0.001)
            names = other_threads()
        if names:
            return f"threads are running, and a copy would not have them: {', '.join(names[:20])}"
        return None

    def end_idle_executor(self):
        """asyncio.to_thread() keeps its threads for the next time; they are made anew then."""
        executor = getattr(self.loop, "_default_executor", None)
        if executor is None:
            return
        self.loop._default_executor = None
        executor.shutdown(wait=False)
        for thread in list(getattr(executor, "_threads", ())):
            thread.join(0.2)

    def become_copy(self, descriptors):
        os.setsid()
        moved = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE) for one in descriptors]
        for descriptor in descriptors:
            os.close(descriptor)
        channel.detach()
        for descriptor, place in zip(moved, (wire.CHANNEL, 0, 1, 2)):
            os.dup2(descriptor, place, inheritable=place != wire.CHANNEL)
            os.close(descriptor)
        self.owner = os.getpid()
        channel.open()
        renew_randomness()
        if self.loop is not None and not self.loop.is_closed():
            self.renew_loop()
        self.say_ready()

    def renew_loop(self):
        """The same loop with the same tasks, but nothing of the system shared with the other's:
        an epoll instance is one for all who have inherited it (epoll(7))."""
        loop = self.loop
        try:
            shared, own = loop._selector, selectors.DefaultSelector()
            for key in list(shared.get_map().values()):
                with contextlib.suppress(OSError, ValueError, KeyError):
                    own.register(key.fileobj, key.events, key.data)
            loop._selector = own
            shared.close()
            loop._close_self_pipe()
            loop._make_self_pipe()
        except AttributeError:  # another kind of loop
            self.loop = None


RENDERERS = ((figures.is_figure, "image/png", figures.to_png),)


def other_threads():
    """The names of all but this one, those that no Python knows of too."""
    threads = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    names = [thread.name for thread in threads]
    known = {os.getpid(), *(thread.native_id for thread in threads)}
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/self/task"):
            if int(task) not in known:
                with open(f"/proc/self/task/{task}/comm") as file:
                    names.append(f"{file.read().strip()} (of a library)")
    return names


def is_loops(frame):
    """An exception in there would leave the loop between two states: the task is cancelled then."""
    return frame is not None and frame.f_code.co_filename.startswith(LOOP_CODE)


def renew_randomness():
    """Two that go on from one state would draw the same numbers."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = os.urandom(32)
    # `random` does this by itself after every fork.


def flush(*streams):
    for stream in streams or (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except Exception:  # whatever the program made of it
            pass


def reopen_streams():
    """A cell that closed its output, or left it in a file that it has closed, is over."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(getattr(sys, name, None), "closed", False) is not True:
            continue
        own = getattr(sys, f"__{name}__")
        if getattr(own, "closed", True):
            with contextlib.suppress(OSError):
                own = open(descriptor, "w", encoding="utf-8", errors="backslashreplace", buffering=1,
                           closefd=False)
            setattr(sys, f"__{name}__", own)
        setattr(sys, name, own)


class Exit:
    """exit() and quit(): the end of a cell. Python's own would close the standard input as well."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"{self.name}() ends the cell; the context goes on"

    def __call__(self, code=None):
        raise SystemExit(code)


def no_input(prompt="", *_ignored, **_ignored_too):
    if prompt:
        print(prompt, end="", flush=True)
    raise StdinNotImplementedError("nobody can answer here: input() is not supported")


def leave(error):
    """The end of a process that a cell has forked, where the cell ended."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        code = 1
        with contextlib.suppress(Exception):
            print("\n".join(cells.traceback_of(error)), file=sys.stderr)
    flush()
    os._exit(code & 0xFF)


def rehearse():
    """Cells of all kinds, in the template, so that what they need is loaded and warm."""
    session = Session()
    session.namespace["__builtins__"] = builtins
    session.namespace["get_ipython"] = lambda: session.shell
    memory = io.StringIO()
    with contextlib.redirect_stdout(memory), contextlib.redirect_stderr(memory):
        for source in (
            "import math\nx = [i * math.pi for i in range(3)]\nprint(x)\nx",
            "{i: 'long enough to be wrapped ' * 2 for i in range(4)}",
            "x +",
            "def f(n):\n    return 1 / n\nf(0)",
            "import asyncio\nawait asyncio.sleep(0)",
            "%pwd",
        ):
            session.run(source)
    session.loop.close()
    asyncio.set_event_loop(None)
    for name in [name for name in __import__("linecache").cache if name.startswith("<cell ")]:
        del __import__("linecache").cache[name]
    for name in ("last_type", "last_value", "last_traceback"):
        if hasattr(sys, name):
            delattr(sys, name)


def prepare(extension):
    """Once, in the template; `extension` is forkbox_python.cc's."""
    global fork_orphan
    fork_orphan = extension.fork_orphan
    ipython_shim.install()
    figures.prepare()
    rehearse()
    os.register_at_fork(after_in_child=after_fork)


current = None


def after_fork():
    if current is not None and not current.copying:
        channel.let_go()


def serve():
    """In the fork that has become a session; its descriptors are in place. Never returns."""
    global current
    current = Session()
    channel.open()
    current.install()
    current.serve()
