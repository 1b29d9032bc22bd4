# Commands, shells, terminals.
