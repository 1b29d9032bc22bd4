# The lifecycle face.
