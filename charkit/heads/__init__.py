"""Linear heads on stored states, and the sweep over them."""
