"""The lines of notebooks that are no Python: %magics, %%cell magics, !commands, and obj?. A small
set that does what it says; any other is a UsageError.

`rewrite` makes Python of them, line for line; `Shell` is what get_ipython() returns in a cell.
"""
import ast
import contextlib
import io
import os
import re
import subprocess
import sys
import time
import tokenize

MAX_CANDIDATES = 500
MAX_SOURCE = 256 << 10  # of cells with such lines: each is looked at with all that is before it
LINE_MAGIC = re.compile(r"^(\s*)(?:([A-Za-z_][\w.,\s\[\]'\"]*?)\s*=\s*)?(%|!!?)\s*(\S.*)$")
HELP = re.compile(r"^(\s*)(?:\?{1,2}\s*([A-Za-z_][\w.]*)|([A-Za-z_][\w.]*)\s*\?{1,2})\s*$")


class UsageError(Exception):
    """A magic that is not there, or that was asked for wrongly."""

    __module__ = "builtins"  # so that tracebacks say the name alone


def rewrite(source):
    """Python of a cell that has lines which are none. Other cells come back as they are."""
    stripped = source.lstrip()
    if stripped.startswith("%%"):
        first, _, body = stripped.partition("\n")
        name, _, line = first[2:].strip().partition(" ")
        return f"get_ipython().run_cell_magic({name!r}, {line.strip()!r}, {body!r})"
    if len(source) > MAX_SOURCE:
        return source
    lines = source.split("\n")
    candidates = [i for i, line in enumerate(lines) if LINE_MAGIC.match(line) or HELP.match(line)]
    if not candidates or len(candidates) > MAX_CANDIDATES:
        return source
    try:
        ast.parse(source)
        return source  # "%" may well be the next line of a division
    except Exception:
        pass
    for i in candidates:
        if starts_statement("\n".join(lines[:i])):
            lines[i] = rewrite_line(lines[i])
    return "\n".join(lines)


def starts_statement(before):
    """Not within brackets, a string or a continued line."""
    if before.endswith("\\"):
        return False
    try:
        for _ in tokenize.generate_tokens(io.StringIO(before + "\n").readline):
            pass
    except IndentationError:
        return True
    except (tokenize.TokenError, SyntaxError) as error:
        return "EOF in multi-line" not in str(error) and "unterminated" not in str(error)
    return True


def rewrite_line(line):
    help_line = HELP.match(line)
    if help_line:
        indent, name = help_line[1], help_line[2] or help_line[3]
        return f"{indent}get_ipython().run_line_magic('pinfo', {name!r})"
    indent, target, mark, rest = LINE_MAGIC.match(line).groups()
    assigned = f"{target} = " if target else ""
    if mark == "%":
        name, _, argument = rest.partition(" ")
        call = f"run_line_magic({name!r}, {argument.strip()!r})"
    else:
        call = f"{'getoutput' if target or mark == '!!' else 'system'}({rest!r})"
    return f"{indent}{assigned}get_ipython().{call}"


