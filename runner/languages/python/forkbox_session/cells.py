"""Cells of code: compiled, with await at the top where they have it, and what goes wrong in them
told as Python tells it, without a frame of ours."""
import __future__
import ast
import inspect
import io
import linecache
import os
import tokenize
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
FUTURES = 0
for _name in __future__.all_feature_names:
    FUTURES |= getattr(__future__, _name).compiler_flag
# Called outside of a function these want a loop that runs, as notebooks have one.
WANT_LOOP = {"create_task", "get_running_loop", "TaskGroup", "current_task"}
MAX_VALUE = 64 << 10  # characters of what an exception says
MAX_LINES = 300  # of a traceback: the first and the last
MAX_LINE = 2000


class Cell:
    """`body` and `last`: code objects, either may be None."""

    def __init__(self, body, last, wants_loop):
        self.body, self.last, self.wants_loop = body, last, wants_loop


class Compiler:
    """Remembers the `from __future__` of earlier cells."""

    def __init__(self):
        self.flags = 0

    def compile(self, source, name):
        """SyntaxError, or what else the parser makes of it."""
        flags = self.flags | TOP_LEVEL_AWAIT
        source = without_indent(source)
        tree = compile(source, name, "exec", flags | ast.PyCF_ONLY_AST, True)
        wants_loop = calls_for_a_loop(source, tree)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr) and not ends_in_semicolon(source):
            last = tree.body.pop()
        try:
            body = compile(tree, name, "exec", flags, True)
            flags |= body.co_flags & FUTURES
            if last is not None:
                last = compile(ast.Expression(last.value), name, "eval", flags, True)
        except SyntaxError as error:
            # What the compiler itself finds has no source line with it.
            lines = source.split("\n")
            if error.text is None and error.lineno and error.lineno <= len(lines):
                error.text = lines[error.lineno - 1]
            raise
        self.flags |= flags & FUTURES
        return Cell(body if tree.body else None, last, wants_loop)


def without_indent(source):
    """A piece out of the middle of something, pasted as it was, as if it began at the margin."""
    if source.lstrip("\n")[:1] not in (" ", "\t"):
        return source
    first = next((line for line in source.split("\n") if line.strip() and line.lstrip()[0] != "#"), "")
    indent = first[: len(first) - len(first.lstrip(" \t"))]
    return "\n".join(line.removeprefix(indent) for line in source.split("\n"))


def is_coroutine(code):
    return code is not None and bool(code.co_flags & inspect.CO_COROUTINE)


def calls_for_a_loop(source, tree):
    if not any(word in source for word in WANT_LOOP):
        return False
    rest = list(tree.body)
    while rest:
        node = rest.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if getattr(node, "attr", getattr(node, "id", None)) in WANT_LOOP:
            return True
        rest.extend(ast.iter_child_nodes(node))
    return False


def ends_in_semicolon(source):
    if ";" not in source:
        return False
    last = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER,
                                  tokenize.DEDENT, tokenize.INDENT):
                last = token.string
    except (tokenize.TokenError, SyntaxError):
        pass
    return last == ";"


def remember(source, name):
    """So that tracebacks and inspect.getsource() know it."""
    lines = [line + "\n" for line in source.split("\n")]
    linecache.cache[name] = (len(source), None, lines, name)


# ---- errors


def text_of(error):
    try:
        text = str(error)
    except Exception:
        text = "<exception str() failed>"
    return text[:MAX_VALUE]


def describe(error):
    """What an error event has: ename, evalue, traceback."""
    return {
        "ename": str(type(error).__name__),
        "evalue": text_of(error),
        "traceback": traceback_of(error),
    }


def traceback_of(error):
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<cell "):
        trace = trace.tb_next
    try:
        told = traceback.TracebackException(type(error), error, trace, compact=True)
        clean(told, set())
        lines = "".join(told.format()).rstrip("\n").split("\n")
    except RecursionError:
        lines = [f"{type(error).__name__}: {text_of(error)}"]
    except Exception:
        lines = [f"{type(error).__name__}: {text_of(error)}"]
    if len(lines) > MAX_LINES:
        half = MAX_LINES // 2
        lines[half:-half] = [f"  … {len(lines) - 2 * half} lines left out …"]
    return [line if len(line) <= MAX_LINE else line[:MAX_LINE] + "…" for line in lines]


def clean(told, seen):
    """Without frames of ours, in what led to it as well."""
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    told.stack[:] = [frame for frame in told.stack if not frame.filename.startswith(HERE)]
    for other in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
        clean(other, seen)
