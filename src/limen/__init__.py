"""The public face of limen: typed activities handed to supervised workers, inside one process."""
