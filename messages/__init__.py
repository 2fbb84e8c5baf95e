"""What is said: frozen values, channel names, errors and the wire codec."""
