"""The doc string."""
print(__doc__)
