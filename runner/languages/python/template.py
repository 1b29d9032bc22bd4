"""The warmed Python: imports what programs commonly want, rehearses a run, freezes what it has, and
then forks one child per program (see fork_loop.h). Everything above serve() happens once; everything
below it happens in a child that has already lost every privilege.
"""
import sys

# ---- once, in the template -------------------------------------------------------------------

import _weakref
import atexit
import contextlib
import gc
import importlib.machinery
import importlib.util
import io
import json
import os
import threading
import types
from _signal import signal

WORK = "/box/work"
HERE = os.path.dirname(os.path.abspath(__file__))

# What a fork costs grows with what is mapped, so there are several templates and each program is
# forked from the smallest that has what it mentions (manifest.json). Every one has these:
LIGHT = "collections functools io itertools json math operator re string time"
# and the argument names sets of further ones.
SETS = {
    "batteries": (
        "argparse array ast asyncio base64 bisect calendar collections.abc concurrent.futures.thread contextlib "
        "copy csv dataclasses datetime decimal difflib enum encodings.idna errno fractions glob hashlib heapq hmac html inspect linecache "
        "locale logging multiprocessing.context numbers pathlib pickle platform pprint queue random secrets select shutil "
        "signal socket statistics struct subprocess tempfile textwrap threading timeit traceback typing unicodedata "
        "urllib.parse uuid warnings weakref zlib zoneinfo"
    ),
    "numpy": "numpy",
}
# What interactive work wants, in a template of its own (manifest.json: session). Not matplotlib: it
# must write a list of fonts when it is imported, and sessions would be forked from thrice the memory.
SETS["session"] = SETS["batteries"] + (
    " codecs fcntl getpass linecache pydoc runpy selectors tokenize traceback"
    " numpy pandas"
)


