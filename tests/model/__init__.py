"""The real model behind a real server on a real socket."""
