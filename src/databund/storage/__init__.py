"""Adapters of the ports `Database` and `Objects`: SQLite and PostgreSQL, a local folder and S3.

Nothing is imported here, so that a process pays only for the store it opens.
"""
