"""The zoo: one module an entry, which names it `ENTRY`; see `models.registry`."""
