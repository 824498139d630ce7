"""The integer network: plain data (`graph`) and the operations that define it (`ops`)."""
