"""The server: Flask on gunicorn, with the paths ``/ping``, ``/invocations`` and ``/execution-parameters``."""
