"""Pure decisions: what is signed, for how long, and with which credential. No I/O, no clock of its own."""
