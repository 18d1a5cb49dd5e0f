"""From the bytes of a file to its facts and variants. Pure: knows no cloud, no queue; runs inside the sandbox."""
