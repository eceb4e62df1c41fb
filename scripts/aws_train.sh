#!/usr/bin/env bash
# multimodal-algo aws train, from a checkout (`make install` first).
exec "$(dirname "$0")/../.venv/bin/multimodal-algo" aws train "$@"
