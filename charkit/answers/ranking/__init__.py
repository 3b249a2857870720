"""Which layer, which encoder: `charkit layers` and `charkit encoders`."""
