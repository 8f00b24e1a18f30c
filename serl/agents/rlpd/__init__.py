"""Learning from demonstrations and experience, half and half."""
