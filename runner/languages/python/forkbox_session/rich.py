"""What an object looks like: its MIME bundle, bounded, with a text that always is there."""
import base64
import json
import pprint
import sys

MAX_TEXT = 1 << 20  # characters of text/plain; more is cut
MAX_RICH_BYTES = 10 << 20  # of any other type; more is left out
MAX_BUNDLE_BYTES = 15 << 20  # a frame of the channel has 16 MiB
MAX_JSON_BYTES = 1 << 20
MAX_JSON_VALUES = 90_000  # the reader's bounds, with room for what is around it
MAX_JSON_DEPTH = 48
LINE = 79

METHODS = (
    ("_repr_html_", "text/html"),
    ("_repr_markdown_", "text/markdown"),
    ("_repr_svg_", "image/svg+xml"),
    ("_repr_png_", "image/png"),
    ("_repr_jpeg_", "image/jpeg"),
    ("_repr_latex_", "text/latex"),
    ("_repr_json_", "application/json"),
    ("_repr_javascript_", "application/javascript"),
    ("_repr_pdf_", "application/pdf"),
)
CANARY = "_forkbox_canary_method_should_not_exist_"


class _Pretty(pprint.PrettyPrinter):
    """Long strings stay in one piece: what is shown can be copied."""

    _dispatch = {
        key: value
        for key, value in pprint.PrettyPrinter._dispatch.items()
        if key not in (str.__repr__, bytes.__repr__, bytearray.__repr__)
    }


def plain(value):
    """text/plain; whatever the object's own __repr__ raises is told on stderr."""
    try:
        text = repr(value)
        if (
            len(text) > LINE
            and type(value) in (list, tuple, dict, set, frozenset)
            and len(value) <= 1000
            and len(text) <= 100_000
        ):
            text = _Pretty(width=LINE + 1, sort_dicts=False).pformat(value)
    except Exception as error:
        complain("__repr__", error)
        text = object.__repr__(value)
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}\n… cut here: {len(text) - MAX_TEXT} more characters"
    return text


def complain(what, error):
    try:
        says = str(error)
    except Exception:
        says = "?"
    try:
        sys.stderr.write(f"{what} failed: {type(error).__name__}: {says}\n")
    except Exception:
        pass


def method_of(value, name):
    """A method that is really there: classes show themselves, not their instances, and objects
    that have every attribute have none."""
    if isinstance(value, type):
        return None
    try:
        if callable(getattr(value, CANARY, None)):
            return None
        method = getattr(value, name, None)
        return method if callable(method) else None
    except Exception:
        return None


def bundle(value, renderers=()):
    """The MIME bundle; `renderers` are further (predicate, type, function)."""
    data = {}
    from_bundle = method_of(value, "_repr_mimebundle_")
    if from_bundle is not None:
        try:
            found = from_bundle(include=None, exclude=None)
            found = found[0] if isinstance(found, tuple) else found
            for kind, content in dict(found or {}).items():
                add(data, str(kind), content)
        except Exception as error:
            complain("_repr_mimebundle_", error)
    for applies, kind, render in renderers:
        if kind not in data and applies(value):
            try:
                add(data, kind, render(value))
            except Exception as error:
                complain(kind, error)
    for name, kind in METHODS:
        method = method_of(value, name) if kind not in data else None
        if method is None:
            continue
        try:
            content = method()
            # Some add metadata, which have no place here.
            add(data, kind, content[0] if isinstance(content, tuple) else content)
        except Exception as error:
            complain(name, error)
    if "text/plain" not in data:
        data["text/plain"] = plain(value)
    return within_bounds(data)


def add(data, kind, content):
    if content is None:
        return
    if isinstance(content, (bytes, bytearray, memoryview)):
        content = base64.b64encode(content).decode()
    elif kind == "application/json" or kind.endswith("+json"):
        content = as_json(content)
    elif not isinstance(content, str):
        content = str(content)
    if kind == "text/plain":
        content = content[:MAX_TEXT]
    data[kind] = content


def as_json(content):
    text = json.dumps(content, allow_nan=False)
    if len(text) > MAX_JSON_BYTES or sum(map(text.count, ",:[{")) > MAX_JSON_VALUES:
        raise ValueError("too large")
    depth = deepest = 0
    in_text = False
    if text.count("[") + text.count("{") > MAX_JSON_DEPTH:
        for letter in text.replace("\\\\", "").replace('\\"', ""):
            if letter == '"':
                in_text = not in_text
            elif not in_text:
                depth += (letter in "[{") - (letter in "]}")
                deepest = max(deepest, depth)
    if deepest > MAX_JSON_DEPTH:
        raise ValueError("too deep")
    return json.loads(text)


def within_bounds(data):
    total = 0
    kept = {}
    for kind in sorted(data, key=lambda kind: kind != "text/plain"):
        content = data[kind]
        size = len(content.encode("utf-8", "replace")) if isinstance(content, str) else MAX_JSON_BYTES
        limit = MAX_RICH_BYTES * 4 // 3 if kind.startswith("image/") else MAX_RICH_BYTES
        if kind != "text/plain" and (size > limit or total + size > MAX_BUNDLE_BYTES):
            sys.stderr.write(f"{kind} is left out: {size} bytes are too many\n")
            continue
        total += size
        kept[kind] = content
    return kept