class Shell:
    """What get_ipython() gives: the magics, and a few of the names that go with them."""

    def __init__(self, session):
        self.session = session
        self.user_ns = session.namespace

    @property
    def execution_count(self):
        return self.session.count

    def __repr__(self):
        return "<the shell of this context>"

    # ---- commands

    def expand(self, text):
        """{expression} and $name of what is known; else it is the shell's."""

        def value(match):
            try:
                return str(eval(match[1] or match[2], self.user_ns))  # noqa: S307: it is the user's
            except Exception:
                return match[0]

        return re.sub(r"\{([A-Za-z_][\w.\[\]'\"]*)\}|\$([A-Za-z_]\w*)", value, text)

    def _bash(self, command, **options):
        sys.stdout.flush()
        sys.stderr.flush()
        return subprocess.run(["/bin/bash", "-c", command], stdin=subprocess.DEVNULL, **options)

    def system(self, command):
        self.user_ns["_exit_code"] = self._bash(self.expand(command)).returncode

    def getoutput(self, command):
        done = self._bash(self.expand(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout.decode(errors="replace").splitlines()

    # ---- magics

    def run_line_magic(self, name, line, _stack_depth=1):
        method = getattr(self, f"line_{name}", None)
        if method is None:
            also = " (but cell magic `%%" + name + "` exists)" if hasattr(self, f"cell_{name}") else ""
            raise UsageError(f"Line magic function `%{name}` not found{also}.")
        return method(line)

    def run_cell_magic(self, name, line, cell):
        method = getattr(self, f"cell_{name}", None)
        if method is None:
            raise UsageError(f"Cell magic `%%{name}` not found.")
        return method(line, cell)

    def magic(self, line):
        name, _, argument = line.lstrip("%").partition(" ")
        return self.run_line_magic(name, argument)

    def line_lsmagic(self, _line):
        names = sorted(n for n in dir(type(self)) if n.startswith(("line_", "cell_")))
        print(" ".join("%" + n[5:] if n.startswith("line_") else "%%" + n[5:] for n in names))

    def line_matplotlib(self, line):
        if line not in ("", "inline", "agg", "Agg"):
            raise UsageError(f"%matplotlib {line}: there is no screen here, only `inline`")

    def line_config(self, line):
        if line and not line.startswith("InlineBackend."):
            raise UsageError("%config: only InlineBackend's settings are known here, and do nothing")

    def line_pip(self, _line):
        raise UsageError("nothing can be installed: there is no network here. "
                         "Upload what you need and put its folder into sys.path")

    line_conda = line_mamba = line_uv = line_pip

    def line_pwd(self, _line):
        return os.getcwd()

    def line_cd(self, line):
        os.chdir(os.path.expanduser(self.expand(line).strip("'\"") or "~"))
        print(os.getcwd())

    def line_ls(self, line):
        self.system(f"ls {line}")

    def line_env(self, line):
        if not line:
            return dict(os.environ)
        name, is_set, value = line.partition("=")
        if not is_set:
            name, is_set, value = line.partition(" ")
        if not is_set:
            try:
                return os.environ[name]
            except KeyError:
                raise UsageError(f"Environment does not have key: {name}") from None
        os.environ[name.strip()] = self.expand(value.strip())
        print(f"env: {name.strip()}={os.environ[name.strip()]}")

    line_set_env = line_env

    def names(self):
        return sorted(
            name for name, value in self.user_ns.items()
            if not name.startswith("_") and self.session.given.get(name, self) is not value
        )

    def line_who(self, _line):
        print("\t".join(self.names()) or "Interactive namespace is empty.")

    def line_who_ls(self, _line):
        return self.names()

    def line_whos(self, _line):
        for name in self.names():
            value = self.user_ns[name]
            text = repr(value).replace("\n", " ")
            print(f"{name:<16} {type(value).__name__:<16} {text[:80]}")

    def line_reset(self, _line):
        for name in self.names():
            del self.user_ns[name]

    def line_pinfo(self, line):
        import inspect

        value = eval(line, self.user_ns)  # noqa: S307: it is the user's
        print(f"Type:      {type(value).__name__}")
        with contextlib.suppress(TypeError, ValueError):
            print(f"Signature: {line}{inspect.signature(value)}")
        print(f"Docstring: {inspect.getdoc(value) or '<no docstring>'}")

    def line_run(self, line):
        import runpy
        import shlex

        words = shlex.split(self.expand(line))
        if not words:
            raise UsageError("%run: the name of a file is missing")
        before, sys.argv = sys.argv, words
        try:
            self.user_ns.update(
                (name, value)
                for name, value in runpy.run_path(words[0], run_name="__main__").items()
                if not name.startswith("__")
            )
        finally:
            sys.argv = before

    def line_time(self, line):
        return self.cell_time("", line)

    def cell_time(self, _line, cell):
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return self.session.execute(cell)
        finally:
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            print(f"CPU times: total: {duration(cpu)}\nWall time: {duration(wall)}")

    def line_timeit(self, line):
        self.cell_timeit(line, None)

    def cell_timeit(self, line, cell):
        import timeit

        options, rest = {"n": 0, "r": 7}, line.strip()
        while match := re.match(r"-([nr])\s*(\d+)\s*", rest):
            options[match[1]], rest = int(match[2]), rest[match.end():]
        timer = timeit.Timer(*((rest,) if cell is None else (cell, rest or "pass")), globals=self.user_ns)
        number = options["n"]
        if not number:
            number, took = timer.autorange()
            number = max(1, number // 2) if took > 0.4 else number
        each = [seconds / number for seconds in timer.repeat(max(1, options["r"]), number)]
        mean = sum(each) / len(each)
        spread = (sum((one - mean) ** 2 for one in each) / len(each)) ** 0.5
        print(f"{duration(mean)} ± {duration(spread)} per loop "
              f"(mean ± std. dev. of {len(each)} runs, {number:,} loops each)")

    def cell_bash(self, line, cell):
        done = self._bash(cell)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, "bash")

    cell_sh = cell_script = cell_bash

    def cell_writefile(self, line, cell):
        words = line.split()
        append = "-a" in words
        names = [word for word in words if word != "-a"]
        if len(names) != 1:
            raise UsageError("%%writefile: one file name")
        with open(os.path.expanduser(names[0]), "a" if append else "w", encoding="utf-8") as file:
            file.write(cell)
        print(("Appending to " if append else "Writing ") + names[0])

    cell_file = cell_writefile

    def cell_capture(self, line, cell):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.session.execute(cell)
        if line.strip():
            self.user_ns[line.strip()] = Captured(out.getvalue(), err.getvalue())

    def cell_html(self, _line, cell):
        self.session.display({"text/html": cell, "text/plain": "<HTML>"})

    def cell_markdown(self, _line, cell):
        self.session.display({"text/markdown": cell, "text/plain": "<Markdown>"})


class Captured:
    def __init__(self, stdout, stderr):
        self.stdout, self.stderr = stdout, stderr

    def __str__(self):
        return self.stdout

    def show(self):
        sys.stdout.write(self.stdout)
        sys.stderr.write(self.stderr)


def duration(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
