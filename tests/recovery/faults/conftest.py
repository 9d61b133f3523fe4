from tests.recovery.physical.conftest import own_lab

__all__ = ["own_lab"]
