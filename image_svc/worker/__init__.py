"""The consumer of the image queue.

`consumer.py` takes messages and gives them back; `hold.py` keeps one in hand; `handler.py` finds out what it asks for;
`job.py` develops an image; `orders.py` executes the other commands. `slots.py` and `patience.py` say how many at a time
and how long.
"""
