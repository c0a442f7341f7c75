"""What implementers of a port need: its conformance suite, and sample values to feed it.

A suite is a class of pytest tests over one fixture; to put an adapter through it, subclass and give the fixture::

    class TestMyDatabase(DatabaseSuite):
        @pytest.fixture
        def database(self, tmp_path):
            ...

The suites need pytest installed; importing this package alone does not.
"""
