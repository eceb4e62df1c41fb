"""Flask on gunicorn: ``/ping``, ``/invocations``, ``/execution-parameters``."""
