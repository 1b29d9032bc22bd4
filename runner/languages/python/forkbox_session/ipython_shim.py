"""display() and the classes that go with it, importable from IPython.display where there is no
IPython: what notebooks use to show things, and no more."""
import importlib.util
import json
import mimetypes
import os
import sys
import types

send = None  # set by the session: takes a MIME bundle
show = None  # set by the session: takes any object


def display(*values, raw=False, **_ignored):
    for value in values:
        if raw:
            send(dict(value))
        else:
            show(value)


def display_raw(kind):
    def shower(*values, raw=False, **_ignored):
        for value in values:
            if raw:
                send({kind: value})
            else:
                show(value)

    return shower


def clear_output(wait=False):
    """What was sent has been sent."""


def update_display(value, *, display_id=None, **_ignored):
    show(value)


class DisplayObject:
    """Content from an argument or a file. There is no network: a URL is not fetched."""

    mode = "r"

    def __init__(self, data=None, url=None, filename=None, metadata=None):
        if isinstance(data, (str, os.PathLike)) and filename is None and self._names_a_file(data):
            filename, data = data, None
        self.url, self.filename, self.metadata = url, filename, metadata or {}
        if data is None and filename is not None:
            with open(filename, self.mode, **({} if "b" in self.mode else {"encoding": "utf-8"})) as file:
                data = file.read()
        self.data = data

    def _names_a_file(self, data):
        return isinstance(data, os.PathLike)

    def __repr__(self):
        return f"<{type(self).__module__}.{type(self).__name__} object>"


class HTML(DisplayObject):
    def _repr_html_(self):
        return self.data

    def __html__(self):
        return self.data


class Markdown(DisplayObject):
    def _repr_markdown_(self):
        return self.data


class Latex(DisplayObject):
    def _repr_latex_(self):
        return self.data


class Math(DisplayObject):
    def _repr_latex_(self):
        return f"$\\displaystyle {self.data.strip('$')}$"


class SVG(DisplayObject):
    def _repr_svg_(self):
        return self.data.decode() if isinstance(self.data, bytes) else self.data


class Javascript(DisplayObject):
    def _repr_javascript_(self):
        return self.data


class JSON(DisplayObject):
    def __init__(self, data=None, url=None, filename=None, expanded=False, metadata=None, **_ignored):
        super().__init__(data, url, filename, metadata)
        if isinstance(self.data, str):
            self.data = json.loads(self.data)

    def _repr_json_(self):
        return self.data


class Pretty(DisplayObject):
    def __repr__(self):
        return str(self.data)


class Code(Pretty):
    def __init__(self, data=None, url=None, filename=None, language=None):
        super().__init__(data, url, filename)


class Image(DisplayObject):
    mode = "rb"

    def __init__(self, data=None, url=None, filename=None, format=None, embed=None, width=None,
                 height=None, metadata=None, **_ignored):
        if isinstance(data, str) and data.startswith(("http://", "https://")):
            url, data = data, None
        super().__init__(data, url, filename, metadata)
        self.width, self.height = width, height
        named, _ = mimetypes.guess_type(str(self.filename or self.url or ""))
        by_content = "image/jpeg" if bytes(self.data[:2] if isinstance(self.data, (bytes, bytearray))
                                           else b"") == b"\xff\xd8" else "image/png"
        self.kind = f"image/{format.replace('jpg', 'jpeg')}" if format else named or by_content

    def _names_a_file(self, data):
        return super()._names_a_file(data) or os.path.exists(data)

    def _repr_mimebundle_(self, include=None, exclude=None):
        if self.data is not None:
            return {self.kind: self.data}
        return {"text/html": f'<img src="{self.url}"/>'} if self.url else {}


def install():
    """Names of IPython for those who import it; the true one, where it is, is left alone."""
    if importlib.util.find_spec("IPython") is not None:
        return
    package = types.ModuleType("IPython", "A part of IPython's display functions.")
    package.__path__ = []
    package.__version__ = "0.0"
    package.version_info = (0, 0, 0)
    # None is its word for "this is no IPython", by which libraries decide what they hook into.
    package.get_ipython = lambda: None
    shown = types.ModuleType("IPython.display", __doc__)
    for name in ("display clear_output update_display DisplayObject HTML Markdown Latex Math SVG "
                 "Javascript JSON Pretty Code Image").split():
        item = globals()[name]
        if isinstance(item, type):
            item.__module__ = "IPython.display"
        setattr(shown, name, item)
    for name, kind in (("html", "text/html"), ("markdown", "text/markdown"), ("svg", "image/svg+xml"),
                       ("png", "image/png"), ("jpeg", "image/jpeg"), ("latex", "text/latex"),
                       ("json", "application/json"), ("javascript", "application/javascript")):
        setattr(shown, f"display_{name}", display_raw(kind))
    package.display = shown
    sys.modules["IPython"] = package
    sys.modules["IPython.display"] = shown
    core = types.ModuleType("IPython.core")
    core.__path__ = []
    core.display = shown
    sys.modules["IPython.core"] = package.core = core
    sys.modules["IPython.core.display"] = shown
