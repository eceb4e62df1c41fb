"""The server, Flask on gunicorn: ``/ping``, ``/invocations`` and ``/execution-parameters``."""
