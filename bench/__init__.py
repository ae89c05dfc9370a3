"""`make bench`: the server measured against the bare pipeline and against llama.cpp's server.

Knows the server by its socket and its process alone; RESULTS.md is what it last measured.
"""
