"""The models of the foundation, where Django looks for them."""

from compliance_site.foundation.data_keys import DataKey

__all__ = ["DataKey"]
