"""Figures of matplotlib: those that are open when a cell ends, or at plt.show(), are sent and
closed. Nothing of it is imported that the program did not."""
import io
import sys

send = None  # set by the session: takes a MIME bundle


def pyplot():
    return sys.modules.get("matplotlib.pyplot")


def is_figure(value):
    module = sys.modules.get("matplotlib.figure")
    kind = getattr(module, "Figure", None)
    return kind is not None and isinstance(value, kind)


def to_png(figure):
    memory = io.BytesIO()
    figure.savefig(memory, format="png", bbox_inches="tight")
    return memory.getvalue()


def forget(value):
    """A figure that was a result is not shown a second time."""
    plot = pyplot()
    if plot is not None and is_figure(value):
        plot.close(value)


def flush():
    """Sends and closes all that are open."""
    plot = pyplot()
    if plot is None or not hasattr(plot, "get_fignums"):  # perhaps it is being imported
        return
    if getattr(plot, "show", None) is not show:
        plot.show = show
    try:
        for number in plot.get_fignums():
            figure = plot.figure(number)
            # One that nothing was drawn in would be an empty sheet.
            if figure.axes or getattr(figure, "lines", None) or getattr(figure, "texts", None):
                import base64

                data = {"image/png": base64.b64encode(to_png(figure)).decode(), "text/plain": repr(figure)}
                send(data)
    finally:
        plot.close("all")


def show(*_arguments, **_options):
    flush()


def prepare():
    """Where pyplot is loaded already, plt.show() is ours from the start."""
    plot = pyplot()
    if plot is not None:
        plot.show = show
