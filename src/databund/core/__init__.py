"""The nouns of the exchange and the rules between them: values in, values out, no I/O and no clock."""
