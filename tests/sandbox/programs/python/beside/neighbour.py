def name():
    return "neighbour"
