import logging
logging.warning("root %s", 1)
logging.basicConfig(level=logging.INFO, format="%(levelname)s:%(name)s:%(filename)s:%(lineno)d:%(threadName)s:%(message)s", force=True)
logging.getLogger("mine").info("hello")
try:
    1 / 0
except ZeroDivisionError:
    logging.exception("with trace")
