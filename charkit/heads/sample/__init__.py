"""What one sample of labels shows: left-out heads, curves, spectra, alignment."""
