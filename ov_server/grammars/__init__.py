"""Grammars: texts that a model may write, from JSON Schema, regular expressions and GBNF. Knows no
model, no request and no runtime.
"""
