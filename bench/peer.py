"""llama.cpp's server, as PyPI's xllamacpp carries it; runs under .venv-bench, which has no other
package. Arguments: the GGUF file, a port, the number of slots. Ends when its input does.
"""

import os
import sys

import xllamacpp  # ty: ignore[import-not-found]

CONTEXT = 2048
"""Tokens of a slot."""


def main() -> None:
    path, port, slots = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    cores = os.cpu_count() or 1
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.port = port
    params.n_parallel = slots
    params.n_ctx = CONTEXT * slots
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = cores
    params.cpuparams_batch.n_threads = cores
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
