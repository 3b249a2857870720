"""What accuracy to expect, and how many labels a target needs: `charkit estimate`."""
