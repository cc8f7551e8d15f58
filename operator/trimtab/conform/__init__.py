"""`trimtab conform`: does a running container keep the serving contract?

Plain data in (where it listens, its model), rows of a table out. Nothing of the serving program is
used here, so that any container is asked the same from outside.
"""
