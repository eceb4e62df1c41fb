"""``python -m multimodal_algo``: the ``multimodal-algo`` command."""

from multimodal_algo.cli import main

main()
