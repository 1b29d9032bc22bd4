# Contexts and their sessions' wire.
