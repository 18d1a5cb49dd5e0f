"""Compares the buckets with the rows, both ways, and puts right what differs: `python -m image_svc.reconcile`.

metadata_svc decides, this executes (docs/adr/0013). `listing.py` reads a bucket in stretches of whole images,
`versions.py` says which versions of a key go, `compare.py` asks and acts. Nothing is kept between runs, and whatever
was done half is done by the next one.
"""
