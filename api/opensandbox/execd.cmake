# The execd face.
