"""Signs S3 requests on behalf of clients: sealed upload tickets, and download URLs that caches can keep.

It holds no state, knows S3 and nothing else, and makes no call to sign.
"""
