"""What a Python context is made of: a template (template.py) loads it, each context is a fork."""