def load_extension():
    path = os.path.join(HERE, "_forkbox.so")
    loader = importlib.machinery.ExtensionFileLoader("_forkbox", path)
    spec = importlib.util.spec_from_file_location("_forkbox", path, loader=loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def preload(sets):
    for name in " ".join([LIGHT] + [SETS[one] for one in sets]).split():
        try:
            __import__(name)
        except Exception:
            # Optional: a program that wants it gets the ordinary ImportError. And one that has
            # trouble with this place, where nothing can be written, is imported where it is used.
            pass


def open_streams():
    """Standard streams on pipes, as a child has them: what they remember of their file stays true."""
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    stdin_errors = sys.stdin.errors
    for fd in (0, 1):
        ends = os.pipe()
        os.dup2(ends[0] if fd == 0 else ends[1], fd)
        os.close(ends[0])
        os.close(ends[1])
    sys.stdin = sys.__stdin__ = open(0, "r", encoding=encoding, errors=stdin_errors, closefd=False)
    # Lines leave at once, so that what was printed before a time limit is not lost with the process.
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(
        open(1, "wb", closefd=False), encoding=encoding, errors=errors, line_buffering=True
    )
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(
        open(2, "wb", closefd=False), encoding=encoding, errors="backslashreplace", line_buffering=True
    )
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        stream.mode = mode
        stream.buffer.raw.name = f"<{name}>"


def rehearse(forkbox):
    """A run through the very code that programs go through, so that its pages are warm."""
    namespace = {"__name__": "rehearsal", "__builtins__": __builtins__}
    source = (
        b"import math\n"
        b"def f(x):\n    return [i * x for i in range(3)]\n"
        b"s = ''.join(f'{v}' for v in f(2)) + str(math.sqrt(2) + 1)\n"
    )
    forkbox.execute(source, "rehearsal.py", namespace)


# ---- function entry: the source is the body of a function, whose value is the answer -----------

MAX_VALUE_BYTES = 1 << 20
ONLY_AST = 0x400  # ast.PyCF_ONLY_AST, without importing ast
NOTHING = compile("pass", "<template>", "exec", ONLY_AST).body
encode_value = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def parse_body(source, path):
    """The statements of a function's body: `return` outside a function is an error of the compiler,
    not of the parser, so that strings and line numbers stay what they are."""
    try:
        return compile(source, path, "exec", ONLY_AST, True).body
    except IndentationError as error:
        problem = error.with_traceback(None)
    # The body of a function may be indented as a whole.
    try:
        shifted = compile(b"if 1:\n" + source, path, "exec", ONLY_AST, True)
    except SyntaxError:
        raise problem from None
    if len(shifted.body) != 1 or shifted.body[0].orelse:
        raise problem
    import ast

    return ast.increment_lineno(shifted, -1).body[0].body


def define(source, path, namespace):
    module = compile("def main(): pass", path, "exec", ONLY_AST, True)
    module.body[0].body = parse_body(source, path) or NOTHING
    exec(compile(module, path, "exec", 0, True), namespace)
    return namespace.pop("main")


def call(source, path, namespace):
    """Runs the function and answers for it; returns the exit code."""
    namespace.update(sys=sys, json=json, StringIO=io.StringIO, contextlib=contextlib)
    try:
        function = define(source, path, namespace)
    except BaseException as error:
        sys.excepthook(type(error), error.with_traceback(None), None)
        forkbox.answer(channel, b"c")
        return 1
    code, value = forkbox.call(function)
    if code != 0:
        return code
    try:
        text = encode_value(value).encode()
        if len(text) > MAX_VALUE_BYTES:
            raise ValueError(f"larger than {MAX_VALUE_BYTES} bytes")
    except BaseException as error:  # whatever the value's own methods raise
        complain("the returned value cannot be represented as JSON", error)
        return 1
    forkbox.answer(channel, b"v" + text)
    return 0


def complain(problem, error):
    try:
        sys.stderr.write(f"Error: {problem}: {error}\n")
    except BaseException:
        pass  # the program's own stderr, or its own exception


forkbox = load_extension()
preload(sys.argv[1:])
open_streams()
rehearse(forkbox)
# Its pages too, here only: programs that are no functions have nothing of it.
encode_value(forkbox.call(define(b"return [0.5]", "rehearsal.py", {}))[1])
numpy_random = sys.modules.get("numpy.random")
plain_random = sys.modules.get("random")
multiprocessing_process = sys.modules.get("multiprocessing.process")
shutdown_threads = threading._shutdown
run_atexit = atexit._run_exitfuncs
session = None
if "session" in sys.argv[1:]:
    from forkbox_session import session  # beside this file, which is where sys.path begins here

    session.prepare(forkbox)
gc.collect()
gc.freeze()  # the collector never touches what is shared with the template

channel = forkbox.serve()

# ---- in each child, before its job is known: pooled forks do this while nobody waits ------------



def reseed():
    """What was drawn when the template started, or before this machine was copied, drawn anew."""
    if numpy_random is not None:
        numpy_random.seed()
    if multiprocessing_process is not None:
        multiprocessing_process.current_process().authkey = os.urandom(32)


reseed()  # `random` does this by itself after a fork
sys.path[0] = WORK
# The first writes to shared pages are the dear part of a run: have them behind us.
rehearse(forkbox)


def set_environment(wanted):
    environ = os.environb
    present = dict(environ._data)  # as bytes; by itself every look at os.environ encodes and decodes
    for name in present:
        if name not in wanted:
            del environ[name]
    for name, value in wanted.items():
        if present.get(name) != value:
            environ[name] = value
    if b"TZ" in wanted:
        import time

        time.tzset()


def new_main(path):
    main = types.ModuleType("__main__")
    main.__file__ = path
    main.__builtins__ = sys.modules["builtins"]
    main.__cached__ = None
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    main.__annotations__ = {}
    return main


def clear_module(module):
    """As the interpreter empties a module when it ends: private names first, so that __del__ of
    what remains still finds the public ones."""
    names = module.__dict__
    for private in (True, False):
        for name in list(names):
            if name != "__builtins__" and name.startswith("_") == private:
                names[name] = None


USUAL_MAIN = new_main(WORK + "/main.py")  # while nobody waits for it


def run(source, file_name, args, env, is_function):
    set_environment(env)
    path = f"{WORK}/{os.fsdecode(file_name)}"
    sys.argv = [path] + [os.fsdecode(arg) for arg in args]
    global USUAL_MAIN
    main = USUAL_MAIN if USUAL_MAIN.__file__ == path else new_main(path)
    del USUAL_MAIN
    sys.modules["__main__"] = main
    if "__mp_main__" in sys.modules:  # the alias by which spawned children name this module
        sys.modules["__mp_main__"] = main
    code = (call if is_function else forkbox.execute)(source, path, main.__dict__)
    # What Py_FinalizeEx does that a program can notice.
    shutdown_threads()
    run_atexit()
    flushed = forkbox.flush_streams(True)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    kept = _weakref.ref(main)
    sys.modules.pop("__mp_main__", None)
    del sys.modules["__main__"], main
    gc.collect()  # most programs die here, with their globals still whole for every __del__
    if kept() is not None:
        clear_module(kept())
        gc.collect()
    forkbox.flush_streams(False)
    if code < 0:
        signal(-code, 0)  # SIG_DFL
        os.kill(os.getpid(), -code)
    code = code if flushed else 120
    if is_copied:
        forkbox.announce(code)
    os._exit(code)


source, file_name, args, env, is_function, is_session, is_copied = forkbox.receive(channel)
if is_copied:
    if plain_random is not None:
        plain_random.seed()
    reseed()
if is_session:
    set_environment(env)
    session.serve()
run(source, file_name, args, env, is_function)
