"""The house's language-model server; main.py beside this package puts the parts together."""

__version__ = "0.1.0"
